"""What a training is measured by while it runs."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.media.images import load_image
from detection.annotations import read_dataset
from detection.detections import Detections
from detection.network.faster_rcnn import LOSSES
from detection.network.transform import fitted_size, normalize, resize
from detection.training import validation as module
from detection.training.validation import Validation, averaged, validation_loss


@pytest.fixture
def model():
    """A layer that has taken two steps, with the mean of its weights."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75), "mse")
    model.set_weights([np.float32([[4]])])
    for target in (3.0, 1.0):
        model.train_on_batch(np.float32([[1]]), np.float32([[target]]))
    return model


def test_the_mean_is_there_within_and_the_latest_after(model):
    """w: 4, then 4 - 2 (4 - 3) = 2, then 2 - 2 (2 - 1) = 0; their mean: 2, then ¾ 2 + ¼ 0."""
    assert model.get_weights()[0].item() == 0
    with averaged(model):
        assert model.get_weights()[0].item() == 1.5
    assert model.get_weights()[0].item() == 0
    with pytest.raises(RuntimeError), averaged(model):
        raise RuntimeError
    assert model.get_weights()[0].item() == 0


def test_without_a_mean_the_latest_stays(model):
    model.compile(keras.optimizers.SGD(), "mse")
    model.train_on_batch(np.float32([[1]]), np.float32([[0]]))
    with averaged(model):
        assert model.get_weights()[0].item() == 0


@pytest.fixture
def measured(model, shapes, tmp_path, monkeypatch):
    """Validation of a model that finds all, and with what weights it was asked."""
    asked = []
    dataset = read_dataset(shapes)

    class Knowing:
        def __init__(self, asked_model, card):
            assert asked_model is model

        def detect_all(self, pictures):
            asked.append(model.get_weights()[0].item())
            for item in pictures.items:
                names = tuple(pictures.classes[label] for label in item.labels)
                yield Detections(item.boxes, np.linspace(0.9, 0.6, len(names)), names)

    monkeypatch.setattr(module, "Detector", Knowing)
    monkeypatch.setattr(module, "validation_loss", lambda *_: 1.5)
    callback = Validation(dataset, tmp_path, every=2, epochs=5)
    callback.set_model(model)
    return callback, asked


def test_each_second_epoch_and_the_last_are_measured(measured, tmp_path):
    callback, asked = measured
    rows = []
    for epoch in range(5):
        rows.append({"loss": 3.0, "class": 1.0})
        callback.on_epoch_end(epoch, rows[-1])
    names = {"loss", *LOSSES, "val_loss", "val_ap", "val_ap50"}
    assert all(row.keys() == names for row in rows), "history.csv has the same columns always"
    assert all(row["class"] == 1 and math.isnan(row["rpn_box"]) for row in rows)
    for number, row in enumerate(rows, 1):
        values = [row[name] for name in ("val_loss", "val_ap", "val_ap50")]
        if number in (2, 4, 5):
            assert values == pytest.approx([1.5, 1, 1])
        else:
            assert np.isnan(values).all()
    assert asked == [1.5] * 3, "with the mean of the weights"
    files = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert files == ["epoch-0002.png", "epoch-0004.png", "epoch-0005.png"]


def test_the_sheet_shows_some_pictures_with_boxes(measured, tmp_path):
    callback, _ = measured
    callback.on_epoch_end(1, {})
    sheet = load_image(tmp_path / "samples" / "epoch-0002.png")
    assert sheet.shape[1] > 3 * 640
    plain = (sheet == (255, 255, 255)).all(axis=-1).mean()
    assert plain < 0.5, "six pictures in three columns"


def test_the_loss_is_the_mean_over_pictures_of_the_sum(detector, shapes):
    """As one by one, with the boxes brought to the network's picture by hand."""
    dataset = read_dataset(shapes)
    dataset = type(dataset)("two", dataset.classes, dataset.items[:2])
    model, losses = detector.model, []
    for item in dataset.items:
        size = fitted_size(item.size, model.architecture)
        image = normalize(
            resize(load_image(item.image), size, True), model.architecture
        )  # 96 × 128 already, and no multiple of 64.
        padded = np.zeros((1, 128, 128, 3), np.float32)
        padded[0, : size[0], : size[1]] = image
        found = model.compute_losses(
            {
                "images": tf.constant(padded),
                "sizes": tf.constant([size], tf.float32),
                "boxes": tf.constant(item.boxes[None]),
                "labels": tf.constant(item.labels[None] + 1, tf.int32),
            },
            training=False,
        )
        assert found.keys() == set(LOSSES)
        losses.append(sum(map(float, found.values())))
    assert validation_loss(model, dataset) == pytest.approx(np.mean(losses), rel=1e-4)
