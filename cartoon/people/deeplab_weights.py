"""torchvision's published weights in `cartoon.people.deeplab`'s model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from atelier.errors import WeightsError
from atelier.nets import weights as stored
from atelier.nets.checkpoints import read_checkpoint
from atelier.nets.resnet import Slot, fill, layer_slots
from cartoon.people.deeplab import build_deeplabv3

URL = "https://download.pytorch.org/models/deeplabv3_resnet101_coco-586e9e4e.pth"
"""244,545,539 bytes; trained on the pictures of COCO 2017 that show a class of Pascal VOC."""

SHA256_PREFIX = "586e9e4e"
"""The published file's sha256 begins so: torchvision gives no more of it, in the file's name."""

IGNORED_PREFIX = "aux_classifier."
"""A second classifier, which training alone needs."""


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
    fill(
        dict(_slots(model)),
        {name: array for name, array in state.items() if not name.startswith(IGNORED_PREFIX)},
    )


def torchvision_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shapes that `load_torchvision` takes for `model`, by torchvision's names."""
    return {name: slot.shape for name, slot in _slots(model)}


def _slots(model: keras.Model) -> Iterator[tuple[str, Slot]]:
    for layer in model.layers:  # No module on the way has "_" in its own name.
        yield from layer_slots(layer, layer.name.replace("_", "."))
