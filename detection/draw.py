"""Detections drawn on their picture: boxes, and plates that name them."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import zlib
from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detection.annotations import plain
from detection.detections import Detections

Color = tuple[int, int, int]

PALETTE: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (136, 34, 85),
    (153, 153, 51),
    (51, 34, 136),
)
"""Told apart with any colour vision: Okabe and Ito's seven (2008), then three of Tol's "muted"."""

HIDDEN = 0.15
"""The mean share of an object that plates may hide, before they say less."""

OVERLAP = 0.05
"""Likewise, of a plate that others may hide."""

COVERED = 0.15
"""Likewise, the share of the picture that plates may cover."""

LONGEST_NAME = 32
"""Longer names of classes are cut on plates, characters."""

_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)


def draw(image: np.ndarray, detections: Detections, *, classes: Sequence[str] = ()) -> np.ndarray:
    """Draws boxes, each with a plate of its class and score.

    Lines and letters grow with the picture, and plates make way for each other. Where they would
    hide too much, they become smaller, then lose the scores; at last there are none, and a legend
    names and counts the classes instead.

    Args:
        image: uint8 (H, W, 3), RGB.
        detections: what was found on it.
        classes: all that the detector knows. By its place among them a class has its colour; else
            by its name.

    Returns:
        uint8 (H, W, 3), a copy.
    """
    image, size = image.copy(), image.shape[:2]
    if not len(detections):
        return image
    colors = colors_of(detections.labels, classes)
    boxes = pixel_boxes(detections.boxes, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    for i in np.argsort(-sides.prod(axis=1), kind="stable"):  # Small ones over large ones.
        _outline(image, boxes[i].tolist(), colors[detections.labels[i]])
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for plate in _plates(detections, boxes, size):
        plate.draw(pen, colors[plate.label])
    return np.array(canvas)


def crops(image: np.ndarray, detections: Detections) -> list[np.ndarray]:
    """The parts of a picture in each box, uint8 (h, w, 3), as views; at least a pixel each."""
    boxes = pixel_boxes(detections.boxes, image.shape, whole=True)
    return [image[y1:y2, x1:x2] for x1, y1, x2, y2 in boxes]


def colors_of(labels: Collection[str], classes: Sequence[str] = ()) -> dict[str, Color]:
    """A colour for each label.

    Args:
        labels: of a picture.
        classes: see `draw`. Of labels that are not among them, those whose names lead to the same
            colour take the next that is free.
    """
    places = {name: place % len(PALETTE) for place, name in enumerate(classes)}
    places = {label: places[label] for label in labels if label in places}
    for label in sorted(set(labels) - places.keys()):
        start = zlib.crc32(label.encode("utf-8", "replace"))
        around = [(start + step) % len(PALETTE) for step in range(len(PALETTE))]
        taken = set(places.values())
        places[label] = next((place for place in around if place not in taken), around[0])
    return {label: PALETTE[place] for label, place in places.items()}


def pixel_boxes(boxes: np.ndarray, size: Sequence[int], whole: bool = False) -> np.ndarray:
    """Boxes as ranges of pixels, of at least one each way, inside the picture.

    Args:
        boxes: float (N, 4), x1 y1 x2 y2, continuous.
        size: the picture's (height, width, …).
        whole: whether pixels that a box covers in part are counted; else sides are rounded.

    Returns:
        int (N, 4): x1 y1 x2 y2, the latter two excluded.
    """
    ends = np.array([size[1], size[0]])
    first, last = (np.floor, np.ceil) if whole else (np.rint, np.rint)
    start = np.clip(first(boxes[:, :2]).astype(int), 0, ends - 1)
    stop = np.clip(last(boxes[:, 2:]).astype(int), start + 1, ends)
    return np.concatenate([start, stop], axis=1)


# === Lines ===


def _outline(image: np.ndarray, box: Sequence[int], color: Color) -> None:
    """A line inside the box, and a shade inside of that, for pictures of the line's colour."""
    x1, y1, x2, y2 = box
    side = min(x2 - x1, y2 - y1)
    width = max(1, min(round(2 + _scale(image.shape) / 400), side // 8))
    shade = -(-width // 3)
    if side >= 6 * (width + shade):
        inner = (x1 + width, y1 + width, x2 - width, y2 - width)
        for part in _frame(image, inner, shade):
            part //= 2
    for part in _frame(image, box, width):
        part[...] = color


def _frame(image: np.ndarray, box: Sequence[int], width: int) -> list[np.ndarray]:
    """The four sides of a box, as views; where it is wide enough, they share no pixel."""
    x1, y1, x2, y2 = box
    rows = slice(y1 + width, y2 - width)
    return [
        *(image[y1 : y1 + width, x1:x2], image[y2 - width : y2, x1:x2]),
        *(image[rows, x1 : x1 + width], image[rows, x2 - width : x2]),
    ]


def _scale(size: Sequence[int]) -> float:
    """The side of a square picture of as many pixels, but no more than four shorter sides."""
    return min(math.sqrt(size[0] * size[1]), 4 * min(size[:2]))


# === Plates ===


@dataclasses.dataclass(frozen=True)
class _Plate:
    """A text on the colour of its class."""

    label: str
    text: str
    box: tuple[int, int, int, int]
    font: ImageFont.FreeTypeFont

    def draw(self, pen: ImageDraw.ImageDraw, color: Color) -> None:
        x1, y1, x2, y2 = self.box
        ink = _LIGHT if _contrast(color, _LIGHT) > _contrast(color, _DARK) else _DARK
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=color)
        middle = ((x1 + x2) / 2, y1 + (y2 - y1 + _ascent(self.font)) / 2)
        pen.text(middle, self.text, ink, self.font, anchor="ms")


def _plates(detections: Detections, boxes: np.ndarray, size: Sequence[int]) -> list[_Plate]:
    """The plates of the fullest kind that does not hide too much, or those of a legend."""
    letters = max(11, round(7 + _scale(size) / 75))
    small = max(9, round(0.75 * letters))
    for points, numbers in ((letters, True), (small, True), (small, False)):
        texts = [
            f"{_short(label)} {score:.0%}" if numbers else _short(label)
            for label, score in zip(detections.labels, detections.scores, strict=True)
        ]
        font = _font(points)
        rooms = [_room(text, font) for text in texts]
        if sum(width * height for width, height in rooms) > COVERED * size[0] * size[1]:
            continue
        places, hidden, overlap = _place(rooms, boxes, size)
        if hidden <= HIDDEN and overlap <= OVERLAP:
            break
    else:
        return _legend(detections.labels, boxes, size, _font(letters))
    return [
        _Plate(label, text, place, font)
        for label, text, place in zip(detections.labels, texts, places, strict=True)
        if place is not None
    ]


def _place(rooms, boxes, size) -> tuple[list, float, float]:
    """Where plates hide least, chosen in the order of the boxes.

    Args:
        rooms: N (width, height) of plates.
        boxes: int (N, 4).
        size: the picture's.

    Returns:
        A box for each plate, or None where the picture has no room for it; the mean share of
        objects that is hidden; the mean share of plates.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    placed, chosen, hidden, overlap = np.zeros((0, 4), int), [], 0.0, 0.0
    for (width, height), (x1, y1, x2, y2) in zip(rooms, boxes, strict=True):
        if width > size[1] or height > size[0]:
            chosen.append(None)
            continue
        corners = [
            *((x1, y1 - height), (x1, y1), (x1, y2), (x1, y2 - height)),
            *((x2 - width, y1 - height), (x2 - width, y1), (x2 - width, y2)),
            *((x2, y1), (x1 - width, y1), (x2, y2 - height), (x1 - width, y2 - height)),
        ]
        corners = np.clip(corners, 0, [size[1] - width, size[0] - height])
        candidates = np.concatenate([corners, corners + [width, height]], axis=1)
        covers = (_intersections(candidates, boxes) / areas).sum(axis=1)
        over = _intersections(candidates, placed).sum(axis=1) / (width * height)
        best = np.argmin(covers + 4 * over + 0.01 * np.arange(len(candidates)))
        hidden, overlap = hidden + covers[best], overlap + over[best]
        chosen.append(tuple(candidates[best].tolist()))
        placed = np.concatenate([placed, candidates[best : best + 1]])
    return chosen, hidden / len(rooms), overlap / len(rooms)


def _legend(labels, boxes, size, font) -> list[_Plate]:
    """Names and numbers of classes, most frequent first, in the corner that has least to hide."""
    counts = collections.Counter(labels).most_common(len(PALETTE))
    texts = [f"{count} {_short(label)}" for label, count in counts]
    rooms = [_room(text, font) for text in texts]
    width, height = max(room[0] for room in rooms), rooms[0][1]
    shown = size[0] // height if width <= size[1] else 0
    total = min(shown, len(texts)) * height
    corners = [(x, y) for y in (0, size[0] - total) for x in (0, size[1] - width)]
    whole = np.array([(x, y, x + width, y + total) for x, y in corners])
    x, y = corners[np.argmin(_intersections(whole, boxes).sum(axis=1))]
    return [
        _Plate(label, text, (x, y + row * height, x + width, y + (row + 1) * height), font)
        for row, ((label, _), text) in enumerate(zip(counts[:shown], texts, strict=False))
    ]


def _intersections(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Common pixels of int boxes (A, 4) and (B, 4): (A, B)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)


# === Letters ===


@functools.lru_cache
def _font(points: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=points)


def _ascent(font: ImageFont.FreeTypeFont) -> int:
    """Height of a capital, pixels."""
    return -font.getbbox("H", anchor="ls")[1]


def _room(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Width and height of a text's plate."""
    ascent = _ascent(font)
    return math.ceil(font.getlength(text)) + ascent, round(1.9 * ascent)


def _short(label: str) -> str:
    return plain(label, LONGEST_NAME)


def _contrast(one: Color, other: Color) -> float:
    """The ratio of two colours' luminances, from 1 to 21 (WCAG 2.1)."""
    low, high = sorted(_luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    levels = np.array(color) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
