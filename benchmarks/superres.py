"""Super-resolution's speed: `python -m benchmarks.superres`. All sides in one run, in turn.

Frames a second of luma, 960×540 to 1920×1080, of the embedded network `clean`: Keras' layers in
fixed point and in floats, the graph that `superres.upscale` runs (which equals the former bit for
bit), LiteRT, and PyTorch with the same weights where `--torch` names a Python that has it. Beside
each, its part of the arithmetic limit: the frames a second that the multiply-adds alone would take
at the rate that matrix multiplication reaches on the machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Run as a script, this file's folder comes first, and this file would pass for `superres`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import numpy as np
import tensorflow as tf

from atelier import cli
from atelier.export.runtimes import litert_function
from atelier.media.images import load_image, resize, sample
from atelier.training.runs import machine
from superres.color import RANGE
from superres.config import NetworkConfig
from superres.export.litert import to_litert
from superres.network.layers import interpolation_kernel
from superres.network.model import collapse
from superres.networks import Network, compiled, load_network
from superres.tiles import TiledNetwork


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure super-resolution's speed; prints a table, or with --json one JSON object."""

    height: int = 540
    """Of the LR frame."""
    width: int = 960
    """Of the LR frame."""
    repeats: int = 10
    """Frames timed on each side, in turn."""
    threads: int = 0
    """Threads a side; 0 for one a core."""
    torch: Path | None = None
    """A Python with PyTorch, to measure it too."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""


def multiplications(config: NetworkConfig, height: int, width: int) -> int:
    """Multiply-adds of a frame: each weight once a pixel."""
    return config.parameters * height * width


def matmul_rate(size: int = 1024, repeats: int = 10) -> float:
    """The machine's best float32 multiply-adds a second in matrix multiplication."""
    a = tf.random.normal((size, size))
    times = [_seconds(lambda: tf.linalg.matmul(a, a).numpy()) for _ in range(repeats + 1)]
    return size**3 / min(times[1:])


TORCH = """
import json, sys, time
import numpy as np, torch
import torch.nn.functional as F
spec = json.load(sys.stdin)
if spec["threads"]:
    torch.set_num_threads(spec["threads"])
arrays = np.load(spec["weights"])
kernels = {k: torch.tensor(arrays[k].transpose(3, 2, 0, 1).copy()) for k in arrays.files}
depthwise = {k: v.transpose(0, 1).contiguous() for k, v in kernels.items() if "depthwise" in k}
luma = torch.tensor(np.load(spec["luma"]))[None, None]

@torch.inference_mode()
def network(luma):
    x = F.relu(F.conv2d(luma, kernels["stem"], padding="same"))
    outputs = [x]
    for n in range(1, spec["blocks"] + 1):
        k = depthwise[f"depthwise_{n}"]
        x = F.conv2d(x, k, padding="same", groups=k.shape[0])
        x = F.conv2d(x, kernels[f"pointwise_{n}"])
        if n in spec["residuals"]:
            x = x + outputs[n - 2]
        if n < spec["blocks"]:
            x = F.relu(x)
        outputs.append(x)
    base = F.conv2d(luma, kernels["interpolation"], padding="same")
    return F.pixel_shuffle(x + base, spec["scale"])

def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

result = network(luma)
np.save(spec["result"], result[0, 0].numpy())
times = []
for memory in (torch.contiguous_format, torch.channels_last):
    x = luma.contiguous(memory_format=memory)
    network(x)
    times.append([seconds(lambda: network(x)) for _ in range(spec["repeats"])])
print(json.dumps(min(times, key=np.median)))
"""


