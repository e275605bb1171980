"""Trained networks on disk: those of run folders, and those embedded here with their cards."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from atelier.errors import WeightsError
from atelier.nets.weights import card as read_card
from atelier.nets.weights import load_embedded
from atelier.training.runs import load_run
from classify.config import NetworkConfig
from classify.data import CLASSES, to_float
from classify.export.folding import fold
from classify.report import build_report
from classify.strong import build_strong

WEIGHTS = Path(__file__).parent / "weights"

VIEWS = (1, 2, 6)
"""How many views of a picture its logits may be averaged over."""

BATCH = 250
"""Pictures at once through the network."""


def build(config: NetworkConfig, dtype: str = "float32") -> keras.Model:
    """The network that `config` describes, with fresh weights."""
    if config.network == "report":
        return build_report()
    return build_strong(config.widths, config.depth, config.activation, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and its card."""

    model: keras.Model
    """(N, 32, 32, 3) in [0, 1] to logits or, of the report's network, probabilities (N, 10)."""
    card: dict
    """What it is, and what it was trained on: see the .json files in `classify/weights`."""

    @property
    def name(self) -> str:
        """Which network it is."""
        return self.card["network"]

    @property
    def temperature(self) -> float:
        """Divides logits of the network's own number of views; see `temperature_of`."""
        return self.temperature_of()

    @property
    def threshold(self) -> float | None:
        """Bounds the energy of the network's own number of views; see `threshold_of`."""
        return self.threshold_of()

    def temperature_of(self, views: int | None = None) -> float:
        """Returns the number to divide logits of that many views by; 1 if none was fitted.

        An average over views is surer of itself than one view, and takes another temperature.

        Args:
            views: 1, 2 or 6; None takes what the card says.
        """
        return self._by_views("temperature", views, 1.0)

    def threshold_of(self, views: int | None = None) -> float | None:
        """Returns the energy below which a picture is none of the ten; None if none was set.

        Args:
            views: 1, 2 or 6; None takes what the card says.
        """
        return self._by_views("threshold", views, None)

    def facts(self, views: int) -> dict[str, object]:
        """Returns what an answer is read by: `labels`, `views`, `temperature` and, if one was set,
        `threshold`; JSON takes them all."""
        threshold = self.threshold_of(views)
        found = {"labels": list(CLASSES), "views": views, "temperature": self.temperature_of(views)}
        return found if threshold is None else {**found, "threshold": threshold}

    def _by_views(self, name: str, views: int | None, default: float | None) -> float | None:
        value = self.card.get(name, default)
        if isinstance(value, Mapping):
            return value[str(self.views if views is None else views)]
        return value  # Cards of earlier versions hold one number, of the network's own views.

    @property
    def views(self) -> int:
        """Over how many views of a picture its logits are averaged."""
        return self.card.get("views", 1)

    def logits(self, images: np.ndarray, views: int | None = None) -> np.ndarray:
        """Logits of pictures, averaged over views; of the report's network, log probabilities.

        Args:
            images: uint8 (N, 32, 32, 3).
            views: 1; 2, the picture and its mirror image; or 6, both of the picture, of the
                picture a pixel up and left, and of it a pixel down and right, the unmoved ones
                counting double. None takes what the card says.

        Returns:
            float32 (N, 10).
        """
        views = self.views if views is None else views
        forward = compiled(self.model)
        parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        return np.concatenate([_logits(forward, to_float(part), views) for part in parts])

    @classmethod
    def load(cls, folder: str | Path) -> Network:
        """The network that a training left in its run folder.

        Raises:
            WeightsError: the folder holds no finished run, or a damaged one.
        """
        network = cls(*load_run(folder, check_card))
        try:
            fits = network.logits(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 10)
        except Exception:  # A network of another task raises whatever it comes across.
            fits = False
        if not fits:
            raise WeightsError(f"{folder} holds a network that is not what its card says")
        return network


def _logits(forward, images: np.ndarray, views: int) -> np.ndarray:
    both = (lambda x: (forward(x) + forward(x[:, :, ::-1])) / 2) if views > 1 else forward
    logits = both(images)
    if views == 6:
        moved = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        logits = logits / 2 + (both(moved[:, :-2, :-2]) + both(moved[:, 2:, 2:])) / 4
    return logits


@functools.lru_cache(maxsize=8)
def compiled(model: keras.Model):
    """The network, folded, as a function of float32 (N, 32, 32, 3) to float32 logits (N, 10).

    The weights are those of the first call with this network: train one on, and it is not seen.
    """
    model = fold(model)
    probable = isinstance(model.layers[-1], keras.layers.Dense) and (
        model.layers[-1].activation is keras.activations.softmax
    )

    def forward(images: np.ndarray) -> np.ndarray:
        result = np.asarray(ops.convert_to_numpy(model.predict_on_batch(images)), np.float32)
        return np.log(np.maximum(result, np.finfo(np.float32).tiny)) if probable else result

    return forward


def config_of(card: dict) -> NetworkConfig:
    """The shape of the network that a card describes."""
    shape = {k: tuple(v) if isinstance(v, list) else v for k, v in card["shape"].items()}
    return NetworkConfig(**shape)


def check_card(card: dict) -> None:
    """Raises whatever it comes across if a card is not one of a training's."""
    network = Network(keras.Model(), card)
    temperatures = [network.temperature_of(views) for views in VIEWS]
    thresholds = [network.threshold_of(views) or 0 for views in VIEWS]
    if config_of(card).network != network.name or network.views not in VIEWS:
        raise ValueError("no such network")
    if not all(map(math.isfinite, temperatures + thresholds)) or min(temperatures) <= 0:
        raise ValueError("its temperature or threshold is none")


@functools.lru_cache(maxsize=4)
def load_network(name: str = "strong") -> Network:
    """An embedded network by its file's name; loaded once.

    Raises:
        WeightsError: there is none of that name, or just its card, or a file is damaged.
    """
    try:
        card = read_card(name, WEIGHTS)
        model = build(config_of(card))
    except FileNotFoundError:
        names = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.npz"))) or "none"
        raise WeightsError(f"no embedded network {name!r}; there is {names}") from None
    except Exception:  # What is not as it should be raises half a dozen kinds of error.
        raise WeightsError(f"the card of {name} is damaged; install the package anew") from None
    if not (WEIGHTS / f"{name}.npz").exists():
        raise WeightsError(
            f"the weights of {name} are not embedded, just their card; train them "
            f"({card.get('command')}) and give the run folder instead"
        )
    load_embedded(model, name, WEIGHTS)
    return Network(model, card)


def load(name: str) -> Network:
    """A network by what a command calls it: a run folder, or an embedded one's name."""
    return Network.load(Path(name)) if Path(name).is_dir() else load_network(name)
