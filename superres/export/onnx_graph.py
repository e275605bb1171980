"""Our network as an ONNX graph, written node by node: no converter, no dependency but `onnx`.

In ONNX's order of axes: `luma`, float32 (N, 1, H, W), LR luma / 256, to `upscaled`, float32
(N, 1, scale·H, scale·W), HR luma / 256, not clipped. N, H and W are free. The graph is Conv, Relu,
Add and one DepthToSpace; a network in fixed point also has Mul, Add, Floor, Clip and Mul for each
rounding, and puts out what Keras does: in every bit, as long as float32 holds the sums exactly
(see `superres.fixed_point.integer`).
"""

from __future__ import annotations

import os

import numpy as np

from atelier.export.onnx_graph import OnnxGraph
from superres.network import topology
from superres.network.layers import interpolation_kernel
from superres.networks import Network


def to_onnx(network: Network, path: str | os.PathLike, *, overwrite: bool = True) -> None:
    """Writes the network as an ONNX file, whole or not at all.

    Args:
        network: of floats or in fixed point.
        path: where to.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: the package `onnx` is missing, or the network is not our own.
        OutputError: the file exists, or cannot be written.
    """
    graph, config = _Graph(network), network.config
    x = topology.whole(config, graph, "luma")
    # With one channel in the end, DepthToSpace's two modes are one; its order is PixelShuffle's.
    graph.node("DepthToSpace", [x], "upscaled", blocksize=config.scale)
    sides = [("batch", 1, f"{n}height", f"{n}width") for n in ("", f"{config.scale}*")]
    graph.write(
        path,
        name="superres",
        description=f"Upscales luma / 256 (BT.601, 16 to 235) by {config.scale}.",
        input={"luma": sides[0]},
        output={"upscaled": sides[1]},
        overwrite=overwrite,
    )


class _Graph(OnnxGraph):
    """`superres.network.topology.Operations` that append nodes; a tensor is its name."""

    def __init__(self, network: Network):
        super().__init__()
        self.config, self.formats = network.config, network.formats
        self.kernels = topology.kernels(network)

    def convolve(self, x: str, name: str) -> str:
        depthwise = topology.is_depthwise(name)
        # Keras' depthwise kernels are (kh, kw, C, 1): one input channel for each of C filters.
        kernel = self.kernels[name].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        return self._conv(x, name, kernel, group=len(kernel) if depthwise else 1)

    def interpolate(self, x: str) -> str:
        kernel = interpolation_kernel(self.config.scale, self.config.interpolation)
        if self.config.interpolation == "nearest":
            kernel = kernel[2:3, 2:3]
        return self._conv(x, "interpolation", kernel.transpose(3, 2, 0, 1), group=1)

    def relu(self, x: str, name: str) -> str:
        return self.node("Relu", [x], f"{name}_relu")

    def add(self, x: str, y: str, name: str) -> str:
        return self.node("Add", [x, y], name)

    def round(self, x: str, name: str) -> str:
        if self.formats is None:
            return x
        format = self.formats[name]
        name = f"{name}_quantize"
        scale = 2.0**format.fraction
        x = self.node("Mul", [x, self.constant(scale, f"{name}/scale")], f"{name}/scaled")
        x = self.node("Add", [x, self.constant(0.5, f"{name}/half")], f"{name}/raised")
        x = self.node("Floor", [x], f"{name}/floor")
        ends = ((format.lowest, "lowest"), (format.highest, "highest"))
        bounds = [self.constant(end, f"{name}/{label}") for end, label in ends]
        x = self.node("Clip", [x, *bounds], f"{name}/codes")
        return self.node("Mul", [x, self.constant(1 / scale, f"{name}/unit")], name)

    def _conv(self, x: str, name: str, kernel: np.ndarray, group: int) -> str:
        sides = kernel.shape[2:]
        borders = [side // 2 for side in sides]
        weights = self.constant(kernel, f"{name}/kernel")
        attributes = {"kernel_shape": list(sides), "pads": borders * 2, "group": group}
        return self.node("Conv", [x, weights], name, **attributes)
