"""What super-resolution gains, for the eye: a part of a picture beside bicubic interpolation."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WINDOW = 160
"""Side of the part that is shown, pixels of the enlarged picture."""

_BLOCK, _STRIP, _LARGE = 8, 256, 640
_MARGIN, _CAPTION, _INK, _PAPER = 12, 34, (40, 40, 40), (255, 255, 255)


def comparison(picture: np.ndarray, enlarged: np.ndarray) -> np.ndarray:
    """The part of a picture where two enlargements differ most, side by side, with labels.

    Args:
        picture: uint8 (H, W, 3), the original.
        enlarged: uint8 (scale·H, scale·W, 3), what super-resolution made of it.

    Returns:
        uint8 (h, w, 3); each pixel is shown as a square of several.
    """
    scale = enlarged.shape[0] // picture.shape[0]
    top, left, height, width = busiest_window(picture, enlarged)
    small = (left, top, left + width, top + height)
    size = (width * scale, height * scale)
    bicubic = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, box=small)
    part = enlarged[top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    zoom = max(1, _LARGE // max(size))
    shown = [Image.fromarray(magnified(image, zoom)) for image in (np.asarray(bicubic), part)]
    cell = max(shown[0].width, 120) + _MARGIN
    sheet = Image.new("RGB", (2 * cell + _MARGIN, shown[0].height + _CAPTION + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (image, label) in enumerate(zip(shown, ("bicubic", "superres"), strict=True)):
        place = _MARGIN + number * cell
        sheet.paste(image, (place, _CAPTION))
        draw.text((place, 6), label, _INK, ImageFont.load_default(size=20))
    return np.asarray(sheet)


def interpolated(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation of a picture, uint8 (H, W) or (H, W, C), to (height, width)."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def magnified(image: np.ndarray, zoom: int) -> np.ndarray:
    """Each pixel as a square of `zoom`×`zoom`."""
    return image.repeat(zoom, 0).repeat(zoom, 1)


def busiest_window(picture: np.ndarray, enlarged: np.ndarray) -> tuple[int, int, int, int]:
    """Where an enlargement differs most from bicubic interpolation.

    Args:
        picture, enlarged: as of `comparison`.

    Returns:
        Top, left, height and width of a part of `picture`: a square that enlarged has about
        `WINDOW` pixels a side, or the whole side where that is shorter.
    """
    height, width = picture.shape[:2]
    scale = enlarged.shape[0] // height
    blocks = max(1, round(WINDOW / scale / _BLOCK))
    side = blocks * _BLOCK
    if height < side or width < side:
        # Too narrow to be searched in both directions: its middle.
        shape = min(side, height), min(side, width)
        return (height - shape[0]) // 2, (width - shape[1]) // 2, *shape
    differences = _block_differences(picture, enlarged, scale)
    sums = np.pad(differences, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    windows = sums[blocks:, blocks:] - sums[:-blocks, blocks:]
    windows -= sums[blocks:, :-blocks] - sums[:-blocks, :-blocks]
    row, column = np.unravel_index(np.argmax(windows), windows.shape)
    return int(row) * _BLOCK, int(column) * _BLOCK, side, side


def _block_differences(picture: np.ndarray, enlarged: np.ndarray, scale: int) -> np.ndarray:
    """The mean absolute difference from bicubic in each block of 8×8 pixels of `picture`."""
    grey = Image.fromarray(picture).convert("L")
    width, height = (side // _BLOCK * _BLOCK for side in grey.size)
    large, rows = _BLOCK * scale, []
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        size, box = (width * scale, (bottom - top) * scale), (0, top, width, bottom)
        bicubic = np.asarray(grey.resize(size, Image.Resampling.BICUBIC, box=box), np.float32)
        part = enlarged[top * scale : bottom * scale, : width * scale]
        difference = np.abs(np.asarray(Image.fromarray(part).convert("L")) - bicubic)
        cells = difference.reshape(-1, large, width // _BLOCK, large)
        rows.append(cells.mean(axis=(1, 3)))
    return np.concatenate(rows)
