"""Checks of what the readers find: what is wrong is named by file and object.

A picture is left out if it is missing, if it is of another size than the annotations say, or if
the box of one of its objects cannot be had: without that object it would teach and measure that
nothing is there. `strict` makes either an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from atelier.errors import DataError
from detection.annotations.dataset import Annotated, Dataset, Fault
from detection.annotations.text import plain

ALLOWED_OUTSIDE = 1.0
"""Pixels by which a box may leave the picture and is clipped in silence."""


class FaultError(Exception):
    """What is wrong with one picture's annotations, or with one object; `Collector.guard` keeps
    it as a `Fault`.

    Args:
        reason: what is wrong.
        what: the object, where it is one that costs its picture.
    """

    def __init__(self, reason: str, what: str = ""):
        super().__init__(reason)
        self.what = what


@dataclasses.dataclass(frozen=True)
class Found:
    """An object as it was read, unchecked."""

    what: str
    """What a fault calls it."""
    label: str
    box: Sequence[float]
    """x1 y1 x2 y2, pixels, continuous."""
    crowd: bool = False
    difficult: bool = False


class Collector:
    """Checks what the readers find, and makes the data set of it."""

    def __init__(self, name: str, classes: Iterable[str], strict: bool):
        self.name, self.strict = name, strict
        self.classes = tuple(classes)
        self.places = {label: place for place, label in enumerate(self.classes)}
        if len(self.places) < len(self.classes):
            raise DataError(f"{name}: a class is named twice in {', '.join(self.classes)}")
        self.items, self.faults = [], []

    @contextlib.contextmanager
    def guard(self, file: str, what: str = "") -> Iterator[None]:
        """Ends the block where a `FaultError` is raised, which is kept, or raised if `strict`."""
        try:
            yield
        except FaultError as error:
            reason = plain(str(error), 300)
            if error.what:
                reason += "; its picture is left out"
            self.faults.append(Fault(plain(file, 300), error.what or what, reason))
            if self.strict:
                raise DataError(f"{self.name}: {self.faults[-1]}") from None

    @contextlib.contextmanager
    def costs_picture(self, what: str) -> Iterator[None]:
        """Lets a fault of the object `what` reach the guard of its picture."""
        try:
            yield
        except FaultError as error:
            raise FaultError(str(error), error.what or what) from None

    def add(
        self,
        file: str,
        name: str,
        image: Path | bytes,
        size: tuple[int, int],
        founds: Iterable[Found],
    ) -> None:
        """Adds a picture with its objects; those of other classes are faults and left out.

        Raises:
            FaultError: the box of an object cannot be had.
        """
        kept, boxes = [], []
        for found in founds:
            with self.guard(file, found.what):
                if found.label not in self.places:
                    near = difflib.get_close_matches(found.label, self.classes, n=1)
                    hint = f"; is it {near[0]!r}?" if near else ""
                    raise FaultError(f"{plain(found.label)!r} is none of the classes{hint}")
                kept.append(found)
        for found in kept:
            with self.costs_picture(found.what):
                boxes.append(checked_box(found.box, size))
        item = Annotated(
            name=name,
            image=image,
            size=size,
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            labels=np.asarray([self.places[found.label] for found in kept], np.int64),
            crowd=np.asarray([found.crowd for found in kept], bool),
            difficult=np.asarray([found.difficult for found in kept], bool),
        )
        self.items.append(item)

    def dataset(self) -> Dataset:
        """What was collected.

        Raises:
            DataError: no picture is left.
        """
        if not self.items:
            reason = f"; the first fault: {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: no annotated picture{reason}")
        return Dataset(self.name, self.classes, tuple(self.items), tuple(self.faults))


def checked_box(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """A box clipped to the picture.

    Args:
        box: x1 y1 x2 y2, continuous.
        size: height and width of the picture.

    Returns:
        float32 (4,).

    Raises:
        FaultError: not finite, outside by more than `ALLOWED_OUTSIDE`, or without area.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        raise FaultError(f"coordinates {_numbers(box)} are no numbers")
    if x2 <= x1 or y2 <= y1:
        raise FaultError(f"the box {_numbers(box)} has no area")
    height, width = size
    if max(-x1, -y1, x2 - width, y2 - height) > ALLOWED_OUTSIDE:
        raise FaultError(f"the box {_numbers(box)} leaves the picture of {width}×{height}")
    clipped = np.clip(np.asarray(box, np.float32), 0, [width, height, width, height])
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise FaultError(f"nothing of the box {_numbers(box)} is in the picture")
    return clipped.astype(np.float32)


def from_voc(corners: Sequence[float]) -> tuple[float, float, float, float]:
    """VOC's xmin ymin xmax ymax, pixels counted from 1 and the last one included, as x1 y1 x2 y2.

    Raises:
        FaultError: corners that coincide: no one draws an object of a pixel; it is a slip.
    """
    xmin, ymin, xmax, ymax = map(float, corners)
    if xmax <= xmin or ymax <= ymin:
        raise FaultError(f"the box {_numbers(corners)} has no area")
    return xmin - 1, ymin - 1, xmax, ymax


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
