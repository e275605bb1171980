"""Judges whether a picture was compressed with losses: by its file, and by its pixels.

The rule of `model="auto"`: compressed is what comes from a JPEG file of a quality below
`CLEAN_QUALITY` or from a lossy WebP or AVIF file, and what shows the 8×8 grid that JPEG leaves,
whatever its file is now. All else is clean.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from atelier.media.images import ImageSource, Picture
from atelier.media.opening import open_image
from superres.color import luma

CLEAN_QUALITY = 91
"""From this JPEG quality on, the network for clean pictures gains more: measured with networks of
both kinds on Set5 and Set14, it loses up to 90, by 0.6 dB at 70, and wins by 0.3 dB at 95."""

VISIBLE_GRID = 1.2
"""Of `grid_strength`. Pictures that were shrunk, and so have no grid, stay below 1.18 (175 of
BSD200, T91, Set14, Set5 and scikit-image); eight in ten of quality 75 are above, and half of 85."""

_LUMA_TABLE_SUM = 3691
"""Of the 64 quantisation steps of luma at quality 50 (ITU-T T.81, Table K.1)."""

_GRID, _SMALLEST, _LARGEST = 8, 48, 1024


@dataclasses.dataclass(frozen=True)
class Header:
    """What a picture's file says before it is decoded."""

    width: int
    height: int
    lossy: str | None
    """How it was compressed with losses, for people, if it was so that it shows."""


def read_header(source: ImageSource) -> Header | None:
    """Reads what the file says; None if it is no picture, which whoever decodes it will explain."""
    if isinstance(source, Picture):
        source = source.image
    if isinstance(source, np.ndarray):
        return Header(source.shape[1], source.shape[0], None) if source.ndim > 1 else None
    if isinstance(source, Image.Image):
        return Header(*source.size, _lossy(source))
    try:
        with open_image(source) as image:
            return Header(*image.size, _lossy(image))
    except Exception:  # A damaged file raises whatever its decoder comes across.
        return None


def jpeg_quality(image: Image.Image) -> int | None:
    """The quality in [1, 100] of a JPEG file, estimated from its quantisation table of luma.

    The mean step tells which scaled copy of the standard's table it is, or comes nearest to.

    Returns:
        None for what is no JPEG file.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    percent = 100 * sum(tables[min(tables)]) / _LUMA_TABLE_SUM
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return int(np.clip(round(quality), 1, 100))


def grid_strength(picture: np.ndarray) -> float:
    """How much more a picture bends across its most prominent 8×8 grid than elsewhere; about 1
    where there is none.

    Steps between blocks show as third differences across every eighth line; the grid may lie
    anywhere, for pictures are cropped. Judged by at most the middle 1024×1024 pixels.

    Args:
        picture: uint8 (H, W), (H, W, 3) or (H, W, 4).

    Returns:
        0 for pictures with a side below 48 pixels, too small to tell.
    """
    if min(picture.shape[:2]) < _SMALLEST:
        return 0.0
    middle = tuple(
        slice(max(0, (side - _LARGEST) // 2), (side + _LARGEST) // 2) for side in picture.shape[:2]
    )
    picture = picture[middle] if picture.ndim == 2 else picture[middle][..., :3]
    plane, ratios = luma(picture), []
    for lines in (plane, plane.T):
        bend = np.abs(lines[:, :-3] - 3 * lines[:, 1:-2] + 3 * lines[:, 2:-1] - lines[:, 3:])
        profile = np.minimum(bend, 20).mean(axis=0)  # Edges of objects must not drown the grid.
        phases = np.array([profile[phase::_GRID].mean() for phase in range(_GRID)])
        others = [np.median(np.delete(phases, phase)) for phase in range(_GRID)]
        # A level is added: on flat ground there are steps that nobody sees.
        ratios.append(np.max((phases + 1) / (np.array(others) + 1)))
    return float(np.sqrt(np.prod(ratios)))


def _lossy(image: Image.Image) -> str | None:
    quality = jpeg_quality(image)
    if quality is not None:
        return f"JPEG of quality {quality}" if quality < CLEAN_QUALITY else None
    if image.format == "WEBP":
        return "lossy WebP" if _is_lossy_webp(image) else None
    return {"AVIF": "AVIF", "HEIF": "HEIC"}.get(image.format)


def _is_lossy_webp(image: Image.Image) -> bool:
    """Whether a file's first frame is coded as `VP8 `; lossless ones are `VP8L`."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return False
    place = stream.tell()
    stream.seek(0)
    start = stream.read(1 << 16)
    stream.seek(place)
    lossy, lossless = start.find(b"VP8 "), start.find(b"VP8L")
    return lossy >= 0 and (lossless < 0 or lossy < lossless)
