"""Objects found on pictures: `detect`."""

from __future__ import annotations

import difflib
import functools
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError, WeightsError
from atelier.media.images import ImageSource, load_image
from atelier.nets.weights import card as read_card
from atelier.nets.weights import load_embedded
from atelier.training.runs import load_run
from detection.annotations import Dataset, plain
from detection.config import DetectConfig
from detection.detections import Detections
from detection.network.architectures import ARCHITECTURES, resized
from detection.network.faster_rcnn import FasterRCNN
from detection.network.transform import prepare, restore

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of embedded weights and their cards."""

EMBEDDED = ("person", "blood-cells")
TORCHVISION = ("resnet50_fpn", "resnet50_fpn_v2")

DEFAULT = DetectConfig()


class Detector:
    """A trained network and its card.

    Args:
        model: the network.
        card: what trained it, and how good it is.
    """

    def __init__(self, model: FasterRCNN, card: dict):
        self.model, self.card = model, card

    @property
    def classes(self) -> tuple[str, ...]:
        """What it can find."""
        return self.model.classes

    def detect(self, image: np.ndarray) -> Detections:
        """All that is found on a picture with a score of at least 0.05, at most 100 objects.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        inputs = prepare([image], self.model.architecture)
        found = self.model.find({name: tf.constant(value) for name, value in inputs.items()})
        valid = found.valid[0].numpy()
        boxes = restore(found.boxes[0].numpy()[valid], inputs["sizes"][0], image.shape)
        labels = tuple(self.classes[label - 1] for label in found.labels[0].numpy()[valid])
        return Detections(boxes, found.scores[0].numpy()[valid], labels)

    def detect_all(self, dataset: Dataset) -> Iterator[Detections]:
        """`detect` on each picture of a data set, one at a time."""
        for item in dataset.items:
            yield self.detect(load_image(item.image))

    @classmethod
    def load(cls, folder: str | Path) -> Detector:
        """The network that a training left in its run folder.

        Raises:
            WeightsError: the folder holds no finished run, or a damaged one.
        """
        model, card = load_run(folder, own_thresholds)
        if not isinstance(model, FasterRCNN):
            raise WeightsError(f"{folder} holds a run of another task than detection")
        return cls(model, card)


@typing.overload
def detect(image: ImageSource, *, config: DetectConfig = ...) -> Detections: ...
@typing.overload
def detect(image: list | tuple, *, config: DetectConfig = ...) -> list[Detections]: ...
def detect(
    image: ImageSource | list | tuple, *, config: DetectConfig = DEFAULT
) -> Detections | list[Detections]:
    """Finds objects on a picture.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on; or a
            list of such, which are searched one after the other and give a list.
        config: the detector, and which of its detections are kept.

    Raises:
        ImageError: the picture cannot be read.
        SettingsError: no such model, or a class that it does not know.
        WeightsError: weights that are missing or damaged.
        TypeError: `image` is of another type.
    """
    detector = load_detector(config)
    check_classes(config.classes, detector.classes)
    if isinstance(image, (list, tuple)):
        pictures = map(load_image, image)
        return [choose(detector.detect(each), config, detector.card) for each in pictures]
    found = detector.detect(load_image(image))
    return choose(found, config, detector.card)


def choose(found: Detections, config: DetectConfig, card: Mapping) -> Detections:
    """Returns what of a detector's finds `config` wants.

    Args:
        found: what `Detector.detect` gave.
        config: what is kept.
        card: the detector's.
    """
    return found.select(threshold(config, card), config.classes or None)


def threshold(config: DetectConfig, card: Mapping) -> float | dict[str, float]:
    """Returns the score from which on finds are kept: what `config` names, or the detector's own,
    by class where its card names classes."""
    if config.threshold is not None:
        return config.threshold
    return own_thresholds(card) or own_threshold(card)


def own_thresholds(card: Mapping) -> dict[str, float]:
    """Returns for each class the score from which on a detector's finds are worth showing.

    Those that the detector's card sets, else where the class' F1 at an IoU of 0.5 was best on
    pictures held back from the training; `own_threshold` for a class that was not measured.

    Raises:
        ValueError: the card has a threshold outside [0, 1].
    """
    measured = _thresholds(card)
    usual = own_threshold(card)
    return {label: measured.get(label, usual) for label in (*card.get("classes", ()), *measured)}


def own_threshold(card: Mapping) -> float:
    """Returns one threshold for all classes: the mean of theirs, 0.5 where none was measured.

    Raises:
        ValueError: the card has a threshold outside [0, 1].
    """
    best = _thresholds(card).values()
    return round(sum(best) / len(best), 2) if best else 0.5


def _thresholds(card: Mapping) -> dict[str, float]:
    """Returns the thresholds that are set or were measured, by class, rounded to hundredths."""
    rows = card.get("validation", {}).get("classes", ())
    measured = {
        row["label"]: row["best_score"] for row in rows if row.get("best_score") is not None
    }
    best = {name: round(v, 2) for name, v in {**measured, **card.get("thresholds", {})}.items()}
    for value in best.values():
        if not 0 <= value <= 1:
            raise ValueError(f"a threshold of {value}")
    return best


def check_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuses names that a detector does not know.

    Raises:
        SettingsError: it names the first of them, those that are like it, and all classes.
    """
    lower = {name.lower(): name for name in known}
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), lower, n=3)
            hint = f" (is it {' or '.join(repr(lower[key]) for key in near)}?)" if near else ""
            classes = ", ".join(map(plain, dict.fromkeys(known)))
            raise SettingsError(f"--classes: no class {name!r}{hint}; there are {classes}")


def load_detector(config: DetectConfig = DEFAULT) -> Detector:
    """Loads the detector that `config` names, once: a run folder again once it has changed.

    Raises:
        SettingsError: no such model.
        WeightsError: weights that are missing or damaged.
    """
    return _load(config.model, config.weights, _state(config.model))


def _state(name: str) -> tuple[int, ...] | None:
    """Returns what changes when a run folder is trained anew."""
    try:
        card = (Path(name) / "card.json").stat()
    except (OSError, ValueError):
        return None
    return card.st_mtime_ns, card.st_size, card.st_ino


@functools.lru_cache(maxsize=2)
def _load(name: str, weights: Path | None, state: tuple[int, ...] | None) -> Detector:
    if name in EMBEDDED:
        return embedded(name)
    if name in TORCHVISION:
        from detection.network.torchvision_weights import load_torchvision

        return Detector(*load_torchvision(name, weights))
    if Path(name).is_dir():
        return Detector.load(name)
    known = ", ".join((*EMBEDDED, *TORCHVISION))
    raise SettingsError(f"--model: {name!r} is neither a run folder nor one of {known}")


def embedded(name: str) -> Detector:
    """A detector that comes with the package.

    Raises:
        WeightsError: the package is damaged.
    """
    try:
        card = read_card(name, WEIGHTS)
        architecture = resized(ARCHITECTURES[card["architecture"]], card.get("min_size"))
        model = FasterRCNN(architecture, card["classes"])
    except Exception:  # What is not as it should be raises half a dozen kinds of error.
        raise WeightsError(
            f"the card of {name} is missing or damaged; install the package anew"
        ) from None
    load_embedded(model, name, WEIGHTS)
    model.trainable = False
    return Detector(model, card)
