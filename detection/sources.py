"""Which annotated pictures a command works on: the flags that trainings and evaluations share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from atelier import cli
from atelier.errors import DataError
from detection.annotations import Dataset, join, keep_classes, plain, read_dataset
from detection.annotations.coco import read_coco
from detection.annotations.masks import is_masks, read_masks
from detection.annotations.voc import read_voc


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Annotated pictures."""

    data: tuple[str, ...] = ("data",)
    """A folder in Pascal VOC's form (as labelImg writes it), in COCO's, or with images/ and masks/;
    a COCO JSON file; or a set that tensorflow-datasets has prepared: voc/2007, coco/2017. Of
    several, all pictures and all classes are taken."""
    format: Literal["auto", "voc", "coco"] = "auto"
    """Of the annotations; found out, if left out."""
    split: str | None = None
    """Which part, such as train or train2017; left out, all that there is."""
    classes: tuple[str, ...] = ()
    """Names of the classes, where not all that the annotations hold are wanted."""
    groups: Path | None = None
    """Of data with masks, a text file with the names, one a line, of photos whose masks show
    several objects as one: they are neither taught nor asked for."""
    exif: Literal["auto", "shown", "stored"] = "auto"
    """Whether boxes on pictures turned by EXIF are of the picture as shown or of its pixels as
    stored; auto takes what keeps every box inside its picture, or else shown."""
    strict: bool = False
    """Stop at the first fault in the annotations; else what is at fault is named and left out."""

    @property
    def group_names(self) -> frozenset[str]:
        """What `groups` names.

        Raises:
            DataError: the file cannot be read.
        """
        if self.groups is None:
            return frozenset()
        try:
            return frozenset(self.groups.read_text(encoding="utf-8").split("\n"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.groups} cannot be read as text ({error})") from None

    def read(self, split: str | None = None) -> Dataset:
        """All of the pictures.

        Args:
            split: instead of the settings' own.

        Raises:
            DataError: as `read_dataset`; or there is not one object.
        """
        if not self.data:
            raise DataError("--data names no data set")
        dataset = join([self._read(source, split or self.split) for source in self.data])
        if self.classes:
            dataset = keep_classes(dataset, self.classes)
        if all(item.crowd.all() for item in dataset.items):
            raise DataError(
                f"{dataset.name}: none of the {len(dataset)} pictures shows an object of the "
                f"classes {', '.join(map(plain, dataset.classes))}"
            )
        return dataset

    def _read(self, source: str, split: str | None) -> Dataset:
        if self.format == "auto" and is_masks(source):
            return read_masks(
                source,
                split,
                classes=self.classes or None,
                strict=self.strict,
                groups=self.group_names,
            )
        reader = {"auto": read_dataset, "voc": read_voc, "coco": read_coco}[self.format]
        exif = None if self.exif == "auto" else self.exif
        return reader(source, split, strict=self.strict, exif=exif)


def common_classes(
    dataset: Dataset, classes: Sequence[str], model: str
) -> tuple[Dataset, tuple[str, ...]]:
    """Returns a data set of the classes that a detector finds, and the names of the others.

    Says which are left out, on standard error. Pictures without an object of the former stay.

    Args:
        dataset: the annotated pictures.
        classes: those that the detector finds.
        model: the detector's name.

    Raises:
        DataError: it finds none of the data set's classes.
    """
    left_out = tuple(name for name in dataset.classes if name not in classes)
    if not left_out:
        return dataset, ()
    kept = [name for name in dataset.classes if name in classes]
    if not kept:
        raise DataError(
            f"{dataset.name}: {model} finds {_named(classes)}, and none of "
            f"{_named(dataset.classes)}"
        )
    cli.say(
        f"measured: {_named(kept)}; left out, as {model} does not find them: "
        f"{len(left_out)} classes ({_named(left_out)})"
    )
    return keep_classes(dataset, kept), left_out


def _named(classes: Sequence[str]) -> str:
    return ", ".join(map(plain, classes[:8])) + (", …" if len(classes) > 8 else "")


def report_faults(dataset: Dataset) -> None:
    """Says on standard error what was mended in a data set's annotations, a line a kind, and what
    was left out, a line a fault."""
    for note in dataset.notes:
        cli.say(f"note: {note}")
    for fault in dataset.faults:
        cli.say(f"left out: {fault}")
