"""The report's network: its weights, its wiring, and that merging its branches changes nothing."""

import keras
import numpy as np
import pytest
from keras import ops

from superres.config import NetworkConfig
from superres.fixed_point.rounding import FixedPoint, Quantize
from superres.network.layers import Conv2D, DepthwiseConv2D, PixelShuffle
from superres.network.model import INPUT_FORMAT, build_network, collapse
from superres.resample import bicubic

ORDERS = (
    ("3x3", "3x3", "1x5", "1x5"),
    ("3x3", "1x5", "1x5", "3x3"),
    ("1x5", "3x3", "3x3", "1x5"),
    ("1x5", "1x5", "3x3", "3x3"),
)

TABLE = {
    "stem": (3, 3, 1, 32),
    "depthwise_1": (3, 3, 32, 1),
    "pointwise_1": (1, 1, 32, 16),
    "depthwise_2": (1, 5, 16, 1),
    "pointwise_2": (1, 1, 16, 32),
    "depthwise_3": (1, 5, 32, 1),
    "pointwise_3": (1, 1, 32, 16),
    "depthwise_4": (3, 3, 16, 1),
    "pointwise_4": (1, 1, 16, 4),
}
"""Shapes of kernels in the default network."""


def formats(fraction: int = 9) -> dict[str, FixedPoint]:
    """Hand-made: 10 bits for weights, 14 for activations."""
    found = {"input": INPUT_FORMAT, "interpolation": FixedPoint(14, 12)}
    for name in TABLE:
        found[name] = FixedPoint(14, fraction)
        found[f"{name}/kernel"] = FixedPoint(10, 8)
    return found


def shake(network: keras.Model, rng) -> None:
    """Moves all weights, so that nothing is as it was initialised."""
    for weight in network.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape).astype(np.float32))


# === Weights ===


@pytest.mark.parametrize("kernels", ORDERS)
@pytest.mark.parametrize("residuals", [(2,), (3,)])
def test_2560_weights_whatever_the_report_leaves_open(kernels, residuals):
    network = build_network(NetworkConfig(kernels=kernels, residuals=residuals))
    assert network.count_params() == 2560
    assert not any(getattr(layer, "use_bias", False) for layer in network.layers)
    assert len(network.weights) == 9  # A kernel a convolution, and nothing else.


def test_layer_table():
    network = build_network(NetworkConfig())
    kernels = {
        layer.name: tuple(layer.kernel.shape)
        for layer in network.layers
        if isinstance(layer, (Conv2D, DepthwiseConv2D))
    }
    assert kernels == TABLE


@pytest.mark.parametrize(("scale", "channels"), [(2, 4), (3, 9), (4, 16)])
def test_scales(scale, channels):
    config = NetworkConfig(scale=scale)
    network = build_network(config)
    assert network.get_layer("shuffle").input.shape[-1] == channels
    assert network.count_params() == config.parameters == 2560 + 16 * (channels - 4)
    assert network(np.zeros((2, 5, 7, 1), np.float32)).shape == (2, 5 * scale, 7 * scale, 1)


def test_weights_start_uniform_and_the_network_as_interpolation(luma):
    keras.utils.set_random_seed(0)
    network = build_network(NetworkConfig())
    stem = np.asarray(network.get_layer("stem").kernel)
    limit = (1.5 / 9) ** 0.5
    assert 0.95 * limit < np.abs(stem).max() <= limit
    assert stem.var() == pytest.approx(limit**2 / 3, rel=0.2)
    plane = luma[0, ..., 0] * 256
    found = np.asarray(network(luma))[0, ..., 0] * 256
    interpolated = bicubic(plane, found.shape)
    inside = slice(8, -8)
    difference = np.abs(found - interpolated)[inside, inside]
    assert 0 < difference.mean() < 10


def test_training_adds_to_an_interpolation_without_a_frame():
    network = build_network(NetworkConfig())
    last = network.get_layer("pointwise_4").kernel
    last.assign(ops.zeros_like(last))
    grey = np.full((1, 8, 9, 1), 0.5, np.float32)
    trained = np.asarray(network(grey, training=True))
    np.testing.assert_array_equal(trained, np.full((1, 16, 18, 1), 0.5))
    used = np.asarray(network(grey))
    assert used[0, 0, 9, 0] < 0.45, "in use zeros lie beyond the border"
    np.testing.assert_array_equal(used[:, 4:-4, 4:-4], trained[:, 4:-4, 4:-4])