def torch_seconds(python: Path, model, config: NetworkConfig, luma: np.ndarray, arguments):
    """Seconds a frame of PyTorch with the same weights, and its result; the faster memory format.

    Raises:
        subprocess.CalledProcessError: that Python has no PyTorch.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = {name: str(Path(folder) / f"{name}.npy") for name in ("luma", "result")}
        weights = str(Path(folder) / "weights.npz")
        kernels = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.weights}
        kernels["interpolation"] = np.float32(
            interpolation_kernel(config.scale, config.interpolation)
        )
        np.savez(weights, **kernels)
        np.save(names["luma"], luma)
        spec = {
            **names,
            "weights": weights,
            "threads": arguments.threads,
            "blocks": len(config.widths),
            "residuals": config.residuals,
            "scale": config.scale,
            "repeats": arguments.repeats,
        }
        done = subprocess.run(
            [python, "-c", TORCH],
            input=json.dumps(spec),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1]), np.load(names["result"])


def litert(kind: str, network, luma: np.ndarray, threads: int, folder: Path) -> Callable:
    """A function that runs a frame through an exported .tflite file and returns its result."""
    path = folder / f"{kind}.tflite"
    to_litert(network, path, kind, size=luma.shape)
    forward = litert_function(path, threads or os.cpu_count())

    def run() -> np.ndarray:
        return forward(luma[None, ..., None] / np.float32(RANGE))[0, ..., 0] * np.float32(RANGE)

    return run


def _seconds(run: Callable) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _check(result: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Raises if a side computes something else: all must give the same result."""
    error = float(np.max(np.abs(result - expected)))
    if error > 0.01:
        raise AssertionError(f"{name} differs by {error} levels")


def measure(arguments: BenchmarkArguments) -> dict[str, list[float]]:
    """Seconds of each frame by side, the sides in turn."""
    network = load_network("clean", 2)
    floats = Network(collapse(network.model, network.config), {**network.card, "formats": None})
    luma = resize(load_image(sample("astronaut.png")), (arguments.height, arguments.width))
    luma = np.ascontiguousarray(luma[..., 1])
    planes = luma.astype(np.float32)[None, ..., None]
    tiled = TiledNetwork(network)
    sides: dict[str, Callable] = {
        "Keras layers, fixed point": lambda: compiled(network.model)(planes / RANGE).numpy(),
        "Keras layers, floats": lambda: compiled(floats.model)(planes / RANGE).numpy(),
        "superres.upscale's graph, fixed point": lambda: tiled(luma),
    }
    expected = sides["Keras layers, floats"]()[0, ..., 0] * RANGE
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("float32", "int8"):
            side = litert(kind, floats, luma, arguments.threads, Path(folder))
            sides[f"LiteRT, {kind}"] = side
        # How near int8 comes, `superres.export.command` measures: it is not the same.
        _check(sides["LiteRT, float32"](), expected, "LiteRT")
        times = {name: [] for name in sides}
        for _ in range(arguments.repeats + 1):
            for name, side in sides.items():
                times[name].append(_seconds(side))
    if arguments.torch is not None:
        scaled = luma.astype(np.float32) / np.float32(RANGE)
        seconds, result = torch_seconds(
            arguments.torch, floats.model, network.config, scaled, arguments
        )
        _check(result * RANGE, expected, "PyTorch")
        times["PyTorch, floats"] = [0.0, *seconds]
    return {name: values[1:] for name, values in times.items()}


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.superres")
    if arguments.threads:
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    config = load_network("clean", 2).config
    work = multiplications(config, arguments.height, arguments.width)
    limit = matmul_rate() / work
    times = measure(arguments)
    rates = {name: 1 / statistics.median(values) for name, values in times.items()}
    record = {
        "machine": machine(),
        "frame": f"{arguments.width}×{arguments.height}",
        "multiply_adds": work,
        "limit": round(limit, 1),
        "frames_per_second": {name: round(rate, 2) for name, rate in rates.items()},
    }
    if arguments.json:
        cli.print_json(record)
        return cli.DONE
    print(f"{record['machine']}; {record['frame']}, {work / 1e9:.2f} billion multiply-adds a frame")
    print(f"arithmetic limit: {limit:.0f} frames a second\n")
    print("| | frames a second | of the limit |\n|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} | {rate / limit:.0%} |")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
