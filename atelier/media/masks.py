"""Reads masks as tools write them: which pixel belongs to which object.

Masks come as black and white, as 0 and 1, as numbers of instances, as palettes and as colours,
with smoothed edges or after JPEG. What the values mean is found out from the values; `read_labels`
says how.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from atelier.errors import ImageError
from atelier.media.images import MAX_PIXELS
from atelier.media.opening import open_image, upright

VOID = -1
"""The label of pixels that are neither background nor of an object."""

SMALLEST_REGION = 0.0002
"""Share of a mask that a value must fill in solid regions to be one that was meant."""

MOST_LABELS = 1024
"""Of the values that occur, as many of the largest area are looked at."""

_VOC_VOID_INDEX, _VOC_VOID_COLOUR = 255, (224 << 16) + (224 << 8) + 192
_TRIMAPS = ([0, 127, 255], [0, 128, 255])
_SOFT = 0.005
"""Share of the foreground that smoothed edges take at least."""

_SHADES = 8
"""Values as near as this are shades of one, where values reach as far as white."""


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Which pixel belongs to what."""

    values: np.ndarray
    """int32 (H, W): 0 background, 1 … n the labels, `VOID`."""
    instances: bool
    """Whether each label is one object, as where values count 1, 2, 3, …; else a label may be of
    several objects, each a region that hangs together."""


def read_labels(file: str | os.PathLike) -> Labels:
    """Reads a mask as labels.

    Background is black or 0; where neither occurs, the colour that most of the border has. Each
    other value that fills solid regions is a label, numbered by value. Values between, of smoothed
    edges or of JPEG, count as the nearest of these. Of a trimap (0, 128, 255) the middle is
    `VOID`, as is PASCAL VOC's border (255 in a palette, or its colour). Where only the alpha
    channel differs, it is the mask. EXIF orientation is applied.

    Args:
        file: a picture of any kind; of an animation, its first frame.

    Raises:
        ImageError: missing, no picture, damaged, or larger than `MAX_PIXELS`.
    """
    name = os.fspath(file)
    try:
        with open_image(Path(file)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"{name}: {width}×{height}, more than {MAX_PIXELS:,} pixels")
            image.load()
            values, indexed = _values(upright(image))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except Image.UnidentifiedImageError:
        empty = os.path.getsize(file) == 0
        what = "the file is empty" if empty else "not a picture in a format that can be read"
        raise ImageError(f"{name}: {what}") from None
    except Exception as error:  # Pillow's decoders raise two dozen kinds on damaged files.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ImageError(f"{name}: the mask cannot be read ({reason})") from None
    return labels_of(values, indexed=indexed)