def test_seed_decides():
    def stem(seed):
        keras.utils.set_random_seed(seed)
        return np.asarray(build_network(NetworkConfig()).get_layer("stem").kernel)

    np.testing.assert_array_equal(stem(1), stem(1))
    assert (stem(1) != stem(2)).any()


# === Wiring ===


@pytest.mark.parametrize("residuals", [(), (2,), (3,), (2, 3)])
@pytest.mark.parametrize("interpolation", ["bicubic", "nearest"])
def test_wiring_step_by_step(residuals, interpolation, luma, rng):
    """Fig. 1 of the report, written out."""
    config = NetworkConfig(residuals=residuals, interpolation=interpolation)
    network = build_network(config)
    shake(network, rng)

    def separable(x, number):
        x = ops.depthwise_conv(x, kernel[f"depthwise_{number}"], padding="same")
        return ops.conv(x, kernel[f"pointwise_{number}"], padding="same")

    kernel = {name: network.get_layer(name).kernel for name in TABLE}
    first = ops.relu(ops.conv(luma, kernel["stem"], padding="same"))
    second = ops.relu(separable(first, 1))
    third = separable(second, 2)
    third = ops.relu(third + first if 2 in residuals else third)
    fourth = separable(third, 3)
    fourth = ops.relu(fourth + second if 3 in residuals else fourth)
    detail = np.asarray(PixelShuffle(2)(separable(fourth, 4)))
    found = np.asarray(network(luma))
    inside = slice(4, -4)  # Where interpolation sees no border.
    for n, plane in enumerate(luma[..., 0]):
        size = detail.shape[1:3]
        base = (
            plane.repeat(2, 0).repeat(2, 1) if interpolation == "nearest" else bicubic(plane, size)
        )
        expected = detail[n, ..., 0] + base
        np.testing.assert_allclose(found[n, inside, inside, 0], expected[inside, inside], atol=1e-5)
    assert np.abs(detail).max() > 0.02


@pytest.mark.parametrize(
    ("kernels", "rows", "columns"),
    [
        (("3x3", "1x5", "1x5", "3x3"), 3, 7),
        (("1x5", "3x3", "3x3", "1x5"), 3, 7),
        (("9x1", "1x1", "3x1", "1x1"), 6, 2),
        (("1x1", "1x1", "1x1", "1x1"), 2, 2),
    ],
)
def test_halo_is_how_far_a_pixel_has_an_influence(kernels, rows, columns, rng):
    config = NetworkConfig(kernels=kernels)
    network = build_network(config)
    for weight in network.weights:  # Nothing cancels, and no ReLU cuts anything off.
        weight.assign(rng.uniform(0.5, 1, weight.shape) / np.sqrt(weight.shape[2] + 8))
    dark = np.full((1, 33, 33, 1), 0.5, np.float32)
    light = dark.copy()
    light[0, 16, 16] = 1
    changed = np.asarray(network(light) - network(dark))[0, ..., 0] != 0
    changed = changed.reshape(33, 2, 33, 2).any(axis=(1, 3))
    reached = np.abs(np.argwhere(changed) - 16).max(axis=0)
    assert reached.tolist() == [rows, columns]
    assert config.halo == max(rows, columns)


# === Branches ===


@pytest.mark.parametrize("residuals", [(2,), (3,)])
def test_collapsed_network_is_the_same_function(residuals, luma, rng):
    config = NetworkConfig(residuals=residuals)
    network = build_network(config, branched=True)
    assert network.count_params() > 2 * 2560
    for _ in range(2):
        plain = collapse(network, config)
        assert plain.count_params() == 2560
        assert plain.name == network.name
        np.testing.assert_allclose(plain(luma), network(luma), atol=1e-5)
        assert np.std(network(luma)) > 0.05
        shake(network, rng)


