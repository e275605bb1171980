"""The pictures of `benchmarks.scale`: parts of those that come with scikit-image."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.media.images import load_image, resize, sample

SOURCES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "camera.png",
)
"""Pictures that come with scikit-image."""


def small_picture(number: int, side: int) -> np.ndarray:
    """A part of one of the sources, perhaps mirrored, uint8 (H, W, 3), another for each number.

    Longer side `side`, the other one anything from three fifths of it.
    """
    rng = np.random.default_rng(number)
    source = _source(SOURCES[number % len(SOURCES)])
    part = rng.uniform(0.5, 1)
    height, width = (round(length * part) for length in source.shape[:2])
    top, left = (
        rng.integers(0, length, endpoint=True)
        for length in (source.shape[0] - height, source.shape[1] - width)
    )
    cut = source[top : top + height, left : left + width]
    sides = [side, round(side * rng.uniform(0.6, 1))]
    if rng.random() < 0.5:
        sides.reverse()
    picture = resize(np.ascontiguousarray(cut), tuple(sides))
    return picture[:, ::-1] if rng.random() < 0.5 else picture


def large_picture(number: int, megapixels: float) -> np.ndarray:
    """The astronaut, 4:3, with the grain of a camera's sensor: uint8 (H, W, 3)."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(megapixels * 1e6 / width)
    picture = np.array(resize(_source("astronaut.png")[: 512 * 3 // 4], (height, width)))
    grain = np.random.default_rng(number).normal(0, 4, (256, width, 3)).astype(np.int16)
    for top in range(0, height, 256):
        rows = picture[top : top + 256]
        rows[:] = np.clip(rows + grain[: len(rows)], 0, 255)
    return picture[:, ::-1] if number % 2 else picture


@functools.cache
def _source(name: str) -> np.ndarray:
    return load_image(sample(name))


class Pictures:
    """Folders of JPEG files within one that is temporary; each picture is made once."""

    def __init__(self, folder: Path):
        self.folder = folder

    def of(self, *, small: int, side: int, large: int = 0, megapixels: float = 0) -> Path:
        """A new folder, `pictures`, with so many small ones, and large ones that come after them.

        Args:
            small, large: how many.
            side: longer side of the small ones, pixels.
            megapixels: of the large ones.
        """
        folder = self.folder / "pictures"
        folder.mkdir()
        for number in range(small):
            picture = functools.partial(small_picture, number, side)
            self._link(folder / f"{number:06d}.jpg", f"{side}-{number}", picture)
        for number in range(large):
            picture = functools.partial(large_picture, number, megapixels)
            self._link(folder / f"large-{number}.jpg", f"{megapixels}-{number}", picture)
        return folder

    def _link(self, path: Path, name: str, picture: Callable[[], np.ndarray]) -> None:
        made = self.folder / f"{name}.jpg"
        if not made.exists():
            Image.fromarray(picture()).save(made, quality=90)
        os.link(made, path)
