"""How preset `report` differs from the report's program as it ran in 2021.

`python -m benchmarks.report_2021 --python PYTHON3.8` draws all pictures of scikit-image with
`benchmarks/plain_cartoon.py` in environments of its own, in a temporary folder: Python 3.8 with
OpenCV 4.5.1 and SciPy 1.6.3, as in 2021, with each of the instruction sets that Intel's IPP has in
it, and without IPP, which is how it is on ARM; and this Python with later releases of OpenCV. It
counts the pixels in which each differs from preset `report`, and prints a table. With --out, it
writes hashes of the drawings that are equal, which a test compares with (`tests/cartoon/`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and `cartoon.py` there would pass for `cartoon`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import numpy as np
import skimage

from atelier import cli
from atelier.files import atomic_path
from atelier.media.images import READABLE, load_image
from atelier.training.runs import machine
from benchmarks import plain_cartoon
from cartoon import cartoonize

OF_2021 = ("opencv-python-headless==4.5.1.48", "scipy==1.6.3", "numpy==1.22.4")

INSTRUCTIONS = {"AVX2": "avx2", "AVX-512": "avx512", "SSE4.2": "sse42", "no IPP": "disabled"}
"""What OpenCV's environment variable OPENCV_IPP lets IPP use, or its absence."""


@dataclasses.dataclass(frozen=True)
class ReportArguments:
    """Compare preset `report` with the report's program of 2021; needs a network for packages."""

    python: str = "python3.8"
    """The Python of 2021: its name or path."""
    later: tuple[str, ...] = ("4.11.0.86", "4.14.0.94", "5.0.0.93")
    """Later releases of opencv-python-headless, for the Python that runs this."""
    out: Path | None = None
    """A JSON file for the hashes of the drawings that equal those of 2021 with AVX2."""


def pictures_of_skimage() -> dict[str, np.ndarray]:
    """All that `atelier.media.images` reads, by name: uint8 (H, W, 3)."""
    files = sorted((Path(skimage.__file__).parent / "data").iterdir())
    # One of them is a format of its own, which Pillow does not read.
    names = [file for file in files if file.suffix.lower() in READABLE]
    return {file.name: load_image(file) for file in names if file.name != "multipage_rgb.tif"}


def environment(python: str, packages: Sequence[str], folder: Path) -> Path:
    """Makes a virtual environment with some packages; returns its Python."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    found = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    quiet = ["-q", "--disable-pip-version-check"]
    subprocess.run([found, "-m", "pip", "install", *quiet, *packages], check=True)
    return found


def draw_plainly(python: Path, pictures: Path, instructions: str | None = None) -> Mapping:
    """Returns what `plain_cartoon` draws in an environment, by name: uint8 (H, W, 3)."""
    drawings = pictures.with_name("drawings.npz")
    settings = os.environ | ({} if instructions is None else {"OPENCV_IPP": instructions})
    script = Path(plain_cartoon.__file__)
    subprocess.run([python, script, pictures, drawings], check=True, env=settings)
    with np.load(drawings) as found:
        return dict(found)


def draw_all(arguments: ReportArguments, pictures: Mapping[str, np.ndarray]) -> dict[str, Mapping]:
    """Returns the drawings of each side."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.savez(folder / "pictures.npz", **pictures)
        python = environment(arguments.python, OF_2021, folder / "2021")
        sides = {
            f"2021, {name}": draw_plainly(python, folder / "pictures.npz", instructions)
            for name, instructions in INSTRUCTIONS.items()
        }
        for release in arguments.later:
            packages = f"opencv-python-headless=={release}", "scipy", "numpy"
            python = environment(sys.executable, packages, folder / release)
            sides[f"OpenCV {release}"] = draw_plainly(python, folder / "pictures.npz")
    return sides


def different(one: np.ndarray, other: np.ndarray | None) -> int | str:
    """Counts the pixels in which drawings differ; "endless" if there is no other."""
    return "endless" if other is None else int((one != other).any(axis=-1).sum())


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(ReportArguments, argv, prog="python -m benchmarks.report_2021")
    pictures = pictures_of_skimage()
    sides = draw_all(arguments, pictures)
    drawn = {name: cartoonize(picture, "report").image for name, picture in pictures.items()}
    print(
        f"{machine()}\n\n| picture | pixels | {' | '.join(sides)} |\n|{'---|' * (len(sides) + 2)}"
    )
    for name, own in drawn.items():
        counts = [different(own, side.get(name)) for side in sides.values()]
        print(f"| {name} | {own.shape[0] * own.shape[1]} | {' | '.join(map(str, counts))} |")
    if arguments.out:
        of_2021 = sides["2021, AVX2"]
        equal = {
            name: {"picture": digest(pictures[name]), "drawing": digest(of_2021[name])}
            for name, own in drawn.items()
            if different(own, of_2021.get(name)) == 0
        }
        with atomic_path(arguments.out, overwrite=True) as path:
            path.write_text(json.dumps(equal, indent=1) + "\n")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
