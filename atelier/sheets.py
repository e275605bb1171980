"""Contact sheets: pictures in a grid, each with a label below it."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from atelier.images import fit_size, resize, save_image

_MARGIN, _INK, _PAPER = 12, (40, 40, 40), (255, 255, 255)


def contact_sheet(
    images: Sequence[np.ndarray],
    labels: Sequence[str],
    path: str | os.PathLike,
    *,
    columns: int | None = None,
    side: int = 320,
) -> None:
    """Writes pictures in a grid as one picture.

    Args:
        images: uint8 (H, W, 3) each, of any sizes.
        labels: one a picture; long ones are wrapped.
        path: the file to write; its suffix chooses the format.
        columns: pictures a row; as square a grid as possible when left out.
        side: longer side of each picture on the sheet, pixels.
    """
    columns = columns or max(1, math.ceil(math.sqrt(len(images))))
    font = ImageFont.load_default(size=15)
    thumbnails = [resize(image, fit_size(image.shape, side)) for image in images]
    wrapped = [textwrap.wrap(label, side // 8) for label in labels]
    line = 19
    caption = line * max((len(lines) for lines in wrapped), default=0) + 6
    height = max(thumbnail.shape[0] for thumbnail in thumbnails)
    cell = side + _MARGIN, height + caption + _MARGIN
    rows = math.ceil(len(images) / columns)
    columns = min(columns, len(images))
    sheet = Image.new("RGB", (columns * cell[0] + _MARGIN, rows * cell[1] + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (thumbnail, lines) in enumerate(zip(thumbnails, wrapped, strict=True)):
        left = _MARGIN + i % columns * cell[0]
        top = _MARGIN + i // columns * cell[1]
        shift = (side - thumbnail.shape[1]) // 2
        sheet.paste(Image.fromarray(thumbnail), (left + shift, top + height - thumbnail.shape[0]))
        draw.text((left + shift, top + height + 4), "\n".join(lines), _INK, font, spacing=4)
    save_image(path, np.asarray(sheet))
