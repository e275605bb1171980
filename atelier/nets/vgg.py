"""VGG feature networks: the real VGG19, and `vgg19-lite`, its small embedded stand-in.

Both are instances of one class, with the block and layer names of Simonyan & Zisserman, and both
take Caffe-style input, so that either can replace the other wherever features are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""ImageNet's mean colour as VGG19 was trained with it: blue, green, red, in [0, 255]."""


def preprocess(image: np.ndarray) -> np.ndarray:
    """RGB pixels to VGG's input: BGR less the mean, not scaled.

    Args:
        image: (..., H, W, 3), uint8 or float, RGB in [0, 255].

    Returns:
        float32 of the same shape, BGR, each channel in [-mean, 255 - mean].
    """
    return np.asarray(image, np.float32)[..., ::-1] - np.asarray(CAFFE_MEAN, np.float32)


def deprocess(x: np.ndarray) -> np.ndarray:
    """VGG's input back to a picture: the inverse of `preprocess`, rounded and clipped.

    Args:
        x: (..., H, W, 3) float, BGR less the mean.

    Returns:
        uint8 of the same shape, RGB.
    """
    bgr = np.asarray(x, np.float32) + np.asarray(CAFFE_MEAN, np.float32)
    return np.clip(np.rint(bgr[..., ::-1]), 0, 255).astype(np.uint8)


class UnknownLayerError(ValueError):
    """A layer was asked for that a network does not have."""


@keras.saving.register_keras_serializable("atelier")
class PaddedConv2D(layers.Conv2D):
    """A convolution of stride 1 whose input is continued at its borders by its own values.

    Zero padding shows as a frame around an optimised picture, because features at the border
    then differ in kind from all others.

    Args:
        filters, kernel_size: as in `keras.layers.Conv2D`; kernel sizes are odd.
        continuation: "symmetric" repeats the edge pixel (defined for maps of any size),
            "reflect" mirrors about it (needs maps of two pixels or more).

    The size of the map is kept: (N, H, W, C) to (N, H, W, filters).
    """

    def __init__(self, filters, kernel_size, continuation="symmetric", **kwargs):
        kwargs["padding"] = "valid"
        super().__init__(filters, kernel_size, **kwargs)
        self.continuation = continuation

    def call(self, inputs):
        vertical, horizontal = (size // 2 for size in self.kernel_size)
        margins = [[0, 0], [vertical] * 2, [horizontal] * 2, [0, 0]]
        return super().call(ops.pad(inputs, margins, mode=self.continuation))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "continuation": self.continuation}


@keras.saving.register_keras_serializable("atelier")
class VGG(keras.Model):
    """A VGG network without its dense top.

    Args:
        widths: channels of each block's convolutions.
        depths: convolutions in each block, 3×3, each followed by ReLU.
        padding: "zeros" as in VGG19; "edge" or "reflect", see `PaddedConv2D`.
        pooling: "max" as in VGG19, or "average", which Gatys et al. (2016), section 2, found to
            give slightly more appealing pictures.
        projections: convolutions whose output is a linear 1×1 projection to so many channels of
            the ReLU'd 3×3 convolution, which alone feeds the next layer. Distances between such
            features need few channels; with ReLU they would need many.

    Layers are named `block{b}_conv{c}` and `block{b}_pool`. Input: (N, H, W, 3) from
    `preprocess`, H and W at least 2 ** (number of blocks - 1) or some map is empty. Output: a
    dictionary of every convolution's (N, H / 2 ** (b - 1), W / 2 ** (b - 1), channels) by name;
    `features` gives the model of the few that are wanted.

    Example:
        >>> network = VGG(widths=(8, 16), depths=(1, 1))
        >>> network(np.zeros((1, 32, 32, 3), "float32"))["block2_conv1"].shape
        TensorShape([1, 16, 16, 16])

    Reference: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", 2015, table 1, column E.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (2, 2, 4, 4, 4),
        padding: Literal["zeros", "edge", "reflect"] = "zeros",
        pooling: Literal["max", "average"] = "max",
        projections: Mapping[str, int] | None = None,
        dtype=None,
        **kwargs,
    ):
        if len(widths) != len(depths):
            raise ValueError(f"one width and one depth a block, not {len(widths)}, {len(depths)}")
        # === Layers ===
        projections = dict(projections or {})
        pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[pooling]
        dtype = keras.dtype_policies.get(dtype)

        def convolution(filters: int, name: str) -> layers.Layer:
            if padding == "zeros":
                return layers.Conv2D(
                    filters, 3, padding="same", activation="relu", name=name, dtype=dtype
                )
            continuation = {"edge": "symmetric", "reflect": "reflect"}[padding]
            return PaddedConv2D(filters, 3, continuation, activation="relu", name=name, dtype=dtype)

        # === Functional Model ===
        inputs = keras.Input((None, None, 3), name="bgr")
        x, outputs = inputs, {}
        for block, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            if block > 1:
                x = pool(2, name=f"block{block - 1}_pool", dtype=dtype)(x)
            for index in range(1, depth + 1):
                name = f"block{block}_conv{index}"
                projected = name in projections
                x = outputs[name] = convolution(width, f"{name}_relu" if projected else name)(x)
                if projected:
                    outputs[name] = layers.Conv2D(projections[name], 1, name=name, dtype=dtype)(x)
        unknown = sorted(projections.keys() - outputs.keys())
        if unknown:
            raise ValueError(f"no layer {unknown[0]!r} to project; there are {', '.join(outputs)}")
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        # === Config ===
        self.widths, self.depths = tuple(widths), tuple(depths)
        self.padding, self.pooling = padding, pooling
        self.projections = projections
        self.policy = dtype
        self.convolutions = tuple(outputs)
        """The names of the convolutions, in order."""

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "widths": self.widths,
            "depths": self.depths,
            "padding": self.padding,
            "pooling": self.pooling,
            "projections": self.projections,
            "dtype": keras.dtype_policies.serialize(self.policy),
        }

    def features(self, names: Sequence[str]) -> keras.Model:
        """The network that gives the outputs of the named layers, cut after the deepest.

        Args:
            names: layer names, such as "block4_conv1"; in any order, without repetition.

        Returns:
            A model from (N, H, W, 3) to a list of (N, h, w, channels), in the order of `names`; of
            a single name to its map alone, as Keras does.

        Raises:
            UnknownLayerError: a name is not one of this network's convolutions.
        """
        unknown = [name for name in names if name not in self.convolutions]
        if unknown:
            known = ", ".join(self.convolutions)
            raise UnknownLayerError(f"no layer {unknown[0]!r}; the layers are {known}")
        return keras.Model(self.input, [self.output[name] for name in names])

    def receptive(self, name: str) -> tuple[int, int]:
        """How the layer `name` sees the picture.

        Returns:
            stride: pixels of the picture between neighbouring positions of the map.
            reach: pixels to each side of a position's own stride × stride cell that can change it.
        """
        stride, reach = 1, 0
        for convolution in self.convolutions[: self.convolutions.index(name) + 1]:
            if convolution.endswith("_conv1") and convolution != "block1_conv1":
                stride *= 2
            reach += stride
        return stride, reach
