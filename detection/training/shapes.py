"""Drawn pictures with known boxes, to try a training on where there is no data."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from atelier.files import write_text
from atelier.media.images import save_image
from detection.annotations.write import write_voc
from detection.detections import Detections

SHAPES = ("disc", "square", "triangle")


def write_shapes(
    folder: str | os.PathLike,
    pictures: int = 24,
    *,
    size: tuple[int, int] = (192, 256),
    seed: int = 0,
) -> None:
    """Writes a folder in Pascal VOC's form, with the lists train (three quarters) and val.

    Args:
        folder: where to; existing files of the same names are replaced.
        pictures: how many.
        size: their height and width, at least 64 pixels each.
        seed: of all that is random.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder, names = Path(folder), []
    for number in range(pictures):
        name = f"{number:03d}"
        image, found = draw_shapes(np.random.default_rng((seed, number)), size)
        save_image(folder / "JPEGImages" / f"{name}.png", image, overwrite=True)
        xml = folder / "Annotations" / f"{name}.xml"
        write_voc(xml, f"{name}.png", image.shape, found, overwrite=True)
        names.append(name)
    first = max(1, round(0.75 * pictures))
    for split, own in (("train", names[:first]), ("val", names[first:] or names)):
        write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "\n".join(own) + "\n")


def draw_shapes(
    rng: np.random.Generator, size: tuple[int, int] = (192, 256)
) -> tuple[np.ndarray, Detections]:
    """A picture of two to six shapes on a cloudy background, and their boxes.

    Returns:
        image: uint8 (H, W, 3).
        shapes: their boxes to the pixel, and 1 as scores; none hides much of another.
    """
    clouds = rng.uniform(60, 200, (5, 7, 3)).astype(np.float32)
    image = cv2.resize(clouds, size[::-1], interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    boxes, labels = [], []
    for _ in range(rng.integers(2, 7)):
        side = int(rng.integers(16, min(size) // 2))
        left, top = (int(rng.integers(0, length - side)) for length in size[::-1])
        box = (left, top, left + side, top + side)
        if any(_overlap(box, other) for other in boxes):
            continue
        label = SHAPES[rng.integers(len(SHAPES))]
        _draw(image, label, box, tuple(int(level) for level in rng.integers(0, 256, 3)))
        boxes.append(box)
        labels.append(label)
    return image, Detections(
        np.array(boxes, np.float32), np.ones(len(boxes), np.float32), tuple(labels)
    )


def _overlap(one, other) -> bool:
    return all(min(one[axis + 2], other[axis + 2]) > max(one[axis], other[axis]) for axis in (0, 1))


def _draw(image, label, box, color) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    if label == "square":
        cv2.rectangle(image, (left, top), (right, bottom), color, -1)
    elif label == "disc":
        rows, columns = np.ogrid[top : bottom + 1, left : right + 1]
        center_y, center_x, radius = (top + bottom) / 2, (left + right) / 2, (right - left + 1) / 2
        inside = (rows - center_y) ** 2 + (columns - center_x) ** 2 <= radius**2
        image[top : bottom + 1, left : right + 1][inside] = color
    else:
        corners = np.array([(left, bottom), (right, bottom), ((left + right) // 2, top)])
        cv2.fillPoly(image, [corners], color)
