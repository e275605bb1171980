"""The search for the binary point: examples by hand, and a network that loses nothing by it."""

import keras
import numpy as np
import pytest

from superres.config import NetworkConfig
from superres.fixed_point.calibration import best_format, calibrate, squared_error
from superres.fixed_point.rounding import FixedPoint
from superres.metrics import psnr
from superres.network.model import collapse

OUTLIER = [1.0] + 100 * [0.125]


@pytest.mark.parametrize(
    ("values", "bits", "fraction"),
    [
        ([0.5, -0.25, 0.75], 4, 2),  # Quarters are enough: the larger range, up to 1.75.
        ([0.5, 0.125, 0.875], 4, 3),  # Eighths up to 0.875, just so.
        ([0.5, 0.125, -1.0], 4, 3),  # The lowest code has no positive twin.
        ([0.5, 0.125, 1.0], 5, 3),
        ([20, -12], 4, -2),
        ([2.0**-10, 3 * 2.0**-11], 3, 11),
        # Steps of an eighth cut 1 to 0.375, which costs less than 0.125 rounded to 0 or 0.25.
        (OUTLIER, 3, 3),
        ([0.0, 0.0], 10, 9),
        ([], 10, 9),
    ],
)
def test_best_format_by_hand(values, bits, fraction):
    assert best_format(np.array(values), bits) == FixedPoint(bits, fraction)


def test_squared_error_by_hand():
    # Quarters up to 0.75: 0.125 becomes 0.25, 1 becomes 0.75.
    expected = (100 * 0.125**2 + 0.25**2) / 101
    assert squared_error(np.array(OUTLIER), FixedPoint(3, 2)) == pytest.approx(expected)
    expected = 0.625**2 / 101
    assert squared_error(np.array(OUTLIER), FixedPoint(3, 3)) == pytest.approx(expected)


@pytest.mark.parametrize("bits", [3, 6, 10, 14])
def test_no_other_format_is_better(bits, rng):
    for scale in (1e-3, 1.0, 700.0):
        for values in (rng.normal(size=3000), rng.standard_t(3, 3000), rng.uniform(0, 1, 3000)):
            values = values * scale
            best = best_format(values, bits)
            others = [FixedPoint(bits, fraction) for fraction in range(-20, 40)]
            least = min(squared_error(values, form) for form in others)
            assert squared_error(values, best) == pytest.approx(least)


@pytest.mark.parametrize("value", [1e-30, 1e30])
def test_values_beyond_all_formats_get_the_nearest(value):
    assert abs(best_format(np.array([value]), 10).fraction) == 48


# === A network ===


@pytest.fixture
def calibrated(network, luma):
    """Gives the network in fixed point of so many bits for weights and for activations."""

    def fixed(weight_bits: int, activation_bits: int) -> keras.Model:
        formats = calibrate(network, luma, weight_bits=weight_bits, activation_bits=activation_bits)
        return collapse(network, NetworkConfig(), formats)

    return fixed


def test_every_weight_and_activation_gets_a_format_of_its_bits(network, luma):
    formats = calibrate(network, luma, weight_bits=10, activation_bits=14)
    layers = ["stem"]
    for number in range(1, 5):
        layers += [f"depthwise_{number}", f"pointwise_{number}"]
    kernels = {f"{layer}/kernel" for layer in layers}
    assert formats.keys() == {"input", "interpolation", *layers, *kernels}
    assert formats["input"] == FixedPoint(9, 8)
    assert formats["interpolation"] == FixedPoint(14, 12)  # Room for overshoot: ±2.
    assert {formats[name].bits for name in kernels} == {10}
    assert {formats[name].bits for name in (*layers, "interpolation")} == {14}


def test_formats_are_the_best_of_what_is_rounded(network, luma):
    """Of a convolution's output that is after the residual and the ReLU."""
    formats = calibrate(network, luma, weight_bits=6, activation_bits=8)
    taps = {
        "stem": "stem_relu",
        "depthwise_2": "depthwise_2",
        "pointwise_2": "pointwise_2_relu",
        "pointwise_3": "pointwise_3_relu",
        "pointwise_4": "pointwise_4",
    }
    probe = keras.Model(network.input, [network.get_layer(tap).output for tap in taps.values()])
    for name, values in zip(taps, probe(luma), strict=True):
        assert formats[name] == best_format(np.asarray(values), 8), name
        kernel = network.get_layer(name)
        if hasattr(kernel, "kernel"):
            assert formats[f"{name}/kernel"] == best_format(np.asarray(kernel.kernel), 6)


def test_10_and_14_bits_are_as_good_as_floats(network, calibrated, luma):
    planes = [np.asarray(model(luma))[0, ..., 0] for model in (network, calibrated(10, 14))]
    assert np.abs(planes[0] - planes[1]).max() < 1 / 256
    truth = np.clip(np.floor(256 * planes[0] + 0.5), 0, 255)
    assert psnr(256 * planes[1], truth, 0) > 50


def test_3_and_4_bits_are_not(network, calibrated, luma):
    planes = [np.asarray(model(luma))[0, ..., 0] for model in (network, calibrated(3, 4))]
    truth = np.clip(np.floor(256 * planes[0] + 0.5), 0, 255)
    assert psnr(256 * planes[1], truth, 0) < 30


def test_more_bits_lose_less(network, calibrated, luma):
    floats = np.asarray(network(luma))
    errors = [np.mean((calibrated(bits, bits + 4)(luma) - floats) ** 2) for bits in (4, 6, 8, 10)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 20 * errors[-1]
