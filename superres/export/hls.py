"""The fixed-point network as an HLS C++ project for FPGAs, through hls4ml (Duarte et al., 2018).

The project holds the core: from the 3×3 convolution to the last pointwise one, at a fixed size of
the picture. Luma / 256 streams in pixel by pixel, in `ap_fixed<9,1>` (the 8 bits of luma behind the
binary point); scale² numbers a pixel stream out, which are to be added to the interpolated luma
and taken apart by the pixel shuffle. Those two are wiring and a few adders, and hls4ml has neither.
Each convolution holds the rows that it still needs in line buffers, and has a multiplier for each
of its weights (hls4ml's "latency" strategy, reuse factor 1): a pixel a clock is the aim.

Its C++ puts out the integers of `superres.fixed_point.integer` bit for bit: accumulators are as
wide as any input can make them, and each output is rounded once (`AP_RND`, half up, and
`AP_SAT`), after residual and ReLU and before it forks. Of hls4ml 1.3 that takes two precautions:
ReLU must be an `Activation` layer, as it takes a `ReLU` layer for a threshold; and the FIFOs, which
by default each hold a whole picture, are given the depth that they need: a few pixels, and for the
one beside a residual block the rows that the block swallows before its first output. Depths are
right by calculation and in an emulation of bounded FIFOs, not by synthesis, of which this project
has none.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import io
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from atelier.errors import OutputError, SettingsError
from atelier.files import refuse_existing, write_json
from atelier.media.images import load_image, resize, sample
from superres.color import RANGE
from superres.fixed_point.integer import Codes, IntegerNetwork
from superres.fixed_point.rounding import FixedPoint
from superres.network import topology
from superres.networks import Network

SIZE = (540, 960)
"""Height and width for which a project is made unless told otherwise: qHD, a quarter of Full HD."""

NAME = "superres"
"""Of the top function, and of the project's files."""

# Buffers are static variables of templates, which must not be one with another project's.
COMPILER = ("g++", "-O1", "-w", "-fPIC", "-shared", "-fno-gnu-unique")

FIFO = 16
"""Pixels in a FIFO between two neighbours: what a LUT's shift register holds."""

SLACK = 256
"""Pixels that may lie in pipelines and FIFOs beside a residual's own FIFO."""


@dataclasses.dataclass(frozen=True)
class HlsProject:
    """A project on disk. `build_prj.tcl` is for Vitis HLS; `tb_data/` holds a picture's numbers and
    what must come out, which its C simulation reads."""

    folder: Path
    """Where it lies."""
    size: tuple[int, int]
    """Height and width of the LR picture."""
    channels: int
    """Numbers a pixel that come out: scale²."""
    output: FixedPoint
    """Their format."""

    def picture(self) -> np.ndarray:
        """The picture of `tb_data/`: uint8 of the project's size."""
        picture = load_image(sample("camera.png"))
        return np.ascontiguousarray(resize(picture, self.size)[..., 0])

    def emulate(self, frames: np.ndarray) -> Codes:
        """What the C++ puts out, compiled by g++, for frames that come one after another.

        Args:
            frames: uint8 (n, h, w), luma of the project's size.

        Returns:
            (n, h, w, scale²), of each frame as of `IntegerNetwork.core`.

        Raises:
            SettingsError: there is no g++, or it fails.
        """
        if frames.shape[1:] != self.size or frames.dtype != np.uint8:
            raise ValueError(
                f"frames are uint8 (n, *{self.size}), not {frames.dtype} {frames.shape}"
            )
        if shutil.which("g++") is None:
            raise SettingsError("g++ is missing, which the emulation compiles with: install it")
        source = np.ascontiguousarray(frames / np.float64(RANGE))
        result = np.empty((*frames.shape, self.channels), np.float64)
        with tempfile.TemporaryDirectory() as temporary:
            library = Path(temporary, "core.so")
            build = subprocess.run(
                [*COMPILER, f'-DWEIGHTS_DIR="{self.folder.resolve()}/firmware/weights"']
                + ["-I", "firmware/ap_types", f"firmware/{NAME}.cpp", f"{NAME}_bridge.cpp"]
                + ["-o", str(library)],
                cwd=self.folder,
                text=True,
                capture_output=True,
                check=False,
            )
            if build.returncode:
                reason = " ".join(build.stderr.split())[:160]
                raise SettingsError(f"g++ cannot compile {self.folder}: {reason}")
            function = getattr(ctypes.CDLL(str(library)), f"{NAME}_double")
        pointer = ctypes.POINTER(ctypes.c_double)
        for given, made in zip(source, result, strict=True):
            function(given.ctypes.data_as(pointer), made.ctypes.data_as(pointer))
        return Codes(self.output.encode(result), self.output.fraction)


