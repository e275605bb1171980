"""The precision of networks: float32, or bfloat16 where this machine computes faster in it.

A processor's flags do not tell which is faster: AVX-512 BF16 without AMX multiplies matrices in
bfloat16 at half of float32's rate on some machines and at twice that on others. So both are timed
once, on convolutions like those of the task, and the winner is kept in Keras' cache folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from atelier.errors import OutputError
from atelier.files import read_bounded, write_json
from atelier.nets.weights import models_folder

Precision = Literal["auto", "float32", "bfloat16"]
"""Of a network's arithmetic; weights stay float32. "auto" is what was measured to be faster."""

GAIN = 1.1
"""bfloat16 rounds more, and must be this many times as fast as float32 to be chosen."""

REPEATS = 5
"""Timed runs of each precision; the fastest counts, as others disturb only ever slow down."""

HOPELESS = 3.0
"""A precision that once takes so many times as long as another is not run again: where bfloat16 is
emulated, it takes a hundred times as long."""

MAX_CACHE_BYTES = 1 << 16
"""A larger cache file is measured anew."""


@dataclasses.dataclass(frozen=True)
class Work:
    """A stack of 3×3 convolutions with ReLU, forwards and backwards."""

    batch: int
    """Pictures."""
    side: int
    """Height and width of the first maps."""
    channels: int
    """Of the first maps."""
    blocks: tuple[tuple[int, ...], ...]
    """Widths of each block's convolutions; between blocks the sides are halved by max pooling."""
    weights: bool
    """Whether the gradient of the weights is computed too, or that of the pictures alone."""

    @property
    def small(self) -> Work:
        """The same of at most four pictures of at most 128×128."""
        return dataclasses.replace(self, batch=min(self.batch, 4), side=min(self.side, 128))


WORKS = {
    # Style transfer: the gradient of one picture through `vgg19-lite`. In smaller pictures than
    # these, what is saved is less than what the casts cost.
    "features": Work(1, 384, 3, ((16,) * 2, (32,) * 2, (64,) * 4, (96,) * 4), weights=False),
    # Training a classifier: the widest of the strong network's convolutions.
    "training": Work(16, 15, 64, ((256,), (256,)), weights=True),
}
"""What is timed, by the use of the precision."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The precision of a network, and why."""

    precision: Literal["float32", "bfloat16"]
    """Of its arithmetic."""
    reason: str
    """In a few words: as asked, or the times that were measured."""

    @property
    def policy(self) -> str:
        """The name of the Keras dtype policy: `mixed_bfloat16` or `float32`."""
        return "mixed_bfloat16" if self.precision == "bfloat16" else "float32"


def choose(precision: Precision, work: str = "features") -> Choice:
    """Returns the precision to compute in.

    "auto" takes what is faster here. That is measured in a fraction of a second, once a machine,
    version of TensorFlow and number of threads, and then read from `cache_file`.

    Args:
        precision: as a user asks for it.
        work: one of `WORKS`.
    """
    if precision != "auto":
        return Choice(precision, "as asked")
    times = measured(work, machine_key())
    if times is None:
        return Choice("float32", "bfloat16 cannot be computed here")
    fast = times["bfloat16"] * GAIN <= times["float32"]
    words = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in times.items())
    return Choice("bfloat16" if fast else "float32", f"measured here: {words}")


def dtype_policy(precision: Precision, work: str = "features") -> str:
    """Returns the name of the Keras dtype policy; see `choose`."""
    return choose(precision, work).policy


@functools.lru_cache(maxsize=16)
def measured(work: str, machine: str) -> Mapping[str, float] | None:
    """Returns the seconds of `work` by precision: from the cache file, or measured and kept there.

    Args:
        work: one of `WORKS`.
        machine: of `machine_key`.

    Returns:
        float32 and bfloat16; None where one of them cannot be computed.
    """
    key = cache_key(work, machine)
    known = _read_cache()
    if key in known:
        return known[key]
    try:
        times = probe(WORKS[work])
    except Exception:  # Whatever a device without bfloat16 raises.
        return None
    with contextlib.suppress(OutputError, OSError):  # Where nothing is kept, it is measured again.
        write_json(cache_file(), {**_read_cache(), key: times})
    return times


