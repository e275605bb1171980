"""Style transfer's speed: `python -m benchmarks.nst`. Both sides of each ratio in one process.

(a) milliseconds a step: the report's program, run eagerly as printed, against this package, on
    VGG19 at 256 × 256 (random weights: speed does not depend on them);
(b) seconds to the loss that the report's settings reach after 1,000 steps, same features;
(c) the fraction of the machine's measured matrix-multiply rate that a step of (a) reaches;
(d) seconds of bookkeeping a step: this package's L-BFGS against SciPy's L-BFGS-B.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable

# Run as a script, this file's folder comes first, and this file would pass for the package `nst`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf

from atelier import cli
from atelier.media.images import load_image, resize, sample
from atelier.nets.features import load_features
from atelier.nets.vgg import CAFFE_MEAN, VGG, preprocess
from atelier.training.runs import machine
from nst.config import REPORT
from nst.descent import lbfgs
from nst.descent.objective import Objective
from nst.descent.optimizers import descend
from nst.evaluate import evaluate
from nst.styles import open_style
from nst.transfer import stylize


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure style transfer's speed; prints a table and, with --json, one JSON object."""

    size: int = 256
    """Side of the square pictures, pixels."""
    steps: int = 1000
    """Steps of the report's program in (b)."""
    repeats: int = 5
    """Steps timed in (a), on each side in turn."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""


class ReportProgram:
    """The report's loop, section 3, as it is printed: eager, everything in every step.

    Args:
        outputs: gives the style layers' features, then the content layers'.
        content, style: (1, H, W, 3), preprocessed.
    """

    def __init__(self, outputs: Callable, content: np.ndarray, style: np.ndarray):
        self.model = outputs
        self.styles = [self.gram_matrix(features[0]) for features in outputs(style)[:5]]
        self.contents = [features[0] for features in outputs(content)[5:]]
        self.image = tf.Variable(content)
        self.optimizer = tf.compat.v1.train.AdamOptimizer(2, beta1=0.99, epsilon=1e-1)
        self.low = -np.array(CAFFE_MEAN)
        self.high = 255 + self.low
        self.best_loss, self.best_image, self.images = float("inf"), None, []

    @staticmethod
    def gram_matrix(features):
        flat = tf.reshape(features, [-1, int(features.shape[-1])])
        return tf.matmul(flat, flat, transpose_a=True) / tf.cast(tf.shape(flat)[0], tf.float32)

    def loss(self):
        outputs = self.model(self.image)
        style = content = 0
        for target, features in zip(self.styles, outputs[:5], strict=True):
            error = tf.square(self.gram_matrix(features[0]) - target)
            style += 1.0 / len(self.styles) * tf.reduce_mean(error)
        for target, features in zip(self.contents, outputs[5:], strict=True):
            content += tf.reduce_mean(tf.square(features[0] - target))
        return style * 1e-2 + content * 1e3

    def step(self) -> float:
        with tf.GradientTape() as tape:
            loss = self.loss()
            gradient = tape.gradient(loss, self.image)
            self.optimizer.apply_gradients([(gradient, self.image)])
            self.image.assign(tf.clip_by_value(self.image, self.low, self.high))
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_image = self.deprocess(self.image.numpy())
        self.images.append(self.deprocess(self.image.numpy()))
        return float(loss)

    @staticmethod
    def deprocess(processed):
        x = np.squeeze(processed.copy(), 0)
        for channel, mean in enumerate(CAFFE_MEAN):
            x[:, :, channel] += mean
        return np.clip(x[:, :, ::-1], 0, 255).astype("uint8")


def keras_vgg19() -> keras.Model:
    """The report's model: Keras' own VGG19, cut after its layers, here with random weights."""
    network = keras.applications.VGG19(include_top=False, weights=None)
    network.trainable = False
    names = [*REPORT.style_layers, *REPORT.content_layers]
    return keras.Model(network.input, [network.get_layer(name).output for name in names])


def seconds_each(works: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each piece of work, taken in turns so that noise hits all alike."""
    for work in works.values():
        work()
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def multiply_rate(dtype: str, side: int = 2048, repeats: int = 8) -> float:
    """Floating-point operations a second of a matrix product of this type."""
    matrix = tf.cast(tf.random.uniform((side, side)), dtype)
    multiply = tf.function(lambda a: tf.matmul(a, a))
    seconds = seconds_each({"multiply": lambda: multiply(matrix).numpy()}, repeats)["multiply"]
    return 2 * side**3 / seconds


