"""ImageNet's VGG16, from which the report's network starts: convolutions, fc6 and fc7."""

from __future__ import annotations

from pathlib import Path

import keras

from atelier.errors import WeightsError
from atelier.nets.weights import fetch
from detection.network.faster_rcnn import FasterRCNN

VGG16_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
)
VGG16_MD5 = "64373286793e3c8b2b4e3219cbf3544b"
"""As published by Keras in `keras.applications.vgg16`."""

DENSE = {"fc1": "head_dense1", "fc2": "head_dense2"}
"""Keras' names of the paper's fc6 and fc7, and ours."""


def load_vgg16(model: FasterRCNN, weights: str | Path | None = None) -> None:
    """Fills backbone and box head of `vgg16` with Keras' ImageNet weights.

    Args:
        model: of the architecture `vgg16`.
        weights: a local copy of Keras' file; None fetches it (553 MB), checked by hash.

    Raises:
        WeightsError: no file and no network, or a file of something else.
    """
    if weights is None:
        weights = fetch(VGG16_URL, VGG16_MD5, option="--weights FILE")
    elif not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such file; it should be a copy of {VGG16_URL}")
    source = keras.applications.VGG16(weights=None)
    try:
        source.load_weights(weights)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # As h5py and Keras will.
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{weights}: not Keras' VGG16 weights ({reason})") from None
    for layer in source.layers:
        if layer.weights and layer.name.startswith("block"):
            model.backbone.get_layer(layer.name).set_weights(layer.get_weights())
    for theirs, ours in DENSE.items():
        model.box_head.get_layer(ours).set_weights(source.get_layer(theirs).get_weights())