def cache_key(work: str, machine: str) -> str:
    """Returns the key of times in the cache: the work with its shapes, and the machine."""
    return f"{work} {dataclasses.astuple(WORKS[work])}: {machine}"


def cache_file() -> Path:
    """Returns the file of measured times: beside the folder of fetched weights."""
    return models_folder().with_name("atelier-precision.json")


def _read_cache() -> dict[str, dict[str, float]]:
    """The times that were kept, by work and machine; nothing if the file is missing or damaged."""
    try:
        found = json.loads(read_bounded(cache_file(), MAX_CACHE_BYTES))
        return {key: times for key, times in found.items() if _are_times(times)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _are_times(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"float32", "bfloat16"}
        and all(type(s) is float and math.isfinite(s) and s > 0 for s in value.values())
    )


@functools.lru_cache(maxsize=1)
def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_key() -> str:
    """Returns in a line what times depend on: processor or GPUs, TensorFlow, oneDNN, threads."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    settings = [
        f"{name} {os.environ.get(name, 'default')}"
        for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = tf.config.threading.get_intra_op_parallelism_threads() or cores
    parts = [*(gpus or [_processor()]), f"TensorFlow {tf.__version__}", *settings]
    return ", ".join([*parts, f"{threads} threads"])


def probe(work: Work) -> dict[str, float]:
    """Times `work` in both precisions, in turn; the small form of it first, and alone if bfloat16
    is hopeless there.

    Returns:
        Seconds of one pass forwards and backwards: of float32 and of bfloat16. Without a GPU they
        are those of the processor, on all threads, which other work on the machine hardly changes.
    """
    times = {}
    for stage, repeats in ((work.small, 1), (work, REPEATS)):
        passes = {precision: compiled(stage, precision) for precision in ("float32", "bfloat16")}
        times = fastest(passes, repeats, clock=_clock())
        if times["bfloat16"] > HOPELESS * times["float32"]:
            break
    return times


def _clock() -> Callable[[], float]:
    import tensorflow as tf

    return time.perf_counter if tf.config.list_physical_devices("GPU") else time.process_time


def fastest(
    passes: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Runs each of `passes` in turn, `repeats` times; returns the least seconds of each.

    One that takes `HOPELESS` times as long as another, after a first run to warm up, is left at
    that.
    """
    times = dict.fromkeys(passes, math.inf)
    for number in range(1 + repeats):
        for name, run in passes.items():
            if number > 1 and times[name] > HOPELESS * min(times.values()):
                continue
            start = clock()
            run()
            times[name] = min(times[name], clock() - start)
    return times


def compiled(work: Work, precision: Literal["float32", "bfloat16"]) -> Callable[[], object]:
    """Returns a function that does `work` once; weights are cast as Keras' mixed policy does it."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernels, channels = [], work.channels
    for width in (width for block in work.blocks for width in block):
        shape = (3, 3, channels, width)
        limit = (6 / (9 * channels)) ** 0.5
        kernels.append(tf.constant(rng.uniform(-limit, limit, shape), tf.float32))
        channels = width
    shape = (work.batch, work.side, work.side, work.channels)
    images = tf.constant(rng.normal(size=shape), tf.float32)

    @tf.function(autograph=False, jit_compile=False)
    def gradients(images, kernels):
        sources = [images, *kernels] if work.weights else [images]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            x, remaining = tf.cast(images, precision), iter(kernels)
            for number, block in enumerate(work.blocks):
                if number:
                    x = tf.nn.max_pool2d(x, 2, 2, "VALID")
                for _ in block:
                    x = tf.nn.relu(tf.nn.conv2d(x, tf.cast(next(remaining), precision), 1, "SAME"))
            loss = tf.reduce_sum(tf.square(tf.cast(x, tf.float32)))
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(loss, sources)]

    traced = gradients.get_concrete_function(images, kernels)
    return lambda: [float(value) for value in traced(images, *kernels)]
