"""The pyramid on ResNet: its shapes, what it trains, and its file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from detection.network.resnet import FROZEN, NearestLike, resnet50_fpn

SMALL = {"width": 2, "depths": (1, 2, 1, 1), "channels": 4}
TRAINED = {**SMALL, "width": 64, "channels": 256}
"""As wide as the network that ships, for gradients; see `docs/devices.md`, "Processors"."""


@pytest.fixture(scope="module", params=[False, True], ids=["v1", "v2"])
def norm(request):
    return request.param


@pytest.fixture(scope="module")
def small(norm):
    keras.utils.set_random_seed(0)
    return resnet50_fpn(norm, **SMALL)


def pictures(height, width, count=1):
    rng = np.random.default_rng(height)
    return rng.normal(size=(count, height, width, 3)).astype(np.float32)


# === NearestLike ===


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (3, 5, [0, 0, 1, 1, 2]),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (4, 7, [0, 0, 1, 1, 2, 2, 3]),
        (1, 3, [0, 0, 0]),
        (5, 3, [0, 1, 3]),
    ],
)
def test_each_value_is_that_at_or_before_its_place(old, new, expected):
    maps = np.arange(old, dtype=np.float32).reshape(1, old, 1, 1) * np.ones((1, 1, 2, 3), "float32")
    resized = NearestLike()([maps, np.zeros((1, new, 2, 5), np.float32)])
    assert resized.shape == (1, new, 2, 3)
    np.testing.assert_array_equal(resized[0, :, 1, 2], expected)


# === The pyramid ===


@pytest.mark.parametrize("size", [(64, 128), (75, 50), (33, 97), (1, 1)])
def test_sizes_are_halved_upwards(small, size):
    maps = small(pictures(*size, count=2))
    expected = [tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32, 64)]
    assert [tuple(each.shape) for each in maps] == [(2, *each, 4) for each in expected]
    assert all(np.isfinite(each).all() for each in maps)


def test_the_coarsest_level_is_each_second_position_of_the_one_before(small):
    *_, p5, p6 = small(pictures(160, 130))
    np.testing.assert_array_equal(p6, p5[:, ::2, ::2])


def test_coarser_levels_are_added_to_finer_ones(small):
    """The finest level changes as a whole where only the coarsest stage changes."""
    x = pictures(64, 64)
    before = small(x)
    kernel = small.get_layer("inner5").kernel
    kernel.assign(kernel + 1)
    for old, new in zip(before, small(x), strict=True):
        assert np.abs(old - new).max() > 1e-3


def test_one_graph_is_for_all_sizes(small):
    traced = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def maps(x):
        traced.append(x)
        return small(x)

    for size in ((64, 64), (75, 50)):
        x = pictures(*size)
        for graph, eager in zip(maps(x), small(x), strict=True):
            np.testing.assert_allclose(graph, eager, rtol=1e-4, atol=1e-4)
    assert len(traced) == 1


def test_normalisation(small, norm):
    """The first version's published weights are of one without ε, and of a pyramid without any."""
    norms = [layer for layer in small.layers if isinstance(layer, layers.BatchNormalization)]
    assert {layer.epsilon for layer in norms} == {1e-5 if norm else 0.0}
    assert len(norms) == 1 + 5 * 3 + 4 + (8 if norm else 0)
    pyramid = [small.get_layer(f"{kind}{level}") for kind in ("inner", "p") for level in (2, 5)]
    assert {layer.use_bias for layer in pyramid} == {not norm}


def test_what_is_trained(norm):
    """As in torchvision, not the stem nor the first stage, and in version 1 no normalisation."""
    model = resnet50_fpn(norm, **TRAINED)
    trained = {layer.name for layer in model.layers if layer.trainable_weights}
    assert not any(name.startswith(FROZEN) for name in trained)
    assert {"body_layer2_1_conv2", "body_layer4_0_downsample_0", "inner2", "p5"} <= trained
    assert ("body_layer2_1_bn2" in trained) == norm
    assert ("p2_norm" in trained) == norm
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(each**2) for each in model(pictures(64, 64), training=True)])
    gradients = tape.gradient(loss, model.trainable_weights)
    assert all(gradient is not None for gradient in gradients)


def test_statistics_that_training_changes(small, norm):
    before = {layer.name: layer.get_weights() for layer in small.layers if layer.weights}
    small(pictures(64, 64), training=True)
    changed = {
        name
        for name, weights in before.items()
        if any(map(np.any, (a != b for a, b in zip(weights, _now(small, name), strict=True))))
    }
    if norm:
        assert {"body_layer2_0_bn1", "p2_norm"} <= changed
    else:
        assert not changed
    assert not any(name.startswith(FROZEN) for name in changed)


def _now(model, name):
    return model.get_layer(name).get_weights()


def test_the_round_trip_is_exact(small, tmp_path):
    small.save(tmp_path / "net.keras")
    read = keras.saving.load_model(tmp_path / "net.keras")
    assert [w.path for w in read.trainable_weights] == [w.path for w in small.trainable_weights]
    x = pictures(75, 50)
    for ours, theirs in zip(small(x), read(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
