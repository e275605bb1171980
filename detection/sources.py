"""Which annotated pictures a command works on: the flags that trainings and evaluations share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from atelier import cli
from atelier.errors import DataError
from detection.annotations import (
    Dataset,
    join,
    keep_classes,
    plain,
    read_dataset,
    share_classes,
)
from detection.annotations.masks import UNNAMED
from detection.annotations.read import form_of


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Annotated pictures."""

    data: tuple[str, ...] = ("data",)
    """A folder in Pascal VOC's form (as labelImg writes it), in COCO's, or with images/ and masks/;
    one with folders such as train/ and valid/, each in such a form (as Roboflow writes it); a COCO
    JSON file; or a set that tensorflow-datasets has prepared: voc/2007, coco/2017. Of several, all
    pictures and all classes are taken."""
    format: Literal["auto", "voc", "coco", "masks"] = "auto"
    """Of the annotations; found out, if left out."""
    split: str | None = None
    """Which part, such as train, val or train2017; left out, all that there is."""
    images: Path | None = None
    """The folder of the pictures, where they are not beside the annotations."""
    classes: tuple[str, ...] = ()
    """Names of the classes, where not all that the annotations hold are wanted."""
    groups: Path | None = None
    """Of data with masks, a text file with the names, one a line, of photos whose masks show
    several objects as one: they are neither taught nor asked for."""
    exif: Literal["auto", "shown", "stored"] = "auto"
    """Whether boxes on pictures turned by EXIF are of the picture as shown or of its pixels as
    stored; auto takes what keeps every box inside its picture, or else shown."""
    voc_base: Literal[0, 1] | None = None
    """Whether Pascal VOC's corners count pixels from 0, as most programs write them, or from 1, as
    PASCAL's own files do; left out, from 0, but for files with a source that is PASCAL's."""
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
        return self.read_parts([split or self.split])[0]

    def read_parts(self, splits: Sequence[str | None]) -> list[Dataset]:
        """Reads several splits, which have the classes of all.

        Raises:
            DataError: as `read_dataset`; or there is not one object in one of them.
        """
        if not self.data:
            raise DataError("--data names no data set")
        parts = share_classes(
            [join([self._read(source, split) for source in self.data]) for split in splits]
        )
        if self.classes:
            parts = [keep_classes(part, self.classes) for part in parts]
        for part in parts:
            if all(item.crowd.all() for item in part.items):
                raise DataError(
                    f"{part.name}: none of the {len(part)} pictures shows an object of the classes "
                    f"{', '.join(map(plain, part.classes))}"
                )
        return parts

    def _read(self, source: str, split: str | None) -> Dataset:
        # What is wanted of other classes is chosen once all sets are there: one may lack a class.
        # Masks show one class, which has no name but what it is given.
        form = None if self.format == "auto" else self.format
        masks = (form or form_of(Path(source), self.images, deep=True)) == "masks"
        return read_dataset(
            source,
            split,
            images=self.images,
            classes=(self.classes or None) if masks else None,
            strict=self.strict,
            exif=None if self.exif == "auto" else self.exif,
            form=form,
            voc_base=self.voc_base,
            groups=self.group_names,
        )


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
        hint = "; masks do not name their class: --classes does" * (dataset.classes == UNNAMED)
        raise DataError(
            f"{dataset.name}: {model} finds {_named(classes)}, and none of "
            f"{_named(dataset.classes)}{hint}"
        )
    cli.print_note(
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
        cli.print_note(f"note: {note}")
    for fault in dataset.faults:
        cli.print_note(f"left out: {fault}")