def labels_of(values: np.ndarray, *, indexed: bool = False) -> Labels:
    """Tells labels apart by their values; see `read_labels`.

    Args:
        values: grey values, integers (H, W) or (H, W, 1); or colours, uint8 (H, W, 3).
        indexed: whether the values are indices of a palette.
    """
    if values.ndim == 3 and np.ptp(values, axis=2).max(initial=0) == 0:
        values = values[..., 0]
    colours = values.ndim == 3
    if colours:
        red, green, blue = np.moveaxis(values.astype(np.int64), 2, 0)
        values = (red << 16) + (green << 8) + blue
    else:
        values = values.astype(np.int64)
        if values.max(initial=0) > 255 and not (values % 257).any():  # 8 bits, widened to 16.
            values //= 257
    found, inverse, areas = np.unique(values, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(values.shape)
    void = np.zeros(len(found), bool)
    if colours:
        void = found == _VOC_VOID_COLOUR
    elif indexed and len(found) > 2:
        void = found == _VOC_VOID_INDEX
    elif found.tolist() in _TRIMAPS:
        void = found == found[1]
    background = 0 if found[0] == 0 else np.bincount(_border(inverse)).argmax()
    kept = _meant(inverse, found, areas, void, background, colours)
    lookup = _nearest(found, kept, colours)
    named = kept & (np.arange(len(found)) != background) & ~void
    numbers = np.cumsum(named)
    labels = np.where(lookup == background, 0, np.where(void[lookup], VOID, numbers[lookup]))
    count = np.count_nonzero(named)
    instances = count > 1 and not colours and np.array_equal(found[named], np.arange(1, count + 1))
    return Labels(labels.astype(np.int32)[inverse], bool(instances))


def _values(image: Image.Image) -> tuple[np.ndarray, bool]:
    """A decoded mask's values, and whether they are indices of a palette without black."""
    if image.mode == "P":
        indices = np.asarray(image)
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = palette[np.minimum(np.unique(indices), len(palette) - 1)]
        # Numbers stay numbers; where 0 is not black but another colour is, colours decide.
        if (np.ptp(used, axis=1) == 0).all() or (palette[0].any() and not used.any(axis=1).all()):
            return palette[np.minimum(indices, len(palette) - 1)], False
        return indices, True
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
        whole = np.array_equal(values, np.rint(values))
        return (values if whole else 255 * values / max(values.max(), 1e-9)).astype(np.int64), False
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA"):
        values = np.asarray(image.convert("RGBA"))
        flat = (values[..., :3] == values[:1, :1, :3]).all()
        return (values[..., 3] if flat else values[..., :3]), False
    if image.mode == "1" or image.mode == "L" or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64), False
    return np.asarray(image.convert("RGB")), False


def _border(values: np.ndarray) -> np.ndarray:
    """The values along the edges."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _meant(inverse, found, areas, void, background, colours) -> np.ndarray:
    """Which of the values `found` were meant, bool: all, or those that fill solid regions."""
    solid = _solid(inverse, len(found))
    solid |= void
    solid[background] = True
    inked, smoothed = areas.sum() - areas[background], areas[~solid].sum()
    numbered = not colours and len(found) < 256 and np.array_equal(found, np.arange(len(found)))
    if smoothed <= inked * (0.1 if numbered else _SOFT) and (numbered or len(found) <= 64):
        return np.ones(len(found), bool)  # Nothing is smoothed: small objects count, too.
    if np.count_nonzero(solid) == 1:  # A soft mask without a plateau.
        solid[-1] = True
    if not colours:
        kept = np.flatnonzero(solid & ~void)
        for lower, upper in itertools.pairwise(kept):
            if found[upper] - found[lower] > _SHADES or found[-1] < 128:
                continue
            if lower == background:
                solid[upper] = upper == kept[-1]
            elif found[lower] > 64:
                solid[lower] = False
    return solid


def _solid(inverse: np.ndarray, count: int) -> np.ndarray:
    """Which values fill regions that are not mere lines or speckles, bool (count,)."""
    step = -(-max(inverse.shape) // 512)
    small = inverse[::step, ::step]
    areas = np.bincount(small.ravel(), minlength=count)
    solid = np.zeros(count, bool)
    for place in np.argsort(-areas, kind="stable")[:MOST_LABELS]:
        if areas[place] < max(4, SMALLEST_REGION * small.size):
            break
        region = (small == place).astype(np.uint8)
        core = cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        solid[place] = core.sum() >= 0.5 * areas[place]
    return solid


def _nearest(found: np.ndarray, kept: np.ndarray, colours: bool) -> np.ndarray:
    """For each of the values `found`, the place of the nearest that is kept."""
    places = np.flatnonzero(kept)
    if len(places) == len(found):
        return places
    points = found[:, None]
    if colours:
        points = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    nearest = np.empty(len(found), np.int64)
    for start in range(0, len(found), 4096):  # Bounds the memory of photos given as masks.
        block = points[start : start + 4096, None].astype(np.float32)
        distance = np.square(block - points[None, places].astype(np.float32)).sum(axis=2)
        nearest[start : start + 4096] = places[distance.argmin(axis=1)]
    return nearest
