"""Draws the project's paintings: `python -m tools.paintings --out FOLDER`."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atelier import cli
from atelier.cli.failures import for_each
from atelier.errors import SettingsError
from atelier.files import atomic_path
from tools.paintings import PAINTINGS, paint


@dataclasses.dataclass(frozen=True)
class PaintArguments:
    """Draw original paintings and write each as NAME.png."""

    out: Path = Path("out/paintings")
    """Folder for the PNG files."""
    names: tuple[str, ...] = tuple(PAINTINGS)
    """Which paintings to draw."""
    size: int = 640
    """Pixels on the longer side, at least 64."""
    seed: int = 0
    """Seed of all that is random."""
    overwrite: bool = False
    """Replace existing files."""


def encode_png(picture: NDArray[np.uint8], limit: int = 300_000) -> bytes:
    """PNG of a uint8 (H, W, 3) RGB picture in at most `limit` bytes, as true as that allows.

    Tries RGB with 6 or 5 bits a channel (steps the paint's own texture hides) and palettes of
    256 colours and fewer, and keeps the one with the least squared error that fits; the
    smallest one if none does.  No dithering: its dots would read as texture in style transfer.
    """
    image = Image.fromarray(picture)
    found = []
    for colours in (None, None, 256, 192, 128, 64):
        if colours is None:
            step = 4 << len(found)
            rounded = (picture.astype(np.int32) + step // 2) // step * step
            candidate = Image.fromarray(rounded.clip(0, 255).astype(np.uint8))
        else:
            palette = image.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=2)
            candidate = image.quantize(palette=palette, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        candidate.save(buffer, "PNG", optimize=True)
        error = np.square(np.asarray(candidate.convert("RGB"), np.float32) - picture).mean()
        found.append((float(error), buffer.getvalue()))
        # A smaller palette is never truer than a larger one that fits.
        if colours is not None and len(found[-1][1]) <= limit:
            break
    fitting = [entry for entry in found if len(entry[1]) <= limit]
    if not fitting:
        return min((data for _, data in found), key=len)
    return min(fitting, key=lambda entry: entry[0])[1]


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(PaintArguments, argv, prog="python -m tools.paintings")
    # One thread: the filters are small, and other work may share the machine.
    cv2.setNumThreads(1)

    def draw(name: str) -> None:
        try:
            picture = paint(name, arguments.size, arguments.seed)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        path = arguments.out / f"{name}.png"
        with atomic_path(path, overwrite=arguments.overwrite) as temporary:
            temporary.write_bytes(encode_png(picture))
        cli.print_note(f"{path}: {picture.shape[1]}×{picture.shape[0]}")

    return for_each((name, lambda name=name: draw(name)) for name in arguments.names)


if __name__ == "__main__":
    sys.exit(main())
