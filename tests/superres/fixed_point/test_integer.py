"""The network in integers: literal numbers, and Keras against it."""

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError
from superres.config import NetworkConfig
from superres.fixed_point.integer import Codes, IntegerNetwork
from superres.fixed_point.rounding import FixedPoint
from superres.network.model import build_network
from superres.network.topology import convolutions, input_of, joined_to
from superres.networks import WEIGHTS, Network, load_stored
from superres.training.data import luma_8_bit

CONFIGS = {
    "report": NetworkConfig(),
    "two residuals": NetworkConfig(widths=(8, 6, 8, 6), residuals=(2, 3), scale=3),
    "joined to the stem": NetworkConfig(
        widths=(4, 6, 4),
        kernels=("3x3", "1x5", "5x1"),
        residuals=(2,),
        scale=4,
        interpolation="nearest",
    ),
    "no residual": NetworkConfig(widths=(3,), kernels=("7x1",), residuals=(), scale=2),
}


def array(*values):
    return np.array(values, np.int64)


# === Literal numbers ===


def test_rounding_is_half_up_by_shifting():
    halves = Codes(array(-5, -4, -3, -2, -1, 0, 1, 2, 3), 1)
    rounded = halves.round(FixedPoint(8, 0))
    assert rounded.fraction == 0
    np.testing.assert_array_equal(rounded.values, [-2, -2, -1, -1, 0, 0, 1, 1, 2])


def test_rounding_saturates():
    codes = Codes(array(-1000, -131, -130, 125, 126, 1000), 2).round(FixedPoint(6, 0))
    np.testing.assert_array_equal(codes.values, [-32, -32, -32, 31, 31, 31])


def test_finer_format_shifts_left():
    codes = Codes(array(-3, 5), 1).round(FixedPoint(8, 4))
    np.testing.assert_array_equal(codes.values, [-24, 40])
    np.testing.assert_array_equal(codes.real, [-1.5, 2.5])


def test_sum_is_exact_at_the_finer_fraction():
    total = Codes(array(3), 1) + Codes(array(-1), 4)  # 1.5 - 0.0625
    assert (total.values.item(), total.fraction) == (23, 4)


def test_convolution_by_hand():
    pixels = Codes(array([1, 2], [3, 4])[..., None], 3)
    kernel = np.zeros((3, 3, 1, 2), np.int64)
    kernel[1, 1, 0, 0], kernel[0, 2, 0, 0] = 10, 1  # The pixel, and that above to the right.
    kernel[..., 0, 1] = 1
    result = pixels.convolve(Codes(kernel, 2))
    assert result.fraction == 5
    np.testing.assert_array_equal(result.values[..., 0], [[10, 20], [32, 40]])
    np.testing.assert_array_equal(result.values[..., 1], [[10, 10], [10, 10]])


def test_depthwise_convolution_by_hand():
    pixels = Codes(array([[1, 10], [2, 20], [3, 30]]), 0)
    kernel = array([[1, 0], [0, 0], [0, 2]])[..., None]  # (1, 3, 2, 1): left neighbour; right one.
    result = pixels.convolve(Codes(kernel, 0), depthwise=True)
    np.testing.assert_array_equal(result.values, [[[0, 40], [1, 60], [2, 0]]])


@pytest.fixture
def smallest() -> Network:
    """One channel, one pixel's view, nearest: small enough to be computed by hand."""
    config = NetworkConfig(widths=(1,), kernels=("1x1",), residuals=(), interpolation="nearest")
    formats = {
        "input": (9, 8),
        "interpolation": (8, 6),
        "stem": (8, 6),
        "stem/kernel": (4, 2),
        "depthwise_1": (8, 7),
        "depthwise_1/kernel": (4, 2),
        "pointwise_1": (5, 6),
        "pointwise_1/kernel": (4, 1),
    }
    formats = {name: FixedPoint(*format) for name, format in formats.items()}
    model = build_network(config, formats)
    stem = np.zeros((3, 3, 1, 1), np.float32)
    stem[1, 1] = 0.75
    model.set_weights(
        [stem, np.full((1, 1, 1, 1), -0.75), np.array([0.5, -1, 1.5, 3.5]).reshape(1, 1, 1, 4)]
    )
    shape = {"scale": 2, "widths": [1], "kernels": ["1x1"], "residuals": []}
    stored = {name: vars(format) for name, format in formats.items()}
    shape["interpolation"] = "nearest"
    return Network(model, {"network": "ours", "shape": shape, "formats": stored})


def test_smallest_network_by_hand(smallest):
    """Luma 102 of 256: each step's integers, as one does them on paper."""
    luma = np.full((1, 1), 102, np.uint8)
    network = IntegerNetwork.of(smallest)
    # Stem: 102·3 = 306 in 2^-10; half up to 2^-6: (306 + 8) >> 4 = 19.
    # Depthwise: 19·-3 = -57 in 2^-8; to 2^-7: (-57 + 1) >> 1 = -28.
    # Pointwise: -28·(1, -2, 3, 7) = (-28, 56, -84, -196) in 2^-8; to 2^-6: (-7, 14, -21, -49);
    # five bits hold -16 to 15.
    core = network.core(luma)
    assert core.fraction == 6
    np.testing.assert_array_equal(core.values, [[[-7, 14, -16, -16]]])
    # Interpolation: 102 in 2^-8, to 2^-6: 25.5, so 26.
    result = network(luma)
    assert result.fraction == 6
    np.testing.assert_array_equal(result.values, [[19, 40], [10, 10]])
    expected = np.array([[19, 40], [10, 10]]) / 64
    output = smallest.model(np.float32(luma / 256)[None, ..., None]).numpy()
    np.testing.assert_array_equal(output[0, ..., 0], expected)


