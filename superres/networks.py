"""Trained networks on disk: those of run folders, and those embedded here with their cards."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from atelier.errors import WeightsError
from atelier.nets.weights import card as read_card
from atelier.nets.weights import load_embedded
from atelier.training.runs import load_run
from superres.color import RANGE
from superres.config import NetworkConfig
from superres.fixed_point.rounding import FixedPoint
from superres.network.baselines import BASELINES
from superres.network.model import Formats, build_network

WEIGHTS = Path(__file__).parent / "weights"

BORDER = 16
"""LR pixels by which `apply` continues a picture: more than our network sees to either side."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and its card."""

    model: keras.Model
    """(1, H, W, 1), LR luma / 256, to (1, scale·H, scale·W, 1)."""
    card: dict
    """What it is, and what it was trained on: see the .json files in `superres/weights`."""

    @property
    def scale(self) -> int:
        """Pixels a side that each pixel becomes."""
        return self.card["shape"]["scale"]

    @property
    def config(self) -> NetworkConfig:
        """The shape of the network, if it is our own."""
        return config_of(self.card)

    @property
    def formats(self) -> Formats | None:
        """The fixed-point formats; None for a network of floats."""
        return formats_of(self.card)

    @property
    def bits(self) -> tuple[int, int]:
        """Of the widest weight and the widest activation, the input's 8 aside; 32 for floats."""
        if self.formats is None:
            return 32, 32
        formats = {name: form for name, form in self.formats.items() if name != "input"}
        weights = [form.bits for name, form in formats.items() if name.endswith("/kernel")]
        others = [form.bits for name, form in formats.items() if not name.endswith("/kernel")]
        return max(weights), max(others)

    @classmethod
    def load(cls, folder: Path) -> Network:
        """The network that a training left in its run folder.

        Raises:
            WeightsError: the folder holds no finished run, or a damaged one.
        """
        network = cls(*load_run(folder, lambda card: (config_of(card), formats_of(card))))
        try:
            enlarged = apply(network.model, np.zeros((8, 8)))
            fits = enlarged.shape == (8 * network.scale,) * 2 and min(network.bits) > 0
        except Exception:  # A network of another task raises whatever it comes across.
            fits = False
        if not fits:
            raise WeightsError(f"{folder} holds a network that is not what its card says")
        return network


def config_of(card: dict) -> NetworkConfig:
    """The shape of the network that a card describes."""
    shape = {k: tuple(v) if isinstance(v, list) else v for k, v in card["shape"].items()}
    config = NetworkConfig(**shape)
    if config.scale not in (2, 3, 4):
        raise ValueError(f"scale {config.scale}")
    return config


def formats_of(card: dict) -> Formats | None:
    """The fixed-point formats that a card describes, if any."""
    formats = card.get("formats")
    if formats is None:
        return None
    return {name: FixedPoint(**value) for name, value in formats.items()}


@functools.lru_cache(maxsize=8)
def load_network(model: Literal["clean", "compressed"] = "clean", scale: int = 2) -> Network:
    """The embedded network for clean or for compressed pictures; loaded once.

    Raises:
        WeightsError: there is none for that scale, or its file is damaged.
    """
    return load_stored(f"{model}-x{scale}")


def load_stored(name: str) -> Network:
    """An embedded network by its file's name, such as `clean-x2` or `srcnn-x2`."""
    try:
        card = read_card(name, WEIGHTS)
    except FileNotFoundError:
        raise WeightsError(f"no embedded network {name!r}; there is {stored_names()}") from None
    except ValueError:
        raise WeightsError(f"the card of {name} is damaged; install the package anew") from None
    if card["network"] == "ours":
        network = build_network(config_of(card), formats_of(card))
    else:
        network = BASELINES[card["network"]](card["shape"]["scale"])
    load_embedded(network, name, WEIGHTS)
    return Network(network, card)


def stored_names() -> str:
    """The names of the embedded networks, for messages."""
    return ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.npz"))) or "none"


_SIGNATURE = [tf.TensorSpec((None, None, None, 1), tf.float32)]


@functools.lru_cache(maxsize=16)
def compiled(model: keras.Model):
    """The network as a `tf.function` of (N, H, W, 1) for any N, H and W, traced once."""
    return tf.function(lambda luma: model(luma, training=False), input_signature=_SIGNATURE)


def apply(model: keras.Model, luma: np.ndarray) -> np.ndarray:
    """The network on a luma plane whose border is continued, so that none shows in the result.

    Args:
        model: a network.
        luma: (h, w) in [0, 255].

    Returns:
        float32 (scale·h, scale·w), about [0, 255], neither rounded nor clipped.
    """
    padded = np.pad(np.asarray(luma, np.float32) / np.float32(RANGE), BORDER, mode="symmetric")
    result = compiled(model)(padded[None, ..., None])[0, ..., 0].numpy()
    border = BORDER * (result.shape[0] // padded.shape[0])
    return result[border:-border, border:-border] * np.float32(RANGE)
