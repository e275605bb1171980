"""What a training is measured by while it runs: losses and AP on pictures held back."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from atelier.media.images import load_image
from atelier.media.sheets import contact_sheet
from detection.annotations import Dataset
from detection.draw import draw
from detection.measures.metrics import evaluate
from detection.network.faster_rcnn import LOSSES, FasterRCNN, Stage
from detection.network.transform import prepare
from detection.predict import Detector
from detection.training import data

SHOWN = 6
"""Pictures on a contact sheet."""


class Validation(keras.callbacks.Callback):
    """Adds losses and AP on pictures held back to some epochs' numbers, and draws a few of them.

    Args:
        dataset: the pictures.
        folder: where contact sheets go, `samples/epoch-0005.png` and so on; None: nowhere.
        every: epochs between measurements.
        epochs: in all; the last is measured, too.
    """

    def __init__(self, dataset: Dataset, folder: Path | None, every: int, epochs: int):
        super().__init__()
        self.dataset, self.folder, self.every, self.epochs = dataset, folder, every, epochs
        self.compiled = functools.cache(loss_function)

    def on_epoch_end(self, epoch, logs=None):
        for name in LOSSES:
            logs.setdefault(name, math.nan)
        numbers = dict.fromkeys(("val_loss", "val_ap", "val_ap50"), math.nan)
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs:
            with averaged(self.model):
                detector = Detector(self.model, {})
                found = list(detector.detect_all(self.dataset))
                numbers["val_loss"] = validation_loss(self.model, self.dataset, self.compiled)
            scores = evaluate(self.dataset, found)
            numbers |= {"val_ap": scores.ap, "val_ap50": scores.ap50}
            if self.folder is not None:
                self._draw(found, self.folder / "samples" / f"epoch-{epoch + 1:04d}.png")
        logs.update(numbers)

    def _draw(self, found, path: Path) -> None:
        chosen = range(0, len(found), max(1, len(found) // SHOWN))[:SHOWN]
        names = self.dataset.classes
        drawn = [
            draw(load_image(self.dataset.items[i].image), found[i].select(0.5), classes=names)
            for i in chosen
        ]
        contact_sheet(drawn, [self.dataset.items[i].name for i in chosen], path, side=640)


def loss_function(model: FasterRCNN, count: int, stage: Stage) -> Callable:
    """The sum of losses of a picture with `count` boxes, padding included, as a graph.

    It is one for pictures of any size, and of the stage that the model is at.
    """
    shapes = {"images": (1, None, None, 3), "sizes": (1, 2), "boxes": (1, count, 4)}
    signature = {name: tf.TensorSpec(shape, tf.float32) for name, shape in shapes.items()}
    signature["labels"] = tf.TensorSpec((1, count), tf.int32)
    if stage != model.stage:
        raise ValueError(f"the model is at stage {model.stage}, not {stage}")

    @tf.function(input_signature=[signature])
    def loss(inputs):
        return tf.add_n(list(model.compute_losses(inputs, training=False).values()))

    return loss


def validation_loss(
    model: FasterRCNN, dataset: Dataset, compiled: Callable = loss_function
) -> float:
    """The mean over pictures of the sum of losses, without augmentation.

    Args:
        compiled: gives `loss_function`, or what it gave before.
    """
    count = data.most_boxes(dataset)
    loss = compiled(model, count, model.stage)
    total = 0.0
    for item in dataset.items:
        inputs = prepare([load_image(item.image)], model.architecture)
        scale = inputs["sizes"][0] / item.size
        boxes = np.zeros((1, count, 4), np.float32)
        boxes[0, : len(item.boxes)] = item.boxes * scale[[1, 0, 1, 0]]
        labels = np.zeros((1, count), np.int32)
        labels[0, : len(item.boxes)] = data.taught_labels(item)
        inputs |= {"boxes": boxes, "labels": labels}
        total += float(loss({name: tf.constant(value) for name, value in inputs.items()}))
    return total / len(dataset)


@contextlib.contextmanager
def averaged(model: FasterRCNN) -> Iterator[None]:
    """Within it, the model has the mean of its weights, if the optimizer keeps one."""
    variables = model.trainable_variables
    latest = [variable.numpy() for variable in variables]
    model.optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, latest, strict=True):
            variable.assign(value)
