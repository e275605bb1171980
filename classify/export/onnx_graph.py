"""A classifier as an ONNX graph, written node by node: no converter, no dependency but `onnx`.

In ONNX's order of axes: `image`, float32 (N, 3, 32, 32) in [0, 1], to `probabilities`, float32
(N, 10): softmax over the temperature of one view. A network with a threshold also gives `energy`,
float32 (N,): a picture whose energy is below the threshold is none of the ten. Labels, temperature
and threshold are in the file's metadata. N is free. Exact GELU, which ONNX has
as one operation from opset 20 on alone, is written as Div, Erf, Add and two Mul, which ONNX Runtime
puts together again.
"""

from __future__ import annotations

import json
import os

from atelier.export.onnx_graph import OnnxGraph
from classify.data import CLASSES, SIDE
from classify.export.folding import deployable, walker
from classify.networks import Network


def to_onnx(network: Network, path: str | os.PathLike, *, overwrite: bool = True) -> None:
    """Writes the network as an ONNX file, whole or not at all.

    Args:
        network: the strong one, of any shape, or the report's.
        path: where to.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: the package `onnx` is missing.
        OutputError: the file exists, or cannot be written.
    """
    graph, facts = _Graph(), network.facts(1)
    energy = facts["temperature"] if "threshold" in facts else None
    walker(deployable(network), energy)(graph, "image")
    graph.write(
        path,
        name="classify",
        description=f"Classifies RGB pictures / 255 as one of {', '.join(CLASSES)}.",
        input={"image": ("batch", 3, SIDE, SIDE)},
        output={
            "probabilities": ("batch", len(CLASSES)),
            **({} if energy is None else {"energy": ("batch",)}),
        },
        metadata={name: json.dumps(value) for name, value in facts.items()},
        overwrite=overwrite,
    )


class _Graph(OnnxGraph):
    """`classify.export.folding.Operations` that append nodes; a tensor is its name."""

    def __init__(self):
        super().__init__()
        self.flattened: dict[str, tuple[int, int, int]] = {}

    def convolve(self, x: str, kernel, bias, padding: str, name: str) -> str:
        sides = kernel.shape[:2]
        borders = [side // 2 if padding == "same" else 0 for side in sides]
        weights = self.constant(kernel.transpose(3, 2, 0, 1), f"{name}/kernel")
        inputs = [x, weights, self.constant(bias, f"{name}/bias")]
        return self.node("Conv", inputs, name, kernel_shape=list(sides), pads=borders * 2)

    def max_pool(self, x: str, name: str) -> str:
        return self.node("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    def global_max_pool(self, x: str, name: str) -> str:
        return self.node("Flatten", [self.node("GlobalMaxPool", [x], f"{name}/pixel")], name)

    def activate(self, x: str, kind: str, name: str) -> str:
        if kind == "relu":
            return self.node("Relu", [x], name)
        if kind == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x], f"{name}/sigmoid")], name)
        root, one, half = (
            self.constant(value, f"{name}/{label}")
            for value, label in ((2**0.5, "root"), (1, "one"), (0.5, "half"))
        )
        y = self.node("Erf", [self.node("Div", [x, root], f"{name}/scaled")], f"{name}/erf")
        y = self.node("Mul", [x, self.node("Add", [y, one], f"{name}/raised")], f"{name}/twice")
        return self.node("Mul", [y, half], name)

    def add(self, x: str, y: str, name: str) -> str:
        return self.node("Add", [x, y], name)

    def flatten(self, x: str, shape: tuple[int, int, int], name: str) -> str:
        self.flattened[name] = shape
        return self.node("Flatten", [x], name)

    def dense(self, x: str, kernel, bias, name: str) -> str:
        if x in self.flattened:  # Channels came last there, and come first here.
            rows = kernel.reshape(*self.flattened[x], -1)
            kernel = rows.transpose(2, 0, 1, 3).reshape(kernel.shape)
        weights = self.constant(kernel, f"{name}/kernel")
        return self.node("Gemm", [x, weights, self.constant(bias, f"{name}/bias")], name)

    def softmax(self, x: str, name: str) -> str:
        return self.node("Softmax", [x], name, axis=1)

    def energy(self, x: str, temperature: float, name: str) -> str:
        known = self.node("ReduceLogSumExp", [x], f"{name}/scaled", axes=[1], keepdims=0)
        return self.node("Mul", [known, self.constant(temperature, f"{name}/temperature")], name)
