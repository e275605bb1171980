"""Contact sheets: pictures in a grid, each with a label below it."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from atelier.media.images import fit_size, resize, save_image

_MARGIN, _INK, _PAPER = 12, (40, 40, 40), (255, 255, 255)


def contact_sheet(
    images: Iterable[np.ndarray],
    labels: Sequence[str],
    path: str | os.PathLike,
    *,
    columns: int | None = None,
    side: int = 320,
) -> None:
    """Writes pictures in a grid as one picture.

    Args:
        images: uint8 (H, W, 3) each, of any sizes; one is held at a time.
        labels: one a picture; long ones are wrapped, and new lines kept.
        path: the file to write; its suffix chooses the format.
        columns: pictures a row; as square a grid as possible when left out.
        side: longer side of each picture on the sheet, pixels.

    Raises:
        ValueError: there are no pictures, or not as many as labels.
        OutputError: the file cannot be written.
    """
    font = ImageFont.load_default(size=15)
    thumbnails = [resize(image, fit_size(image.shape, side)) for image in images]
    if not thumbnails or len(thumbnails) != len(labels):
        raise ValueError(f"{len(thumbnails)} pictures and {len(labels)} labels make no sheet")
    columns = columns or math.ceil(math.sqrt(len(thumbnails)))
    wrapped = [
        [line for part in label.splitlines() for line in textwrap.wrap(part, side // 8)]
        for label in labels
    ]
    columns = min(columns, len(thumbnails))
    # Each row is as high as its highest picture, which all stand level with, and longest label.
    starts = range(0, len(thumbnails), columns)
    heights = [max(t.shape[0] for t in thumbnails[i : i + columns]) for i in starts]
    captions = [6 + 19 * max(map(len, wrapped[i : i + columns]), default=0) for i in starts]
    size = (
        columns * (side + _MARGIN) + _MARGIN,
        sum(heights) + sum(captions) + (len(starts) + 1) * _MARGIN,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (thumbnail, lines) in enumerate(zip(thumbnails, wrapped, strict=True)):
        row, column = divmod(i, columns)
        left = _MARGIN + column * (side + _MARGIN) + (side - thumbnail.shape[1]) // 2
        bottom = sum(heights[: row + 1]) + sum(captions[:row]) + (row + 1) * _MARGIN
        sheet.paste(Image.fromarray(thumbnail), (left, bottom - thumbnail.shape[0]))
        draw.text((left, bottom + 4), "\n".join(lines), _INK, font, spacing=4)
    save_image(path, np.asarray(sheet))
