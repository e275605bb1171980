"""ResNet50 with a feature pyramid, as torchvision's two Faster R-CNNs have it. TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers

from atelier.nets.resnet import Blocks, resnet

FROZEN = ("body_conv1", "body_bn1", "body_layer1")
"""What of ResNet is not trained, as in torchvision: it is general enough."""


def resnet50_fpn(
    norm: bool, *, width: int = 64, depths: Sequence[int] = (3, 4, 6, 3), channels: int = 256
) -> keras.Model:
    """ResNet50 and a pyramid on its four stages, unfilled.

    Each level is a 1×1 convolution of a stage, plus the coarser level made as large, through a 3×3
    convolution; a fifth takes each second position of the fourth.

    Args:
        norm: the second version: normalisation in the pyramid, and in ResNet one that learns.
            The first version's normalisation keeps the statistics that its weights bring, and has
            no ε, as torchvision has it with its published weights.
        width: channels of ResNet's first convolution.
        depths: bottlenecks in each of the four stages.
        channels: of the pyramid.

    Returns:
        a model from (N, H, W, 3), normalised as torchvision does, H and W any, to five maps
        (N, ⌈H / stride⌉, ⌈W / stride⌉, channels) of strides 4, 8, 16, 32 and 64. Layers are named
        as torchvision's, those of the pyramid by their level: `inner2` and `p2` have stride 4.

    Reference: Lin et al., "Feature Pyramid Networks for Object Detection", 2017, section 3;
    torchvision's `_resnet_fpn_extractor` with `trainable_layers=3`.
    """
    build = Blocks() if norm else Blocks(epsilon=0.0, frozen=True)
    inputs = keras.Input((None, None, 3), name="rgb")
    stages = resnet(inputs, build, "body", width=width, depths=depths)

    # === Pyramid ===
    def conv(x, size, name):
        x = layers.Conv2D(
            channels, size, padding="same", use_bias=not norm, name=name,
            kernel_initializer="lecun_uniform",
        )(x)  # fmt: skip
        return build.norm(x, f"{name}_norm") if norm else x

    inner = conv(stages[-1], 1, "inner5")
    maps = [conv(inner, 3, "p5")]
    for level in (4, 3, 2):
        lateral = conv(stages[level - 2], 1, f"inner{level}")
        coarser = NearestLike(name=f"up{level + 1}")([inner, lateral])
        inner = layers.Add(name=f"sum{level}")([lateral, coarser])
        maps.insert(0, conv(inner, 3, f"p{level}"))
    maps.append(layers.MaxPooling2D(1, 2, name="p6")(maps[-1]))

    model = keras.Model(inputs, maps, name="backbone")
    for layer in model.layers:
        if layer.name.startswith(FROZEN):
            layer.trainable = False
    return model


@keras.saving.register_keras_serializable("atelier")
class NearestLike(layers.Layer):
    """One batch of maps at the size of another, each value from the position at or before it.

    PyTorch's `interpolate(mode="nearest")`, also where sizes are known only when a graph runs.

    Input: (N, h, w, C) and (N, H, W, any). Output: (N, H, W, C).
    """

    def call(self, inputs):
        maps, reference = inputs
        return tf.raw_ops.ResizeNearestNeighbor(images=maps, size=tf.shape(reference)[1:3])

    def compute_output_spec(self, inputs):
        maps, reference = inputs
        shape = (maps.shape[0], *reference.shape[1:3], maps.shape[-1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)
