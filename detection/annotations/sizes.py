"""Sizes of pictures, as their files and as their annotations have them.

A picture may be turned by its EXIF orientation, and programs disagree on whether boxes are of the
pixels as stored or as shown. Label Studio's SDK 2.1.2 states in COCO's JSON the size as stored with
boxes as shown, and in VOC's XML the size as shown; older labelImg wrote boxes as stored. So a
stated size with its sides exchanged settles nothing; the boxes of the whole set do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from detection.annotations.text import FaultError

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, pixels, continuous."""

Reading = Literal["shown", "stored"]
"""Whether boxes are of a picture as EXIF turns it, or of its pixels as they are stored."""

TOLERANCE = 1.0
"""Pixels by which a box may leave its picture and still fit it."""

SIDEWAYS = 5
"""From this of EXIF's orientations on, width and height are exchanged."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A picture's pixels as they are stored, and how EXIF turns them."""

    stored: tuple[int, int]
    """Height and width."""
    turn: int = 1
    """EXIF's orientation, from 1, which is upright, to 8."""

    @property
    def shown(self) -> tuple[int, int]:
        """Height and width as `atelier.media.images.load_image` gives them."""
        return self.stored[::-1] if self.turn >= SIDEWAYS else self.stored

    def size(self, reading: Reading) -> tuple[int, int]:
        """Height and width in a reading."""
        return self.shown if reading == "shown" else self.stored


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How a stated size was fitted to a picture's own."""

    factors: tuple[float, float] = (1.0, 1.0)
    """What x and y are multiplied by."""
    exchanged: bool = False
    """Whether width and height were stated in the other order."""


def fit(own: tuple[int, int], stated: Sequence[float]) -> Fitted:
    """Fits a stated size to a picture's own.

    Args:
        own: height and width.
        stated: height and width, above 0.

    Raises:
        FaultError: they are not of one shape, give or take a pixel, in either order.
    """
    if tuple(stated) == own:
        return Fitted()
    if tuple(stated) == own[::-1]:
        return Fitted(exchanged=True)
    for exchanged, (height, width) in ((False, stated), (True, stated[::-1])):
        # Sides that are off by one pixel, of either picture, change the product by so much.
        if abs(height * own[1] - width * own[0]) <= max(height + width, sum(own)):
            return Fitted((own[1] / width, own[0] / height), exchanged)
    raise FaultError(
        f"the picture is {own[1]}×{own[0]}, but the annotations say {stated[1]:g}×{stated[0]:g}"
    )


def overhang(box: Box, size: Sequence[float]) -> float:
    """Returns by how many pixels a box leaves a picture of that height and width, at least 0."""
    x1, x2 = min(box[0], box[2]), max(box[0], box[2])
    y1, y2 = min(box[1], box[3]), max(box[1], box[3])
    return max(-x1, -y1, x2 - size[1], y2 - size[0], 0.0)


def fits(boxes: Iterable[Box], size: Sequence[float]) -> bool:
    """Whether all boxes are in a picture of that height and width, but for `TOLERANCE`."""
    return all(overhang(box, size) <= TOLERANCE for box in boxes)


def scaled(box: Box, factors: tuple[float, float]) -> Box:
    """Multiplies x and y."""
    x1, y1, x2, y2 = box
    return x1 * factors[0], y1 * factors[1], x2 * factors[0], y2 * factors[1]


def settle(pictures: Iterable[tuple[Frame, Sequence[Box]]]) -> Reading:
    """Decides for a whole set whether boxes are of pictures as shown or as stored.

    Args:
        pictures: those that EXIF turns, with their boxes at the pictures' own scale.

    Returns:
        the reading in which every box is inside its picture; "shown", what today's programs
        write, where both or neither is.
    """
    pictures = list(pictures)
    if all(fits(boxes, frame.shown) for frame, boxes in pictures):
        return "shown"
    stored = all(fits(boxes, frame.stored) for frame, boxes in pictures)
    return "stored" if stored else "shown"


def upright(box: Box, frame: Frame) -> Box:
    """Moves a box of the stored pixels to where EXIF's orientation shows it."""
    height, width = frame.stored
    (x1, y1), (x2, y2) = (_turned(*corner, height, width, frame.turn) for corner in _corners(box))
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _corners(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return (box[0], box[1]), (box[2], box[3])


def _turned(x: float, y: float, height: int, width: int, turn: int) -> tuple[float, float]:
    if turn in (2, 3, 7, 8):
        x = width - x
    if turn in (3, 4, 6, 7):
        y = height - y
    return (y, x) if turn >= SIDEWAYS else (x, y)
