"""DeepLabv3 with a dilated ResNet-101: for each pixel of a photo, what it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from cartoon.layers import ResizeLike

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the colours that the backbone was trained with: red, green, blue, in [0, 1]."""

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The names of the outputs 0 to 20, as Pascal VOC has them."""

EXPANSION = 4
"""How many times more channels a bottleneck gives than its 3×3 convolution has."""


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
    section 3.3; He et al., "Deep Residual Learning for Image Recognition", 2015, with the stride
    in the 3×3 convolution, as torchvision has it.
    """
    if len(depths) != 4:
        raise ValueError(f"ResNet has four stages, not {len(depths)}")
    build = _Blocks(keras.dtype_policies.get(dtype))
    inputs = keras.Input((None, None, 3), name="rgb")
    variance = [deviation**2 for deviation in IMAGENET_STD]
    x = layers.Normalization(
        mean=list(IMAGENET_MEAN), variance=variance, dtype="float32", name="normalization"
    )(inputs)

    # === ResNet ===
    x = build.conv(x, "backbone_conv1", width, 7, stride=2)
    x = build.norm_relu(x, "backbone_bn1")
    x = layers.ZeroPadding2D(1, name="backbone_pad", dtype=build.dtype)(x)  # Of ReLU: 0 is least.
    x = layers.MaxPooling2D(3, 2, name="backbone_maxpool", dtype=build.dtype)(x)
    dilation = 1
    for stage, depth in enumerate(depths, start=1):
        before, stride = dilation, 2 if stage == 2 else 1
        dilation *= 2 if stage > 2 else 1  # Instead of a stride of 2, from the second block on.
        for block in range(depth):
            x = build.bottleneck(
                x,
                f"backbone_layer{stage}_{block}",
                width * 2 ** (stage - 1),
                stride=stride if block == 0 else 1,
                dilation=before if block == 0 else dilation,
                project=block == 0,
            )

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


class _Blocks:
    """The recurring parts, all of one dtype policy."""

    def __init__(self, dtype):
        self.dtype = dtype

    def conv(self, x, name: str, filters: int, size: int, *, stride: int = 1, dilation: int = 1):
        """A convolution without bias, padded alike on all sides: Keras' "same" is not, if stride
        is 2 and the size is even."""
        if stride > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad", dtype=self.dtype)(x)
        return layers.Conv2D(
            filters,
            size,
            strides=stride,
            dilation_rate=dilation,
            padding="valid" if stride > 1 else "same",
            use_bias=False,
            name=name,
            dtype=self.dtype,
        )(x)

    def norm(self, x, name: str):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, dtype=self.dtype)(x)

    def norm_relu(self, x, name: str):
        return layers.ReLU(name=f"{name}_relu", dtype=self.dtype)(self.norm(x, name))

    def conv_norm_relu(
        self, x, name: str, filters: int, size: int, *, dilation: int = 1, first: int = 0
    ):
        """Both in a row as torchvision numbers them, `first` being the convolution's number."""
        x = self.conv(x, f"{name}_{first}", filters, size, dilation=dilation)
        return self.norm_relu(x, f"{name}_{first + 1}")

    def bottleneck(self, x, name: str, filters: int, *, stride: int, dilation: int, project: bool):
        """1×1, 3×3 and 1×1 convolutions beside a shortcut, which is projected where it must be."""
        shortcut = x
        if project:
            shortcut = self.conv(x, f"{name}_downsample_0", EXPANSION * filters, 1, stride=stride)
            shortcut = self.norm(shortcut, f"{name}_downsample_1")
        x = self.norm_relu(self.conv(x, f"{name}_conv1", filters, 1), f"{name}_bn1")
        x = self.conv(x, f"{name}_conv2", filters, 3, stride=stride, dilation=dilation)
        x = self.norm_relu(x, f"{name}_bn2")
        x = self.norm(self.conv(x, f"{name}_conv3", EXPANSION * filters, 1), f"{name}_bn3")
        x = layers.Add(name=f"{name}_add", dtype=self.dtype)([x, shortcut])
        return layers.ReLU(name=f"{name}_relu", dtype=self.dtype)(x)
