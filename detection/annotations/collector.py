"""Checks of what the readers find: what can be mended is, and the rest is named by file and object.

Boxes are clipped to their picture and their corners put in order; a size that is wrong by a pixel
or a common factor scales them. An object with a box that cannot be had leaves its picture out: at
that place it would else be taught and measured as background. `strict` makes that an error.
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
from detection.annotations import sizes
from detection.annotations.dataset import Annotated, Dataset, Fault
from detection.annotations.notes import Notes
from detection.annotations.sizes import Box, Frame, Reading
from detection.annotations.text import FaultError, counted, plain

SMALLEST = 1e-3
"""Pixels: a box less wide or high has no area; single precision may tell no less apart."""

NEGLIGIBLE = 0.05
"""Pixels by which a box may leave its picture and is clipped without a note: rounding."""


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


@dataclasses.dataclass(frozen=True)
class _Waiting:
    """A picture that waits until the whole set says how its EXIF turn is meant."""

    file: str
    name: str
    image: Path | bytes
    frame: Frame
    founds: tuple[Found, ...]
    stated: tuple[float, float] | None
    what: str

    @property
    def boxes(self) -> list[Box]:
        return [found.box for found in self.founds]


class Collector:
    """Checks what the readers find, and makes the data set of it.

    Args:
        name: the data set's.
        classes: their names and order.
        strict: whether the first fault is an error.
        exif: how boxes on pictures that EXIF turns are meant; None to find it out.

    Raises:
        DataError: a class is named twice.
    """

    def __init__(
        self, name: str, classes: Iterable[str], strict: bool, exif: Reading | None = None
    ):
        self.name, self.strict, self.exif = name, strict, exif
        self.classes = tuple(classes)
        self.places = {label: place for place, label in enumerate(self.classes)}
        if len(self.places) < len(self.classes):
            raise DataError(f"{name}: a class is named twice in {', '.join(self.classes)}")
        self.items: list[Annotated | _Waiting] = []
        self.faults: list[Fault] = []
        self.notes = Notes(name)

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
        frame: Frame,
        founds: Iterable[Found],
        stated: tuple[float, float] | None = None,
        what: str = "",
    ) -> None:
        """Adds a picture with its objects; those of other classes are faults and left out.

        Args:
            file: the annotation file, for faults.
            name: the picture's.
            image: as of `Annotated`.
            frame: the picture's own size and turn.
            founds: its objects.
            stated: height and width as the annotations have them, above 0; None where they say
                nothing.
            what: what a fault calls the picture, where `file` has several.

        Raises:
            FaultError: the box of an object cannot be had, or the size is another picture's.
        """
        picture = _Waiting(file, name, image, frame, tuple(founds), stated, what)
        if frame.turn == 1:
            self.items.append(self._finished(picture, "shown"))
        else:
            self.items.append(picture)

    def dataset(self) -> Dataset:
        """Makes a data set of what was collected.

        Raises:
            DataError: no picture is left; or with `strict`, a fault.
        """
        turned = [picture for picture in self.items if isinstance(picture, _Waiting)]
        reading = self._settled(turned)
        items = []
        for item in self.items:
            if isinstance(item, _Waiting):
                with self.guard(item.file, item.what):
                    items.append(self._finished(item, reading))
            else:
                items.append(item)
        if not items:
            reason = f"; the first fault: {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: no annotated picture{reason}")
        return Dataset(self.name, self.classes, tuple(items), tuple(self.faults), self.notes.all())

    def _settled(self, turned: Sequence[_Waiting]) -> Reading:
        """Decides how boxes on turned pictures are meant, and says so."""
        turned = [picture for picture in turned if picture.boxes]
        if not turned:
            return "shown"
        reading, by = self.exif, "as --exif says"
        if reading is None:
            scales = []
            for picture in turned:
                with contextlib.suppress(FaultError):
                    factors = _factors(picture, picture.frame.shown)[0]
                    boxes = [sizes.scaled(box, factors) for box in picture.boxes]
                    scales.append((picture.frame, boxes))
            reading = sizes.settle(scales)
            other = "stored" if reading == "shown" else "shown"
            by = f"found out from all of them; --exif {other} overrules"
        self.notes.say(
            f"the boxes on {counted(len(turned), 'picture', 'pictures')} turned by EXIF are taken "
            f"to be of the pictures as {reading} ({by})"
        )
        return reading

    def _finished(self, picture: _Waiting, reading: Reading) -> Annotated:
        """The picture with its objects in place."""
        file, frame = picture.file, picture.frame
        kept, boxes = [], []
        for found in picture.founds:
            with self.guard(file, found.what):
                if found.label not in self.places:
                    near = difflib.get_close_matches(found.label, self.classes, n=1)
                    hint = f"; is it {near[0]!r}?" if near else ""
                    raise FaultError(f"{plain(found.label)!r} is none of the classes{hint}")
                kept.append(found)
        factors, mended = _factors(picture, frame.size(reading))
        if mended and not (mended == "exchanged" and frame.turn >= sizes.SIDEWAYS):
            self.notes.count(mended, f"{file}: {picture.what}" if picture.what else file)
        for found in kept:
            with self.costs_picture(found.what):
                boxes.append(self._box(found, file, factors, frame, reading))
        return Annotated(
            name=picture.name,
            image=picture.image,
            size=frame.shown,
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            labels=np.asarray([self.places[found.label] for found in kept], np.int64),
            crowd=np.asarray([found.crowd for found in kept], bool),
            difficult=np.asarray([found.difficult for found in kept], bool),
        )

    def _box(self, found: Found, file: str, factors, frame: Frame, reading: Reading) -> Box:
        """An object's box on its picture as shown, in order and clipped."""
        where = f"{file}: {found.what}"
        box = sizes.scaled(found.box, factors) if factors != (1, 1) else found.box
        if box[0] > box[2] or box[1] > box[3]:
            self.notes.count("ordered", where)
        if reading == "stored":
            box = sizes.upright(box, frame)
        box, beyond = checked_box(box, frame.shown)
        if beyond > NEGLIGIBLE:
            self.notes.count("clipped", where, beyond)
        return box


