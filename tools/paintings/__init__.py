"""Original paintings drawn from noise, geometry and a seed, as style pictures.

`python -m tools.paintings --out DIR` writes them; `paint(name)` draws one.  No picture or data set
goes in, so the results carry no one else's rights, and the same seed gives the same pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tools.paintings import oil, relief, tiles, water

Painter = Callable[[int, int, np.random.Generator], NDArray[np.uint8]]

PAINTINGS: dict[str, Painter] = {
    "impasto": oil.impasto,
    "pointillist": oil.pointillist,
    "stained_glass": tiles.stained_glass,
    "mosaic": tiles.mosaic,
    "woodcut": relief.woodcut,
    "watercolor": water.watercolor,
    "ink": water.ink,
}
"""Painters by name: each draws a uint8 (height, width, 3) RGB array."""

ASPECTS: dict[str, float] = {
    "impasto": 1.25, "pointillist": 1.25, "stained_glass": 0.8, "mosaic": 1.0, "woodcut": 1.3,
    "watercolor": 0.8, "ink": 0.75,
}  # fmt: skip
"""Width over height that each composition is laid out for."""


def paint(name: str, size: int = 640, seed: int = 0) -> NDArray[np.uint8]:
    """Draw the painting `name`, `size` pixels on its longer side: uint8 (H, W, 3) RGB.

    The same name, size and seed give the same pixels (with the same library versions).
    Raises ValueError for an unknown name (the message lists the choices) or a size below 64.
    """
    if name not in PAINTINGS:
        raise ValueError(f"unknown painting {name!r}; choose from {', '.join(PAINTINGS)}")
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels, not {size}")
    aspect = ASPECTS.get(name, 1.0)
    width, height = round(size * min(1, aspect)), round(size / max(1, aspect))
    # The name goes into the seed, so that no two paintings share one noise.
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return PAINTINGS[name](height, width, rng)
