"""torchvision's published weights in `cartoon.deeplab`'s model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers

from atelier import weights as stored
from atelier.checkpoints import read_checkpoint
from atelier.errors import WeightsError
from cartoon.deeplab import build_deeplabv3

URL = "https://download.pytorch.org/models/deeplabv3_resnet101_coco-586e9e4e.pth"
"""244,545,539 bytes; trained on the pictures of COCO 2017 that show a class of Pascal VOC."""

SHA256_PREFIX = "586e9e4e"
"""The published file's sha256 begins so: torchvision gives no more of it, in the file's name."""

IGNORED_PREFIX, IGNORED_SUFFIX = "aux_classifier.", ".num_batches_tracked"
"""What training alone needs: a second classifier, and counters."""

BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""Keras' names of a batch normalisation's variables, by torchvision's."""


def deeplabv3_resnet101(checkpoint: str | os.PathLike | None = None, *, dtype=None) -> keras.Model:
    """The full network, frozen, with torchvision's weights.

    Args:
        checkpoint: a local copy of torchvision's file, or another of the same names and shapes;
            None fetches it once, 245 MB, checked by hash.
        dtype: see `build_deeplabv3`.

    Raises:
        WeightsError: no file and no network, or a file that is damaged or of something else.
    """
    checkpoint = Path(fetch_checkpoint() if checkpoint is None else checkpoint)
    state = read_checkpoint(checkpoint)
    model = build_deeplabv3(dtype=dtype)
    try:
        load_torchvision(model, state)
    except WeightsError as error:
        raise WeightsError(f"{checkpoint}: {error}; it should be a copy of {URL}") from None
    model.trainable = False
    return model


def fetch_checkpoint(*, option: str = "--deeplab-weights FILE") -> Path:
    """torchvision's file from Keras' cache, fetched on first use, checked by what is known of its
    hash, and fetched anew if that is wrong.

    Args:
        option: the flag by which a user may pass a local copy, for the message.

    Raises:
        WeightsError: it cannot be fetched, or what came is something else.
    """
    return stored.fetch(URL, option=option, sha256_prefix=SHA256_PREFIX)


def load_torchvision(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Fills `model`, all of it or nothing, with torchvision's weights.

    Args:
        model: of `build_deeplabv3`.
        state: float arrays by torchvision's names, such as `backbone.layer1.0.conv1.weight`
            (out, in, height, width). Names of the auxiliary classifier and of batch counters are
            passed over.

    Raises:
        WeightsError: a name is missing or not the model's, or an array is not of the shape or
            kind that it should be; the first of them is named.
    """
    wanted = {name: shape for name, _, shape in _names(model)}
    given = {
        name: array
        for name, array in state.items()
        if not name.startswith(IGNORED_PREFIX) and not name.endswith(IGNORED_SUFFIX)
    }
    for names, verb in ((wanted.keys() - given.keys(), "lacks"), (given.keys() - wanted, "has")):
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"not this network's weights: the state {verb} {min(names)}{others}")
    for name, shape in wanted.items():
        if given[name].shape != shape or given[name].dtype.kind != "f":
            raise WeightsError(
                f"not this network's weights: {name} is {given[name].dtype} {given[name].shape}, "
                f"not float {shape}"
            )
    for name, variable, _ in _names(model):
        array = given[name]
        variable.assign(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)


def torchvision_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shapes that `load_torchvision` takes for `model`, by torchvision's names."""
    return {name: shape for name, _, shape in _names(model)}


def _names(model: keras.Model) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """torchvision's name of each variable, the variable, and its shape in torchvision's order."""
    for layer in model.layers:
        module = layer.name.replace("_", ".")  # No module on the way has "_" in its own name.
        if isinstance(layer, layers.Conv2D):
            height, width, channels, filters = layer.kernel.shape
            yield f"{module}.weight", layer.kernel, (filters, channels, height, width)
            if layer.use_bias:
                yield f"{module}.bias", layer.bias, (filters,)
        elif isinstance(layer, layers.BatchNormalization):
            for name, ours in BATCH_NORM.items():
                variable = getattr(layer, ours)
                yield f"{module}.{name}", variable, tuple(variable.shape)