def _factors(picture: _Waiting, own: tuple[int, int]) -> tuple[tuple[float, float], str]:
    """What a picture's boxes are multiplied by, and what kind of mend that is, "" for none.

    Raises:
        FaultError: the stated size is that of another picture.
    """
    stated = picture.stated
    if stated is None or tuple(stated) == own:
        return (1.0, 1.0), ""
    fitted = sizes.fit(own, stated)
    if fitted.factors == (1, 1):
        if picture.frame.turn == 1 and not sizes.fits(picture.boxes, own):
            raise FaultError(
                f"the picture is {own[1]}×{own[0]}, but the annotations say "
                f"{stated[1]:g}×{stated[0]:g}, with boxes that leave it"
            )
        return fitted.factors, "exchanged"
    seen = stated[::-1] if fitted.exchanged else stated
    if not sizes.fits(picture.boxes, seen) and sizes.fits(picture.boxes, own):
        return (1.0, 1.0), "not scaled"
    return fitted.factors, "scaled"


def checked_box(box: Sequence[float], size: tuple[int, int]) -> tuple[Box, float]:
    """Puts a box's corners in order and clips it to its picture.

    Args:
        box: x1 y1 x2 y2, continuous.
        size: height and width of the picture.

    Returns:
        box: the clipped one.
        beyond: by how many pixels it reached beyond the picture, at least 0.

    Raises:
        FaultError: not finite, without area, or nothing of it is in the picture.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        raise FaultError(f"coordinates {_numbers(box)} are no numbers")
    if min(abs(x2 - x1), abs(y2 - y1)) < SMALLEST:
        raise FaultError(f"the box {_numbers(box)} has no area")
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    height, width = size
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    if beyond <= 0:
        return (x1, y1, x2, y2), 0.0
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if clipped[2] - clipped[0] < SMALLEST or clipped[3] - clipped[1] < SMALLEST:
        raise FaultError(
            f"nothing of the box {_numbers(box)} is in the picture of {width}×{height}"
        )
    return clipped, beyond


def from_voc(corners: Sequence[float], base: int = 1) -> Box:
    """Turns VOC's xmin ymin xmax ymax into x1 y1 x2 y2, continuous.

    Args:
        corners: in either order.
        base: 1 where pixels are counted from 1 and the last one is included, as PASCAL does; 0
            where the corners are continuous, as most programs write them.

    Raises:
        FaultError: corners that coincide: no one draws an object of a pixel; it is a slip.
    """
    xmin, ymin, xmax, ymax = map(float, corners)
    if xmax == xmin or ymax == ymin:
        raise FaultError(f"the box {_numbers(corners)} has no area")
    if base == 0:
        return xmin, ymin, xmax, ymax
    return (
        xmin - (xmin < xmax), ymin - (ymin < ymax), xmax - (xmax < xmin), ymax - (ymax < ymin)
    )  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
