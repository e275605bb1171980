"""DeepLabv3 with a dilated ResNet-101: for each pixel of a photo, what it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from atelier.nets.resnet import Blocks, resnet
from cartoon.people.layers import ResizeLike

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the colours that the backbone was trained with: red, green, blue, in [0, 1]."""

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The names of the outputs 0 to 20, as Pascal VOC has them."""


def build_deeplabv3(
    *,
    classes: int = len(CLASSES),
    width: int = 64,
    depths: Sequence[int] = (3, 4, 23, 3),
    head: int = 256,
    rates: Sequence[int] = (12, 24, 36),
    dtype=None,
    name: str = "deeplabv3_resnet101",
) -> keras.Model:
    """DeepLabv3 at output stride 8, as torchvision builds `deeplabv3_resnet101`, unfilled.

    The strides of the last two of ResNet's four stages are replaced by dilation, so that the
    features are an eighth of the picture's size; they are then seen through convolutions of
    several dilations side by side ("atrous spatial pyramid pooling") and as their mean.

    Args:
        classes: what a pixel may be.
        width: channels of ResNet's first convolution; its stages have 1, 2, 4 and 8 times as many.
        depths: bottlenecks in each of the four stages.
        head: channels of everything after ResNet.
        rates: the pyramid's dilations.
        dtype: a policy such as "mixed_bfloat16"; normalisation and the returned maps stay float32.
        name: of the model.

    Returns:
        A model from (N, H, W, 3), float32, RGB in [0, 1], of any size, to logits (N, H, W,
        classes), float32, not normalised to probabilities. The input is normalised by ImageNet's
        mean colour inside. It was trained on pictures whose shorter side is 520 pixels, and is at
        its best there. Layers are named as torchvision's modules, with "_" for ".".

    Example:
        >>> model = build_deeplabv3(width=4, depths=(1, 1, 1, 1), head=8)
        >>> model(np.zeros((1, 40, 60, 3), "float32")).shape
        TensorShape([1, 40, 60, 21])

    Reference: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
    section 3.3.
    """
    build = _Blocks(dtype)
    inputs = keras.Input((None, None, 3), name="rgb")
    variance = [deviation**2 for deviation in IMAGENET_STD]
    x = layers.Normalization(
        mean=list(IMAGENET_MEAN), variance=variance, dtype="float32", name="normalization"
    )(inputs)

    x = resnet(x, build, "backbone", width=width, depths=depths, dilated=2)[-1]

    # === Atrous spatial pyramid pooling ===
    branches = [build.conv_norm_relu(x, "classifier_0_convs_0", head, 1)]
    for index, rate in enumerate(rates, start=1):
        branches.append(
            build.conv_norm_relu(x, f"classifier_0_convs_{index}", head, 3, dilation=rate)
        )
    name_of_mean = f"classifier_0_convs_{len(rates) + 1}"
    mean = layers.GlobalAveragePooling2D(
        keepdims=True, name=f"{name_of_mean}_0", dtype=build.dtype
    )(x)
    mean = build.conv_norm_relu(mean, name_of_mean, head, 1, first=1)
    branches.append(ResizeLike(name=f"{name_of_mean}_resize", dtype=build.dtype)([mean, x]))
    x = layers.Concatenate(name="classifier_0_concat", dtype=build.dtype)(branches)
    x = build.conv_norm_relu(x, "classifier_0_project", head, 1)
    x = layers.Dropout(0.5, name="classifier_0_project_3", dtype=build.dtype)(x)

    # === Head ===
    x = build.conv(x, "classifier_1", head, 3)
    x = build.norm_relu(x, "classifier_2")
    x = layers.Conv2D(classes, 1, name="classifier_4", dtype=build.dtype)(x)
    x = ResizeLike(name="resize", dtype="float32")([x, inputs])
    return keras.Model(inputs, x, name=name)


class _Blocks(Blocks):
    """And those of DeepLabv3's head."""

    def conv_norm_relu(
        self, x, name: str, filters: int, size: int, *, dilation: int = 1, first: int = 0
    ):
        """Both in a row as torchvision numbers them, `first` being the convolution's number."""
        x = self.conv(x, f"{name}_{first}", filters, size, dilation=dilation)
        return self.norm_relu(x, f"{name}_{first + 1}")
