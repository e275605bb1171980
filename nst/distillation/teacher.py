"""The networks that `vgg19-lite` can learn from: each gives VGG19's features, or predicts them."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
from keras import layers

from atelier.errors import WeightsError
from atelier.nets.features import vgg19
from atelier.nets.vgg import VGG, UnknownLayerError
from atelier.nets.weights import array_shapes

TAPS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
"""The report's style layers: where features are compared."""

MOST_WEIGHTS = 50_000_000
"""Of a teacher's file; VGG19 itself has 20 million."""


class SmallTeacher:
    """VGG19 at a quarter of its width, by Collaborative Distillation, with VGG19's own features.

    Its trunk has a quarter of VGG19's channels; 1×1 convolutions predict from the trunk's taps
    what VGG19 itself would give there. The predictions, cut at zero like VGG19's features, are
    this teacher's features: pictures optimised under them come out visibly better than under the
    trunk's own, since they weigh directions in feature space as VGG19 does.

    Args:
        path: the published network converted to `.npz`: `conv0` maps RGB in [0, 1] to BGR less
            the mean; `convBN.weight` (out, in, 3, 3) and `.bias` are block B's Nth convolution,
            `convB1_aux` the 1×1 predictors.

    Raises:
        WeightsError: the file is missing, or is not such a network.

    Reference: Wang et al., "Collaborative Distillation for Ultra-Resolution Universal Style
    Transfer", CVPR 2020.
    """

    def __init__(self, path: str | Path):
        try:
            with open(path, "rb") as file:
                if sum(map(math.prod, array_shapes(file).values())) > MOST_WEIGHTS:
                    raise ValueError(f"more than {MOST_WEIGHTS:,} weights")
                with np.load(file, allow_pickle=False) as arrays:
                    weights = dict(arrays)
        except Exception as error:  # A damaged zip raises half a dozen kinds of error.
            raise WeightsError(f"{path}: cannot be read as a teacher ({error})") from None
        self.trunk = VGG((16, 32, 64, 128, 128), (2, 2, 4, 4, 1), padding="reflect")
        self._outputs = {}
        try:
            for name in self.trunk.convolutions:
                self.trunk.get_layer(name).set_weights(_read(weights, name, ""))
            for tap in TAPS:
                kernel, bias = _read(weights, tap, "_aux")
                predictor = layers.Conv2D(len(bias), 1, activation="relu", name=f"{tap}_predicted")
                self._outputs[tap] = predictor(self.trunk.get_layer(tap).output)
                predictor.set_weights([kernel, bias])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: not the expected teacher ({error})") from None

    def features(self, names) -> keras.Model:
        """As `VGG.features`; the layers are those of `TAPS`."""
        unknown = [name for name in names if name not in self._outputs]
        if unknown:
            raise UnknownLayerError(f"no layer {unknown[0]!r}; the layers are {', '.join(TAPS)}")
        return keras.Model(self.trunk.input, [self._outputs[name] for name in names])

    def receptive(self, name: str) -> tuple[int, int]:
        """As `VGG.receptive`."""
        return self.trunk.receptive(name)


def load_teacher(source: str) -> tuple[object, VGG]:
    """A teacher and the trunk whose weights a student may start from.

    Args:
        source: "vgg19" (fetched, see `atelier.nets.features.vgg19`), VGG19's weights as a local
            `.h5` file, or the `.npz` of `SmallTeacher`.

    Returns:
        The teacher, with a method `features(names)`, and its trunk.
    """
    if str(source).endswith(".npz"):
        teacher = SmallTeacher(source)
        return teacher, teacher.trunk
    network = vgg19(weights=None if source == "vgg19" else Path(source))
    return network, network


def _read(weights, name, suffix):
    block, index = name.removeprefix("block").split("_conv")
    key = f"conv{block}{index}{suffix}"
    return weights[f"{key}.weight"].transpose(2, 3, 1, 0), weights[f"{key}.bias"]