def test_collapsed_network_is_of_its_own(network, luma):
    plain = collapse(network, NetworkConfig())
    before = np.asarray(plain(luma))
    np.testing.assert_array_equal(before, network(luma))
    for weight in network.weights:
        weight.assign(ops.zeros_like(weight))
    np.testing.assert_array_equal(plain(luma), before)


def test_flat_areas_give_no_detail_in_a_branched_network():
    network = build_network(NetworkConfig(), branched=True)
    found = np.asarray(network(np.full((1, 30, 30, 1), 0.6, np.float32)))
    np.testing.assert_allclose(found[0, 20:-20, 20:-20], 0.6, atol=1e-5)


def test_branched_network_in_fixed_point_collapses_exactly(luma, rng):
    network = build_network(NetworkConfig(), formats(), branched=True)
    shake(network, rng)
    plain = collapse(network, NetworkConfig(), formats())
    np.testing.assert_array_equal(plain(luma), network(luma))


# === Fixed point ===


def test_all_weights_and_activations_are_in_their_formats(luma, rng):
    network = build_network(NetworkConfig(), formats())
    shake(network, rng)
    rounded = [layer for layer in network.layers if isinstance(layer, Quantize)]
    assert {layer.name.removesuffix("_quantize") for layer in rounded} == {
        *("input", "interpolation", *TABLE)
    }
    for layer in rounded:
        assert layer.format == formats()[layer.name.removesuffix("_quantize")]
    probe = keras.Model(network.input, [layer.output for layer in rounded])
    for layer, values in zip(rounded, probe(luma), strict=True):
        codes = np.asarray(values) * 2.0**layer.format.fraction
        assert (codes == np.rint(codes)).all(), layer.name
        assert layer.format.lowest <= codes.min() <= codes.max() <= layer.format.highest
    for name in TABLE:
        kernel = np.asarray(network.get_layer(name).effective_kernel()) * 2.0**8
        assert (kernel == np.rint(kernel)).all()
        assert np.abs(kernel).max() <= 512


def test_convolutions_round_once_after_residual_and_relu(luma, rng):
    """Coarse activations, so that rounding twice would show."""
    network = build_network(NetworkConfig(), formats(fraction=3))
    shake(network, rng)
    names = ["pointwise_1_quantize", "depthwise_3_quantize", "pointwise_3_quantize"]
    probe = keras.Model(network.input, [network.get_layer(name).output for name in names])
    first, depthwise, found = probe(luma)
    kernel = network.get_layer("pointwise_3").effective_kernel()
    expected = np.asarray(ops.relu(ops.conv(depthwise, kernel) + first))
    np.testing.assert_array_equal(found, np.floor(expected * 8 + 0.5) / 8)


def test_8_bit_luma_passes_the_input_format(luma):
    np.testing.assert_array_equal(INPUT_FORMAT.decode(INPUT_FORMAT.encode(luma)), luma)
    assert INPUT_FORMAT.encode(255 / 256) == 255


def test_gradients_reach_every_weight_of_a_network_in_fixed_point(luma):
    network = build_network(NetworkConfig(), formats())
    network.compile(keras.optimizers.SGD(1.0), "mae")
    before = network.get_weights()
    network.train_on_batch(luma, np.repeat(np.repeat(luma, 2, 1), 2, 2))
    for old, new in zip(before, network.get_weights(), strict=True):
        assert (old != new).any()


# === Files ===


@pytest.mark.parametrize("branched", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_network_comes_back_from_a_file_exactly(branched, fixed, luma, rng, reload):
    network = build_network(NetworkConfig(), formats() if fixed else None, branched=branched)
    shake(network, rng)
    loaded = reload(network)
    assert loaded.name == "superres"
    np.testing.assert_array_equal(loaded(luma), network(luma))
    for layer in network.layers:
        twin = loaded.get_layer(layer.name)
        assert type(twin) is type(layer)
        assert getattr(twin, "kernel_format", None) == getattr(layer, "kernel_format", None)
    if branched:
        plain = collapse(loaded, NetworkConfig(), formats() if fixed else None)
        np.testing.assert_allclose(plain(luma), network(luma), atol=1e-5)
