"""What a photo shows: any picture, brought to 32×32 pixels, through the embedded network."""

from __future__ import annotations

import dataclasses
import itertools
import time
import typing
from collections.abc import Iterable, Iterator

import numpy as np

from atelier.errors import SettingsError
from atelier.media.images import ImageSource, load_image, resize
from classify import calibration
from classify.config import Fit
from classify.data import CLASSES, SIDE
from classify.networks import VIEWS, Network, load_network

NONE = "none of the ten"
"""What a picture is called that is unlike all that the network was trained on."""


@dataclasses.dataclass(frozen=True)
class Classification:
    """What a picture shows."""

    labels: tuple[str, ...]
    """The classes, the most probable first."""
    probabilities: np.ndarray
    """float32 (10,), in the order of `labels`; they sum to 1, as if it were one of the ten."""
    energy: float
    """How much there is in the picture of what the network knows; see `calibration.energy`."""
    known: bool
    """Whether that is enough: `energy` is at least the network's threshold. If not, the picture
    is none of the ten, whatever the probabilities say."""
    seconds: float
    """That the network took, a picture."""
    model: str
    """Which network it was."""

    @property
    def label(self) -> str:
        """The answer in words: a class, or "none of the ten"."""
        return self.labels[0] if self.known else NONE


@typing.overload
def classify(
    image: ImageSource,
    *,
    network: Network | str = ...,
    fit: Fit = ...,
    views: int | None = ...,
) -> Classification: ...
@typing.overload
def classify(
    image: list | tuple,
    *,
    network: Network | str = ...,
    fit: Fit = ...,
    views: int | None = ...,
) -> list[Classification]: ...
def classify(
    image: ImageSource | list | tuple,
    *,
    network: Network | str = "strong",
    fit: Fit = "squeeze",
    views: int | None = None,
) -> Classification | list[Classification]:
    """Says what a picture shows.

    A picture of any size and aspect is brought to 32×32 pixels by `prepare`. What is transparent
    counts as white.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on; or a
            list of such, which are classified in batches and give a list.
        network: an embedded one by name, or one that was trained or loaded.
        fit: how it comes to be square.
        views: over which logits are averaged, 1, 2 or 6; None takes the network's own number.
            Temperature and threshold are those of so many.

    Raises:
        ImageError: the picture cannot be read.
        SettingsError: another `fit` or other `views`.
        TypeError: `image` is of another type.
    """
    if isinstance(image, (list, tuple)):
        return list(classify_all(image, network=network, fit=fit, views=views))
    return next(classify_all([image], network=network, fit=fit, views=views))


def classify_all(
    images: Iterable,
    *,
    network: Network | str = "strong",
    fit: Fit = "squeeze",
    views: int | None = None,
    batch: int = 64,
) -> Iterator[Classification]:
    """Says what each picture shows, in order.

    Arguments and errors are those of `classify`. Pictures are read as results are asked for;
    `batch` of them are in memory at once, as 32×32 pixels.
    """
    if views not in (None, *VIEWS):
        raise SettingsError(f"--views is one of {', '.join(map(str, VIEWS))}, not {views}")
    if isinstance(network, str):
        network = load_network(network)
    small = (prepare(load_image(image), fit) for image in images)
    for group in batched(small, batch):
        yield from classify_prepared(np.stack(group), network, views)


def classify_prepared(
    images: np.ndarray, network: Network, views: int | None = None
) -> list[Classification]:
    """What pictures show that are 32×32 already.

    Args:
        images: uint8 (N, 32, 32, 3).
        network: by which.
        views: as `classify`.
    """
    start = time.perf_counter()
    logits = network.logits(images, views)
    seconds = (time.perf_counter() - start) / len(images)
    temperature, threshold = network.temperature_of(views), network.threshold_of(views)
    probabilities = calibration.probabilities(logits, temperature)
    energies = calibration.energy(logits, temperature)
    return [
        Classification(
            labels=tuple(CLASSES[i] for i in order),
            probabilities=row[order],
            energy=float(energy),
            known=threshold is None or bool(energy >= threshold),
            seconds=seconds,
            model=network.name,
        )
        for row, order, energy in zip(
            probabilities, np.argsort(-probabilities, axis=1, kind="stable"), energies, strict=True
        )
    ]


def prepare(image: np.ndarray, fit: Fit = "squeeze") -> np.ndarray:
    """A picture as the networks take it.

    Args:
        image: uint8 (H, W, 3).
        fit: "squeeze" brings the whole picture to 32×32 pixels, whatever its aspect; "crop" its
            largest square in the middle. Either way with antialiasing (Lanczos).

    Returns:
        uint8 (32, 32, 3).

    Raises:
        SettingsError: another `fit`.
    """
    return resize(seen(image, fit), (SIDE, SIDE))


def seen(image: np.ndarray, fit: Fit = "squeeze") -> np.ndarray:
    """The part of a picture that the networks come to see: all of it, or its middle.

    Raises:
        SettingsError: a `fit` other than squeeze and crop.
    """
    if fit == "squeeze":
        return image
    if fit != "crop":
        raise SettingsError(f"--fit is squeeze or crop, not {fit!r}")
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def batched(items: Iterable, size: int) -> Iterator[tuple]:
    """Groups of `size` items, as they are asked for; the last may be smaller."""
    items = iter(items)
    while group := tuple(itertools.islice(items, size)):
        yield group
