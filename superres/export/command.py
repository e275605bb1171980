"""Networks for other runtimes: `python -m superres.export clean-x2 --format onnx --out FOLDER`.

Each file is run on a picture that its making did not see, and compared with the Keras network; an
HLS project is emulated, and must put out the very integers of `superres.fixed_point.integer`.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
import tyro

from atelier import cli
from atelier.cli.failures import for_each
from atelier.errors import OutputError, SettingsError, require_extras
from atelier.export.runtimes import exported_path, litert_function, open_onnx
from atelier.files import refuse_existing
from atelier.media.images import load_image, resize, sample
from superres.color import RANGE
from superres.export.hls import SIZE, to_hls
from superres.export.litert import to_litert
from superres.export.onnx_graph import to_onnx
from superres.fixed_point.integer import IntegerNetwork
from superres.metrics import psnr
from superres.networks import Network, compiled, load_stored
from superres.training import data, degradation

__all__ = ["Fidelity", "compare", "main", "run_file", "to_hls", "to_litert", "to_onnx"]

HELD_OUT = "camera.png"
"""The picture of scikit-image's on which exported networks are compared."""

SMALLEST = 8
"""LR pixels a side of the smallest picture on which that makes sense."""


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How near an exported network is to the Keras one."""

    exact: bool
    """Whether each number that they put out is the same."""
    agreement: float
    """PSNR between what the two put out, dB; infinite if it is the same."""
    psnr: float
    """Of the exported network, dB: what it makes of a shrunk picture against the picture."""
    psnr_keras: float
    """Of the Keras network."""


def run_file(path: Path, luma: np.ndarray) -> np.ndarray:
    """What an exported file makes of luma, as a program without this package would run it.

    Args:
        path: a .tflite or .onnx file.
        luma: uint8 (h, w).

    Returns:
        float32 (scale·h, scale·w), about [0, 255], neither rounded nor clipped.

    Raises:
        SettingsError: its runtime is missing.
    """
    source = luma[None, ..., None] / np.float32(RANGE)
    if path.suffix == ".onnx":
        (result,) = open_onnx(path).run(None, {"luma": source.transpose(0, 3, 1, 2)})
        return result[0, 0] * np.float32(RANGE)
    return litert_function(path)(source)[0, ..., 0] * np.float32(RANGE)


def compare(network: Network, path: Path, size: tuple[int, int] | None = None) -> Fidelity:
    """Measures an exported file on a picture that comes with scikit-image.

    Args:
        network: what was exported.
        path: the file.
        size: height and width of the LR picture, if the file takes no other.

    Raises:
        SettingsError: the file's runtime is missing.
    """
    scale = network.scale
    lr, hr = _held_out(scale, size)
    ours = run_file(path, lr)
    keras = compiled(network.model)(lr[None, ..., None] / np.float32(RANGE)).numpy()[0, ..., 0]
    keras *= np.float32(RANGE)
    error = float(np.mean(np.square(ours - keras, dtype=np.float64)))
    return Fidelity(
        exact=bool(np.array_equal(ours, keras)),
        agreement=10 * math.log10(255**2 / error) if error else math.inf,
        psnr=psnr(ours, hr, scale),
        psnr_keras=psnr(keras, hr, scale),
    )


def _held_out(scale: int, size: tuple[int, int] | None) -> data.Pair:
    picture = load_image(sample(HELD_OUT))
    if size is not None:
        picture = resize(picture, (size[0] * scale, size[1] * scale))
    height, width = (side // scale * scale for side in picture.shape[:2])
    hr = picture[:height, :width, :1]
    shrink = degradation.bicubic_model(scale)
    lr = shrink(tf.cast(hr, tf.float32), tf.zeros(2, tf.int32)).numpy()
    return data.luma_8_bit(lr), hr[..., 0]


# === The command ===

Format = Literal["litert-float32", "litert-float16", "litert-int8", "onnx", "hls"]


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Write a trained network for LiteRT, ONNX or an FPGA, and measure what was written.

    Files take and give luma (BT.601, 16 to 235) divided by 256, as float32; colour and the border
    are left to whoever runs them.
    """

    network: tyro.conf.Positional[str] = "clean-x2"
    """An embedded network, or a run folder."""
    format: tuple[Format, ...] = ("litert-float16", "litert-int8")
    """Which forms to write. `onnx` takes the packages of the extra `export`, `hls` those of the
    extra `hls`, g++, and a network in fixed point."""
    out: Path = Path("out/superres")
    """The folder to write to."""
    size: tuple[int, int] | None = None
    """Height and width of LR pictures: any, for LiteRT, unless given; 540 960 for HLS. ONNX takes
    any."""
    part: str | None = None
    """The FPGA that an HLS project is for; hls4ml's default unless given."""
    clock_period: float = 5.0
    """Of an HLS project, in nanoseconds."""
    check: bool = True
    """Compare what was written with the Keras network. Of HLS that compiles the C++ and emulates
    it, a minute or two at 540 960."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""

    def __post_init__(self):
        if not self.format:
            raise SettingsError("--format needs at least one form to write")
        if self.size is not None and min(self.size) < SMALLEST:
            raise SettingsError(f"--size must be at least {SMALLEST} {SMALLEST}, not {self.size}")
        if not 0 < self.clock_period < math.inf:
            raise SettingsError(f"--clock-period must be positive, not {self.clock_period}")


def export(network: Network, format: Format, path: Path, arguments: ExportArguments) -> dict:
    """Writes one form of a network and checks it; returns what was measured.

    Raises:
        SettingsError: the form cannot be made of this network, or a package is missing.
        OutputError: the target exists or cannot be written, or does not compute what it should.
    """
    refuse_existing(path, arguments.overwrite)
    overwrite, measured = arguments.overwrite, {}
    if format == "hls":
        size = arguments.size or SIZE
        project = to_hls(
            network,
            path,
            size=size,
            part=arguments.part,
            clock_period=arguments.clock_period,
            overwrite=overwrite,
        )
        if arguments.check:
            luma = project.picture()
            expected = IntegerNetwork.of(network).core(luma)
            if not np.array_equal(project.emulate(luma[None]).values[0], expected.values):
                raise OutputError(f"{path} does not compute what the network does; report this")
            measured = {"exact": True}
    else:
        if format == "onnx":
            to_onnx(network, path, overwrite=overwrite)
        else:
            kind = format.removeprefix("litert-")
            to_litert(network, path, kind, size=arguments.size, overwrite=overwrite)
        measured["bytes"] = path.stat().st_size
        if arguments.check:
            size = None if format == "onnx" else arguments.size
            measured |= dataclasses.asdict(compare(network, path, size))
    return measured


def _report(record: dict, arguments: ExportArguments) -> None:
    numbers = {k: round(v, 3) if isinstance(v, float) else v for k, v in record.items()}
    if numbers.get("agreement") == math.inf:
        numbers["agreement"] = None  # JSON has no infinity.
    if arguments.json:
        cli.print_json(numbers)
    text = str(record["output"])
    if "psnr" in record:
        text += f": {record['psnr']:.3f} dB on {HELD_OUT}, Keras {record['psnr_keras']:.3f}"
        text += ", equal" if record["exact"] else f", {record['agreement']:.1f} dB apart"
    elif record.get("exact"):
        text += ": emulated, equal to the last bit"
    cli.print_note(text)


def _require(arguments: ExportArguments) -> None:
    """Ends the command before its work if something is missing for some of it."""
    needed = {"onnx": [("onnx", "export")], "hls": [("hls4ml", "hls")]}
    if arguments.check:
        needed["onnx"].append(("onnxruntime", "export"))
    require_extras(package for format in arguments.format for package in needed.get(format, ()))
    if "hls" in arguments.format and arguments.check and shutil.which("g++") is None:
        raise SettingsError("g++ is missing, which checks HLS: install it, or pass --no-check")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(ExportArguments, argv, prog="python -m superres.export")
    _require(arguments)
    folder = Path(arguments.network)
    network = Network.load(folder) if folder.is_dir() else load_stored(arguments.network)
    if "hls" in arguments.format:
        IntegerNetwork.of(network)  # Of floats there is none: better said before the work.

    def work(format: Format) -> None:
        path = exported_path(arguments.out, arguments.network, format)
        if format == "hls":
            path = arguments.out / f"{folder.resolve().name}-hls"  # A folder.
        measured = export(network, format, path, arguments)
        _report(
            {"network": arguments.network, "format": format, "output": path, **measured}, arguments
        )

    formats = dict.fromkeys(arguments.format)
    todo = ((format, lambda format=format: work(format)) for format in formats)
    return for_each(todo, out=arguments.out)
