"""Feature networks: a picture's maps at one stride or several, finest first."""

from __future__ import annotations

import keras
from keras import layers

from atelier.nets.features import VGG19_LITE, vgg19_lite
from atelier.nets.vgg import VGG
from detection.network.architectures import Backbone

LITE_CHANNELS = 64

FROZEN = ("block1", "block2")
"""Blocks of VGG that are not trained, as in the original code: they are general enough."""


def build_backbone(name: Backbone) -> keras.Model:
    """A feature network with random weights.

    Returns:
        a model from (N, H, W, 3), normalised as its architecture says, to a list of maps
        (N, H / stride, W / stride, channels), channels alike.
    """
    if name == "lite":
        return lite()
    if name == "vgg16":
        return vgg16()
    from detection.network.resnet import resnet50_fpn

    return resnet50_fpn(norm=name == "resnet50_fpn_v2")


def vgg16() -> keras.Model:
    """VGG16 up to conv5_3, stride 16, 512 channels (Ren et al. 2015, section 3.1)."""
    network = VGG(depths=(2, 2, 3, 3, 3))
    _freeze(network)
    last = network.get_layer("block5_conv3").output
    return keras.Model(network.input, [last], name="backbone")


def lite() -> keras.Model:
    """`vgg19-lite` with a light pyramid: strides 8, 16, 32, 64 and 128, 64 channels.

    The two finest levels are those of Lin et al. 2017 (a 1×1 convolution, the coarser level added,
    a 3×3 convolution); two coarser ones are strided convolutions, as in RetinaNet, and the last
    takes each second position of the one before it. H and W are multiples of 64.
    """
    trunk = VGG(**VGG19_LITE)
    _freeze(trunk)
    fine = trunk.get_layer("block4_conv4").output
    coarse = trunk.get_layer("block5_conv1_relu").output

    def conv(size, name, strides=1):
        return layers.Conv2D(
            LITE_CHANNELS, size, strides, padding="same", name=name, kernel_initializer="he_normal"
        )

    inner4 = conv(1, "inner4")(coarse)
    inner3 = layers.Add(name="sum3")(
        [conv(1, "inner3")(fine), layers.UpSampling2D(2, name="up4")(inner4)]
    )
    p3, p4 = conv(3, "p3")(inner3), conv(3, "p4")(inner4)
    p5 = conv(3, "p5", 2)(p4)
    p6 = conv(3, "p6", 2)(layers.ReLU(name="relu5")(p5))
    p7 = layers.MaxPooling2D(1, 2, name="p7")(p6)
    return keras.Model(trunk.input, [p3, p4, p5, p6, p7], name="backbone")


def load_vgg19_lite(backbone: keras.Model) -> None:
    """Fills the trunk of `lite` with the embedded weights of `vgg19-lite`."""
    trained = vgg19_lite()
    for layer in trained.layers:
        if layer.weights and layer.name in {own.name for own in backbone.layers}:
            backbone.get_layer(layer.name).set_weights(layer.get_weights())


def _freeze(network: keras.Model) -> None:
    for layer in network.layers:
        if layer.name.startswith(FROZEN):
            layer.trainable = False
