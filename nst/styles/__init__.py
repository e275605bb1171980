"""The project's own paintings, drawn by `python -m tools.paintings --out nst/styles`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from atelier.errors import ImageError
from atelier.media.images import ImageSource, load_image

HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The paintings that can be asked for by name, sorted."""
    return tuple(sorted(file.stem for file in HERE.glob("*.png")))


def open_style(style: ImageSource) -> np.ndarray:
    """A style picture, uint8 (H, W, 3), by name or from anywhere a picture can come from.

    Raises:
        ImageError: it is neither a painting's name nor a picture that can be read.
    """
    if isinstance(style, (str, os.PathLike)):
        name = os.fspath(style)
        if name in names():
            return load_image(HERE / f"{name}.png")
        if not os.path.exists(name) and not os.path.splitext(name)[1]:
            known = ", ".join(names())
            raise ImageError(f"{name}: no such file, nor a painting by name ({known})")
    return load_image(style)
