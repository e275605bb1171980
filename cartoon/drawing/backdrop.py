"""What a cut-out is laid on: a colour, a picture, the photo itself, or nothing."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ImageColor

from atelier.errors import SettingsError
from atelier.media.images import READABLE, load_image, resize

TRANSPARENT, PHOTO = "transparent", "photo"

WHITE = np.array((255, 255, 255), np.uint8)

Backdrop = Callable[[np.ndarray], np.ndarray]
"""The photo, uint8 (H, W, 3 or 4), to what is behind the cut-out: uint8 (H, W, C) or (C,), C being
4 where something shines through."""


def find_backdrop(name: str) -> Backdrop:
    """What a name stands for.

    Args:
        name: "transparent"; "photo"; a colour as CSS has them, such as "white", "#ffcc00" or
            "#ffcc0080", whose last two digits are its opacity; or a picture's file, which is
            cropped to cover the photo's size.

    Raises:
        SettingsError: it is none of these.
        ImageError: it is a file that cannot be read.
    """
    if name == PHOTO:
        return lambda photo: photo
    if Path(name).suffix.lower() in READABLE or os.path.isfile(name):
        # A video's frames are all of one size.
        covering = functools.lru_cache(1)(functools.partial(cover, load_image(name, alpha="keep")))
        return lambda photo: covering(photo.shape[:2])
    if name == TRANSPARENT:
        nothing = np.array((255, 255, 255, 0), np.uint8)
        return lambda photo: nothing
    try:
        return color_backdrop(name)
    except SettingsError:
        raise SettingsError(
            f"no background {name!r}: transparent, photo, a colour such as white or #ffcc00, or a "
            f"picture's file"
        ) from None


def color_backdrop(name: str) -> Backdrop:
    """A colour, and nothing but a colour: no file is looked at, whatever the name.

    Args:
        name: as CSS has colours.

    Raises:
        SettingsError: it is none.
    """
    try:
        colour = ImageColor.getrgb(name)
    except ValueError:
        raise SettingsError(f"no colour {name!r}: such as white or #ffcc00") from None
    colour = np.array(colour[:3] if colour[3:] == (255,) else colour, np.uint8)
    return lambda photo: colour


def cover(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture, resized so that it just fills (height, width): uint8."""
    (height, width), (rows, columns) = picture.shape[:2], size
    scale = max(rows / height, columns / width)
    tall, wide = min(height, rows / scale), min(width, columns / scale)
    top, left = round((height - tall) / 2), round((width - wide) / 2)
    part = picture[top : top + max(1, round(tall)), left : left + max(1, round(wide))]
    return resize(np.ascontiguousarray(part), size)


def lay_on(front: np.ndarray, mask: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """A cut-out over its backdrop.

    Args:
        front: uint8 (H, W, 3).
        mask: float32 (H, W) in [0, 1].
        behind: uint8 (H, W, C) or (C,), C being 3 or 4.

    Returns:
        uint8 (H, W, C); where nothing is opaque, the colour behind.

    Reference: Porter and Duff, "Compositing Digital Images", 1984, section 4.3, "over".
    """
    mask, behind = mask[..., None], behind.astype(np.float32)
    if behind.shape[-1] == 3:
        return np.rint(behind + mask * (front - behind)).astype(np.uint8)
    colour, opacity = behind[..., :3], behind[..., 3:] / 255
    alpha = mask + (1 - mask) * opacity
    share = np.divide(mask, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    mixed = colour + share * (front - colour)
    return np.rint(np.concatenate([mixed, 255 * alpha], axis=-1)).astype(np.uint8)


def compose(
    front: np.ndarray, mask: np.ndarray, photo: np.ndarray, backdrop: Backdrop
) -> np.ndarray:
    """A cut-out before what its photo's backdrop is.

    Args:
        front: uint8 (H, W, 3).
        mask: float32 (H, W) in [0, 1], at most the photo's alpha.
        photo: uint8 (H, W, 3) or (H, W, 4).
        backdrop: of `find_backdrop`.

    Returns:
        uint8 (H, W, C) as `lay_on`; on the photo itself, with the photo's alpha.
    """
    behind = backdrop(photo)
    if behind is not photo or photo.shape[-1] == 3:
        return lay_on(front, mask, behind)
    # Over itself, what is half transparent would be less so.
    alpha = photo[..., 3] / np.float32(255)
    share = np.divide(mask, alpha, out=np.zeros_like(mask), where=alpha > 0)
    return np.dstack([lay_on(front, np.minimum(share, 1), photo[..., :3]), photo[..., 3]])
