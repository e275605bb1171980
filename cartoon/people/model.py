"""Our person segmenter: a light encoder in the manner of MobileNetV3, and a decoder with gates.

It has the shape of MediaPipe's selfie segmentation, so that training can start from its weights.
"""

from __future__ import annotations

import keras
from keras import layers

from cartoon.people.layers import ResizeLike

# Channels of the expansion, kernel, stride, activation, channels of the output, and of the gate.
QUARTER = (16, 3, 2, "relu", 16, 8)
EIGHTH = ((72, 3, 2, "relu", 24, 0), (88, 3, 1, "relu", 24, 0))
SIXTEENTH = (
    (96, 5, 2, "hard_swish", 32, 24),
    (128, 5, 1, "hard_swish", 32, 32),
    (128, 5, 1, "hard_swish", 32, 32),
    (96, 5, 1, "hard_swish", 32, 24),
    (96, 5, 1, "hard_swish", 32, 24),
)
"""The blocks at a quarter, an eighth and a sixteenth of the picture's size."""

STEM, CONTEXT = 16, 128
"""Channels of the first convolution, and of the encoder's last map."""


def build_person_segmenter(dtype=None, name: str = "person_segmenter") -> keras.Model:
    """A network of 106,401 numbers, unfilled.

    Inverted residual blocks with squeeze-and-excitation bring the picture to a sixteenth of its
    size; the decoder doubles it three times, and each time adds the encoder's map of that size as
    far as a gate, which sees both as a whole, lets it.

    Args:
        dtype: a policy such as "mixed_bfloat16"; the returned logits are float32.
        name: of the model.

    Returns:
        A model from (N, H, W, 3), RGB in [0, 1], H and W even, to logits (N, H, W, 1), float32:
        positive where a pixel is a person's. Layers are named in their order.

    Reference: Howard et al., "Searching for MobileNetV3", 2019, sections 5 and 6.3 (Lite R-ASPP);
    "Model Card: MediaPipe Selfie Segmentation", Google, 2021.
    """
    build = _Blocks(keras.dtype_policies.get(dtype))
    inputs = keras.Input((None, None, 3), name="rgb")

    # === Encoder ===
    half = build.conv(inputs, "stem", STEM, 3, 2, "hard_swish")
    quarter = build.inverted_residual(half, "quarter", *QUARTER)
    x = quarter
    for index, block in enumerate(EIGHTH):
        x = build.inverted_residual(x, f"eighth{index}", *block)
    eighth = x
    for index, block in enumerate(SIXTEENTH):
        x = build.inverted_residual(x, f"sixteenth{index}", *block)
    context = build.mean(x, "context_mean")
    x = build.conv(x, "context", CONTEXT, activation="relu")
    x = build.scale(x, build.conv(context, "context_gate", CONTEXT, activation="sigmoid"))

    # === Decoder ===
    for skip, name_of_size in ((eighth, "eighth"), (quarter, "quarter"), (half, "half")):
        x = build.join(x, skip, f"decoder_{name_of_size}")
    x = layers.Conv2DTranspose(1, 2, strides=2, name="person", dtype="float32")(x)
    return keras.Model(inputs, x, name=name)


class _Blocks:
    """The recurring parts, all of one dtype policy."""

    def __init__(self, dtype):
        self.dtype = dtype

    def conv(self, x, name: str, filters: int, size: int = 1, stride: int = 1, activation=None):
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            activation=activation,
            name=name,
            dtype=self.dtype,
        )(x)

    def depthwise(self, x, name: str, size: int, stride: int = 1, activation=None):
        return layers.DepthwiseConv2D(
            size,
            strides=stride,
            padding="same",
            activation=activation,
            name=name,
            dtype=self.dtype,
        )(x)

    def mean(self, x, name: str):
        return layers.GlobalAveragePooling2D(keepdims=True, name=name, dtype=self.dtype)(x)

    def scale(self, x, gate):
        return layers.Multiply(dtype=self.dtype)([x, gate])

    def add(self, x, other):
        return layers.Add(dtype=self.dtype)([x, other])

    def gate(self, x, name: str, squeezed: int):
        """Squeeze-and-excitation: what each channel is multiplied by, (N, 1, 1, C)."""
        channels = x.shape[-1]
        x = self.mean(x, f"{name}_mean")
        x = self.conv(x, f"{name}_squeeze", squeezed, activation="relu")
        return self.conv(x, f"{name}_excite", channels, activation="sigmoid")

    def inverted_residual(
        self,
        x,
        name: str,
        expanded: int,
        size: int,
        stride: int,
        activation: str,
        filters: int,
        squeezed: int,
    ):
        y = self.conv(x, f"{name}_expand", expanded, activation=activation)
        y = self.depthwise(y, f"{name}_depthwise", size, stride, activation)
        if squeezed:
            y = self.scale(y, self.gate(y, f"{name}_gate", squeezed))
        y = self.conv(y, f"{name}_project", filters)
        return self.add(y, x) if stride == 1 else y

    def join(self, x, skip, name: str):
        """The coarse map at the size of the fine one, with as much of it as the gate lets in."""
        channels = skip.shape[-1]
        x = ResizeLike(name=f"{name}_resize", dtype=self.dtype)([x, skip])
        x = self.conv(x, f"{name}_project", channels)
        gate = self.gate(self.add(skip, x), f"{name}_gate", channels)
        x = self.add(self.scale(skip, gate), x)
        x = self.conv(x, f"{name}_mix", channels, activation="relu")
        return self.add(x, self.depthwise(x, f"{name}_depthwise", 3, activation="relu"))