def operations(network: VGG, names: list[str], size: int) -> float:
    """Floating-point operations of the convolutions of a step: forward, and back to the image."""
    total = 0
    for layer in network.features(names).layers:
        if isinstance(layer, keras.layers.Conv2D):
            block = int(layer.name.removeprefix("block")[0])
            total += 2 * int(np.prod(layer.kernel.shape)) * (size // 2 ** (block - 1)) ** 2
    return 2 * total


def step_time(content, style, arguments) -> dict[str, float]:
    """(a) and (c)."""
    report = ReportProgram(keras_vgg19(), content, style)
    works = {"report": report.step}
    for precision, dtype in (("float32", None), ("bfloat16", "mixed_bfloat16")):
        network = VGG(dtype=dtype)
        network.trainable = False
        objective = Objective(network, REPORT)
        targets = objective.targets(content, [style], [1.0])
        config = dataclasses.replace(REPORT, precision=precision)
        low, high = preprocess(np.zeros(3)), preprocess(np.full(3, 255))

        def function(image, objective=objective, targets=targets):
            loss, gradient = objective.value_and_gradient(image, targets)
            return loss.total, gradient

        descent = descend(config, function, content, low, high)
        works[precision] = lambda descent=descent: next(descent)
    seconds = seconds_each(works, arguments.repeats)
    work = operations(VGG(), [*REPORT.style_layers, *REPORT.content_layers], arguments.size)
    rates = {"float32": multiply_rate("float32"), "bfloat16": multiply_rate("bfloat16")}
    return {
        "report_ms": seconds["report"] * 1e3,
        "ours_float32_ms": seconds["float32"] * 1e3,
        "ours_bfloat16_ms": seconds["bfloat16"] * 1e3,
        "step_ratio_float32": seconds["report"] / seconds["float32"],
        "step_ratio_bfloat16": seconds["report"] / seconds["bfloat16"],
        "matmul_gflops_float32": rates["float32"] / 1e9,
        "matmul_gflops_bfloat16": rates["bfloat16"] / 1e9,
        "fraction_float32": work / seconds["float32"] / rates["float32"],
        "fraction_bfloat16": work / seconds["bfloat16"] / rates["bfloat16"],
    }


def time_to_loss(content_image, style_image, content, style, arguments) -> dict[str, float]:
    """(b), on the embedded features."""
    network = load_features("vgg19-lite")
    names = [*REPORT.style_layers, *REPORT.content_layers]
    report = ReportProgram(network.features(names), content, style)
    start = time.perf_counter()
    reached = min(report.step() for _ in range(arguments.steps))
    report_seconds = time.perf_counter() - start

    # The same loss, by this package's way: compiled, L-BFGS, bfloat16 where the machine has it.
    # The loss that counts is that of the 8-bit picture in float32, hence the little margin.
    config = dataclasses.replace(
        REPORT,
        features="vgg19-lite",
        size=arguments.size,
        optimizer="lbfgs",
        precision="auto",
        iterations=arguments.steps,
    )
    result = stylize(
        content_image,
        style_image,
        config,
        on_step=lambda step: step.metrics["loss"] <= 0.99 * reached,
    )
    checked = evaluate(result.image, content_image, style_image, config).total
    return {
        "report_loss": reached,
        "report_seconds": report_seconds,
        "ours_loss": checked,
        "ours_seconds": result.seconds,
        "ours_steps": len(result.history),
        "time_ratio": report_seconds / result.seconds,
    }


def bookkeeping(content, arguments) -> dict[str, float]:
    """(d): 60 steps on a cheap function of as many variables as the image has."""
    target = np.random.default_rng(0).uniform(-100, 100, content.size).astype(np.float32)
    curvature = np.linspace(1, 100, content.size, dtype=np.float32)
    steps = 60

    def function(x):
        difference = x.ravel() - target
        slope = curvature * difference
        return float(slope @ difference) / 2, slope.astype(np.float32).reshape(x.shape)

    start = time.perf_counter()
    for _ in itertools.islice(lbfgs.minimize(function, content, low=-124, high=152), steps):
        pass
    ours = time.perf_counter() - start
    start = time.perf_counter()
    scipy.optimize.minimize(
        lambda x: (lambda v, g: (v, g.astype(np.float64)))(*function(np.float32(x))),
        content.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(-124, 152),
        options={"maxiter": steps, "maxcor": 8, "ftol": 0, "gtol": 0},
    )
    theirs = time.perf_counter() - start
    return {
        "lbfgs_ms": ours / steps * 1e3,
        "scipy_ms": theirs / steps * 1e3,
        "bookkeeping_ratio": theirs / ours,
    }


@cli.command
def main(argv) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.nst")
    shape = (arguments.size, arguments.size)
    content_image = resize(load_image(sample("astronaut.png")), shape)
    style_image = resize(open_style("impasto"), shape)
    content, style = preprocess(content_image)[None], preprocess(style_image)[None]
    numbers = step_time(content, style, arguments)
    numbers |= bookkeeping(content, arguments)
    numbers |= time_to_loss(content_image, style_image, content, style, arguments)
    if arguments.json:
        cli.print_json({"machine": machine(), "size": arguments.size, **numbers})
        return cli.DONE
    print(machine())
    for name, value in numbers.items():
        print(f"{name:>24}  {value:,.4g}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
