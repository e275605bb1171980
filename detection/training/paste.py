"""Copy-paste augmentation: objects cut out of some photos and laid over others.

Source: Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation"; here, with scales and places at random, and cut-outs from photos with masks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from atelier.errors import DataError
from atelier.media.images import fit_size, load_image
from atelier.media.pairs import find_pairs
from detection.annotations import FaultError
from detection.annotations.masks import SMALLEST, read_mask, read_masks

LONGEST = 512
"""Pixels of the longer side that cut-outs are kept at."""

HIDDEN = 0.7
"""An object of which more than this share is covered is ignored, neither learned nor denied."""


class CutOut(NamedTuple):
    """An object cut out of its photo."""

    image: np.ndarray
    """uint8 (H, W, 3), its box of the photo."""
    mask: np.ndarray
    """uint8 (H, W), 255 where the object is."""
    grounded: bool
    """Whether the photo's lower border cuts it off, so that it cannot float in the air."""


def photo_files(folder: str | os.PathLike) -> list[Path]:
    """Returns the photos that objects would be cut out of.

    Raises:
        DataError: no such folders.
    """
    return [pair.image for pair in find_pairs(folder).pairs]


def read_cut_outs(
    folder: str | os.PathLike, groups: Collection[str] = (), *, skip: Collection[str] = ()
) -> list[CutOut]:
    """Cuts out the objects of photos with masks that show a single one.

    Args:
        folder, groups: as `read_masks` takes them.
        skip: names, without suffix, of photos that are left as they are, such as those that are
            held back from training.

    Raises:
        DataError: no such folders, or no object.
    """
    masks = {pair.image: pair.mask for pair in find_pairs(folder).pairs}
    found = []
    for item in read_masks(folder, groups=groups).items:
        if Path(item.name).stem in skip or len(item.boxes) != 1 or item.crowd[0]:
            continue
        try:
            mask = read_mask(masks[item.image], item.size)
        except FaultError:  # `read_masks` has seen it whole.
            continue
        left, top, right, bottom = item.boxes[0].astype(int)
        image = load_image(item.image)[top:bottom, left:right]
        size = fit_size(image.shape, min(LONGEST, max(image.shape[:2])))[::-1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        drawn = 255 * mask[top:bottom, left:right].astype(np.uint8)
        # Masks of a hair's breadth too much show the old background: half a pixel goes.
        drawn = cv2.GaussianBlur(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), (0, 0), 1)
        drawn = np.clip((drawn.astype(np.float32) - 96) * 1.61, 0, 255).astype(np.uint8)
        found.append(CutOut(image, drawn, bottom >= 0.98 * item.size[0]))
    if not found:
        raise DataError(f"{folder}: no photo with a single object to cut out")
    return found


def paste(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    cut_out: CutOut,
    label: int,
    ignore: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lays an object over a picture, at a random size and place, mirrored or not.

    Args:
        image: uint8 (H, W, 3).
        boxes, labels: float (N, 4) and int (N,), what is on it.
        cut_out: the object.
        label: its class.
        ignore: the label of objects that it hides.
        rng: decides.

    Returns:
        image, boxes and labels with one more.
    """
    height, width = image.shape[:2]
    tall = height * math.exp(rng.uniform(math.log(0.12), math.log(1.0)))
    scale = tall / cut_out.image.shape[0]
    size = (max(2, round(cut_out.image.shape[1] * scale)), max(2, round(tall)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    person, opacity = (cv2.resize(part, size, interpolation=method) for part in cut_out[:2])
    if rng.random() < 0.5:
        person, opacity = person[:, ::-1], opacity[:, ::-1]
    gain = rng.uniform(0.7, 1.2) * rng.uniform(0.93, 1.07, 3)
    person = np.clip(person * gain, 0, 255)

    left = int(rng.uniform(-0.3, 1.3) * width - size[0] / 2)
    top = int(rng.uniform(0, 1) * (height - size[1]))
    if cut_out.grounded:
        top = height - int(size[1] * rng.uniform(0.6, 1))
    x1, y1, x2, y2 = (
        max(left, 0),
        max(top, 0),
        min(left + size[0], width),
        min(top + size[1], height),
    )
    if x2 - x1 < 4 or y2 - y1 < 4:
        return image, boxes, labels
    inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    opacity = opacity[inside]
    rows, columns = (np.flatnonzero(opacity.max(axis=axis) > 127) for axis in (1, 0))
    if np.count_nonzero(opacity > 127) < SMALLEST * size[0] * size[1]:
        return image, boxes, labels

    image = image.copy()
    share = opacity[..., None].astype(np.float32) / 255
    under = image[y1:y2, x1:x2]
    image[y1:y2, x1:x2] = np.rint(person[inside] * share + under * (1 - share)).astype(np.uint8)
    box = (x1 + columns[0], y1 + rows[0], x1 + columns[-1] + 1, y1 + rows[-1] + 1)
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    hidden = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    labels = np.where(hidden > HIDDEN * area, ignore, labels)
    return image, np.vstack([boxes, box]), np.append(labels, labels.dtype.type(label))