def to_hls(
    network: Network,
    folder: str | os.PathLike,
    *,
    size: tuple[int, int] = SIZE,
    part: str | None = None,
    clock_period: float = 5.0,
    overwrite: bool = False,
) -> HlsProject:
    """Writes the network's core as an HLS project for Vitis, whole or not at all.

    Args:
        network: in fixed point.
        folder: where to.
        size: height and width of the LR pictures.
        part: the FPGA; None for hls4ml's default.
        clock_period: in nanoseconds.
        overwrite: whether an existing folder may be replaced.

    Raises:
        SettingsError: hls4ml is missing, or the network is of floats or not our own.
        OutputError: the folder exists, or cannot be written.
    """
    integers = IntegerNetwork.of(network)
    folder = Path(folder)
    output = integers.formats[f"pointwise_{len(integers.config.widths)}"]
    if min(size) < 1:
        raise SettingsError(f"the size must be positive, not {size}")
    project = HlsProject(folder, size, integers.config.scale**2, output)
    with _quiet(), _new_folder(folder, overwrite) as temporary:
        graph = _convert(integers, size, temporary, part, clock_period)
        _set_depths(graph, integers, size[1])
        graph.write()
        luma = project.picture()
        _write_test_data(temporary / "tb_data", luma / RANGE, integers.core(luma).real)
        settings = temporary / "hls4ml_config.yml"
        settings.write_text(settings.read_text().replace(str(temporary), folder.name))
        write_json(temporary / "interface.json", _interface(integers, size, output))
    return project


def _write_test_data(folder: Path, given: np.ndarray, expected: np.ndarray) -> None:
    """A picture and what must come out, as the C++ test bench reads them."""
    folder.mkdir(exist_ok=True)
    for name, values in (("input_features", given), ("output_predictions", expected)):
        line = " ".join(map(repr, values.ravel().tolist()))
        (folder / f"tb_{name}.dat").write_text(f"{line}\n", encoding="ascii")


def _interface(integers: IntegerNetwork, size: tuple[int, int], output: FixedPoint) -> dict:
    formats = {"input": integers.formats["input"], "output": output}
    return {
        "size": size,
        **{name: dataclasses.asdict(format) for name, format in formats.items()},
        "scale": integers.config.scale,
        "interpolation": integers.config.interpolation,
        "interpolation_format": dataclasses.asdict(integers.formats["interpolation"]),
    }


@dataclasses.dataclass
class _Layers:
    """`topology.Operations` that make a Keras model and hls4ml's precisions for it.

    A tensor is a Keras tensor and the layer that puts it out.
    """

    integers: IntegerNetwork
    precisions: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    def convolve(self, x, name):
        kernel = np.float32(self.integers.kernels[name].real)
        options = {"padding": "same", "use_bias": False, "name": name}
        if topology.is_depthwise(name):
            layer = keras.layers.DepthwiseConv2D(kernel.shape[:2], **options)
        else:
            layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], **options)
        result = layer(x[0])
        layer.set_weights([kernel])
        bits, fraction = self.integers.accumulator(name)
        exact = f"fixed<{bits},{bits - fraction}>"
        weights = _fixed(self.integers.formats[f"{name}/kernel"])
        self.precisions[name] = {"weight": weights, "accum": exact, "result": exact}
        return result, name

    def relu(self, x, name):
        return self._exact(keras.layers.Activation("relu", name=f"{name}_relu"), x[0], x)

    def add(self, x, y, name):
        return self._exact(keras.layers.Add(name=name), [x[0], y[0]], x)

    def round(self, x, name):
        tensor, layer = x
        self.precisions.setdefault(layer, {})["result"] = _fixed(self.integers.formats[name])
        return tensor, layer

    def _exact(self, layer, inputs, x):
        """A layer whose output needs no more than the convolution's accumulator."""
        self.precisions[layer.name] = {"result": self.precisions[x[1]]["result"]}
        return layer(inputs), layer.name


def _fixed(format: FixedPoint) -> str:
    return f"fixed<{format.bits},{format.integer},RND,SAT>"


def _convert(integers: IntegerNetwork, size, folder: Path, part, clock_period):
    """hls4ml's graph of the core."""
    try:
        import hls4ml
    except ImportError:
        raise SettingsError("hls4ml is missing: pip install 'atelier-vision[hls]'") from None
    layers = _Layers(integers)
    luma = keras.Input((*size, 1), name="luma")
    x = layers.round((luma, "luma"), "input")
    result, _ = topology.core(integers.config, layers, x)
    settings = {
        "Model": {"Precision": "fixed<32,16>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {name: {"Precision": types} for name, types in layers.precisions.items()},
    }
    return hls4ml.converters.convert_from_keras_model(
        keras.Model(luma, result),
        hls_config=settings,
        output_dir=str(folder),
        project_name=NAME,
        backend="Vitis",
        io_type="io_stream",
        part=part,
        clock_period=clock_period,
    )


def _set_depths(graph, integers: IntegerNetwork, width: int) -> None:
    """Makes FIFOs hold what they must instead of a whole picture."""
    for variable in graph.output_vars.values():
        if variable.pragma:
            variable.pragma = ("stream", FIFO)
    for number in integers.config.residuals:
        # A convolution's first output waits for half its kernel: rows of pixels, and some more.
        kernels = [integers.kernels[f"depthwise_{n}"].values for n in (number - 1, number)]
        held = sum(k.shape[0] // 2 * width + k.shape[1] // 2 for k in kernels)
        joined = graph.graph[f"residual_{number}"]
        variable = joined.get_input_variable(joined.inputs[1])
        variable.pragma = ("stream", held + SLACK)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences hls4ml."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `target`, which becomes `target` when the block ends well."""
    refuse_existing(target, overwrite)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file, not a folder to write")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        new = temporary / "new"
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, temporary / "old")
        os.replace(new, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
