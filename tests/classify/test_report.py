"""The report's network and settings: its Fig. 12 to 15, number for number."""

import dataclasses

import keras
import numpy as np
import pytest

from classify import train as module
from classify.data import Batches
from classify.report import build_report
from classify.train import PRESETS, REPORT, TrainConfig, batches, trainee

TABLE = [
    ("Conv2D", (32, 32, 32), 896),
    ("Dropout", (32, 32, 32), 0),
    ("Conv2D", (32, 32, 32), 9248),
    ("MaxPooling2D", (16, 16, 32), 0),
    ("Conv2D", (16, 16, 64), 18496),
    ("Dropout", (16, 16, 64), 0),
    ("Conv2D", (16, 16, 64), 36928),
    ("MaxPooling2D", (8, 8, 64), 0),
    ("Conv2D", (8, 8, 128), 73856),
    ("Dropout", (8, 8, 128), 0),
    ("Conv2D", (8, 8, 128), 147584),
    ("MaxPooling2D", (4, 4, 128), 0),
    ("Flatten", (2048,), 0),
    ("Dropout", (2048,), 0),
    ("Dense", (1024,), 2098176),
    ("Dropout", (1024,), 0),
    ("Dense", (512,), 524800),
    ("Dropout", (512,), 0),
    ("Dense", (10,), 5130),
]
"""Each layer of Fig. 14, its output and its number of parameters."""


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_report()


def of_kind(model, kind) -> list:
    return [layer for layer in model.layers if isinstance(layer, kind)]


# === The network ===


def test_layers_are_those_of_the_report(model):
    found = [
        (type(layer).__name__, layer.output.shape[1:], layer.count_params())
        for layer in model.layers
    ]
    assert found == TABLE
    assert model.count_params() == 2_915_114
    assert model.input_shape == (None, 32, 32, 3)


def test_convolutions_keep_the_sides_and_pooling_halves_them(model):
    for layer in of_kind(model, keras.layers.Conv2D):
        assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (1, 1), "same")
    for layer in of_kind(model, keras.layers.MaxPooling2D):
        assert (layer.pool_size, layer.strides) == ((2, 2), (2, 2))


def test_activations_are_relu_and_softmax_at_the_end(model):
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    names = [layer.activation.__name__ for layer in model.layers if isinstance(layer, kinds)]
    assert names == ["relu"] * 8 + ["softmax"]


def test_a_fifth_is_dropped_everywhere(model):
    rates = [layer.rate for layer in of_kind(model, keras.layers.Dropout)]
    assert rates == [0.2] * 6


def test_both_hidden_dense_layers_alone_are_bounded_in_norm(model):
    bounds = {
        layer.name: layer.kernel_constraint
        for layer in of_kind(model, (keras.layers.Conv2D, keras.layers.Dense))
        if layer.kernel_constraint is not None
    }
    hidden = of_kind(model, keras.layers.Dense)[:2]
    assert list(bounds) == [layer.name for layer in hidden]
    for bound in bounds.values():
        assert isinstance(bound, keras.constraints.MaxNorm)
        assert bound.max_value == 3
    assert all(layer.bias_constraint is None for layer in hidden)


def test_it_gives_probabilities(model, rng):
    found = model.predict_on_batch(rng.random((5, 32, 32, 3), np.float32))
    assert found.shape == (5, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_names_are_the_same_however_many_networks_there_are(model):
    """As those of the first in a process: embedded weights are found by them."""
    names = [layer.name for layer in build_report().layers]
    assert names == [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert names[:4] == ["conv2d", "dropout", "conv2d_1", "max_pooling2d"]
    assert names[-5:] == ["dense", "dropout_4", "dense_1", "dropout_5", "dense_2"]


def test_a_round_trip_through_a_file_is_exact(model, reload, rng):
    images = rng.random((3, 32, 32, 3), np.float32)
    loaded = reload(model)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))
    for one, other in zip(loaded.layers, model.layers, strict=True):
        assert one.get_config() == other.get_config()


# === The settings ===


def test_preset_is_what_the_report_says(drawn):
    config = PRESETS["report"]
    assert config == REPORT == TrainConfig()
    assert (config.network, config.epochs, config.batch) == ("report", 25, 32)
    assert (config.optimizer, config.learning_rate, config.momentum) == ("sgd", 0.01, 0.9)
    assert config.label_smoothing == 0
    assert config.held_back == 0, "trained on all 50,000 pictures"
    assert (config.views, config.precision) == (1, "float32")
    data = batches(config, drawn.train)
    assert isinstance(data, Batches)
    assert (data.flip, data.translate, data.cutout) == ("none", 0, 0), "no augmentation"
    assert sum(len(data[i][1]) for i in range(len(data))) == len(drawn.train)


def test_it_is_trained_by_sgd_on_cross_entropy_of_probabilities(drawn):
    model = trainee(REPORT, drawn.train)
    assert type(model.optimizer) is keras.optimizers.SGD
    assert model.optimizer.momentum == 0.9
    assert not model.optimizer.nesterov
    assert model.loss.get_config()["from_logits"] is False
    images, labels = batches(REPORT, drawn.train)[0]
    result = model(images, training=True)
    # At the start all classes are about equally probable.
    assert float(model.loss(labels, result)) == pytest.approx(np.log(10), abs=0.3)


@pytest.mark.parametrize(("rate", "epochs"), [(0.01, 25), (0.2, 2)])
def test_learning_rate_decays_as_the_report_says(rate, epochs):
    """Through the optimizer's own steps: lr / (1 + decay · t), where decay = lr / epochs."""
    config = dataclasses.replace(REPORT, learning_rate=rate, epochs=epochs, momentum=0.0)
    optimizer = module._optimizer(config, steps=40)
    weight = keras.Variable([5.0])
    changes = []
    for _ in range(40):
        before = float(weight[0])
        optimizer.apply([np.float32([1])], [weight])
        changes.append(before - float(weight[0]))
    expected = [rate / (1 + rate / epochs * t) for t in range(40)]
    np.testing.assert_allclose(changes, expected, atol=1e-6)
    assert expected[-1] < expected[0]