def test_accumulator_by_hand(smallest):
    network = IntegerNetwork.of(smallest)
    # |3| times 2^8, of 9 bits: 768 takes 10 bits and a sign.
    assert network.accumulator("stem") == (11, 10)
    # |7| times 2^7: 896 takes 10 bits and a sign.
    assert network.accumulator("pointwise_1") == (11, 8)


# === Keras ===


def run(model, luma):
    dtype = model.compute_dtype
    return model(luma[None, ..., None].astype(dtype) / 256).numpy()[0, ..., 0]


def in_float64(network: Network) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = build_network(network.config, network.formats)
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(network.model.get_weights())
    return model


@pytest.fixture(scope="module")
def planes(photo):
    """A photo's luma, noise, the darkest and the lightest, one row, one pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    flat = np.stack([np.zeros((9, 12)), np.full((9, 12), 255)]).astype(np.uint8)
    luma = luma_8_bit(photo)
    return [luma[10:50, 20:75], noise, *flat, luma[:1, :40], luma[:1, :1]]


@pytest.mark.parametrize("bits", [(10, 14), (16, 16)])
@pytest.mark.parametrize("name", CONFIGS)
def test_keras_in_float64_is_equal(fixed_point_network, planes, name, bits):
    network = fixed_point_network(CONFIGS[name], bits)
    integers, model = IntegerNetwork.of(network), in_float64(network)
    for luma in planes:
        result = integers(luma)
        assert result.values.shape == tuple(network.scale * side for side in luma.shape)
        np.testing.assert_array_equal(run(model, luma), result.real)


@pytest.mark.parametrize("name", CONFIGS)
def test_keras_in_float32_is_equal_where_it_holds_all_sums(fixed_point_network, planes, name):
    network = fixed_point_network(CONFIGS[name], (8, 10), seed=1)
    integers = IntegerNetwork.of(network)
    widest = max(integers.accumulator(name)[0] for name in convolutions(network.config))
    assert widest <= 24
    for luma in planes:
        np.testing.assert_array_equal(run(network.model, luma), integers(luma).real)


def test_keras_in_float32_is_at_most_a_few_last_places_off(fixed_point_network, planes):
    network = fixed_point_network(CONFIGS["report"])
    integers = IntegerNetwork.of(network)
    luma = planes[0]
    off = np.abs(run(network.model, luma) - integers(luma).real) * 2.0**integers.fraction
    assert off.max() <= 4
    assert np.mean(off > 0) < 0.005


@pytest.mark.parametrize("file", sorted(WEIGHTS.glob("*.npz")), ids=lambda file: file.stem)
def test_embedded_networks_are_equal_in_float32(file, planes):
    network = load_stored(file.stem)
    if network.formats is None:
        pytest.skip("a network of floats")
    integers = IntegerNetwork.of(network)
    np.testing.assert_array_equal(run(network.model, planes[0]), integers(planes[0]).real)


@pytest.mark.parametrize("name", CONFIGS)
def test_accumulators_hold_the_widest_sums(fixed_point_network, name):
    """Of inputs with the signs of the kernels, as large as their format allows."""
    network = IntegerNetwork.of(fixed_point_network(CONFIGS[name]))
    for layer in convolutions(network.config):
        source = network.formats[input_of(layer, network.config)]
        kernel = network.kernels[layer]
        depthwise = layer.startswith("depthwise")
        signs = np.sign(kernel.values[..., 0])  # (kh, kw, C): of the first filter.
        pixels = np.where(signs < 0, source.lowest, source.highest) * (signs != 0)
        total = Codes(pixels, source.fraction).convolve(kernel, depthwise=depthwise)
        joined = joined_to(layer, network.config)
        if joined is not None:
            format = network.formats[joined]
            total = total + Codes(array(format.highest), format.fraction)
        bits, fraction = network.accumulator(layer)
        assert total.fraction == fraction
        assert np.abs(total.values).max() < 2 ** (bits - 1)


def test_network_of_floats_is_refused(fixed_point_network):
    network = fixed_point_network(CONFIGS["no residual"])
    floats = Network(network.model, {**network.card, "formats": None})
    with pytest.raises(SettingsError, match="network of floats"):
        IntegerNetwork.of(floats)


def test_other_networks_are_refused(fixed_point_network):
    network = fixed_point_network(CONFIGS["no residual"])
    with pytest.raises(SettingsError, match="not srcnn"):
        IntegerNetwork.of(Network(network.model, {**network.card, "network": "srcnn"}))


@pytest.mark.parametrize("luma", [np.zeros((4, 4)), np.zeros((4, 4, 1), np.uint8)])
def test_luma_is_a_plane_of_bytes(smallest, luma):
    with pytest.raises(ValueError, match="uint8"):
        IntegerNetwork.of(smallest)(luma)
