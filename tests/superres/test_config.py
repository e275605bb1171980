"""The layer table: weights, receptive field, and what is refused."""

import itertools

import pytest

from atelier.errors import SettingsError
from superres.config import NetworkConfig

ORDERS = [
    ("3x3", "3x3", "1x5", "1x5"),
    ("3x3", "1x5", "1x5", "3x3"),
    ("1x5", "3x3", "3x3", "1x5"),
    ("1x5", "1x5", "3x3", "3x3"),
]
"""One of the two depthwise convolutions of 32 channels, and one of 16, is 3×3."""


def test_weights_by_hand():
    # 3×3 to 32 channels; then depthwise 3×3, 1×5, 1×5, 3×3, each with its pointwise convolution.
    layers = [9 * 32, 9 * 32 + 32 * 16, 5 * 16 + 16 * 32, 5 * 32 + 32 * 16, 9 * 16 + 16 * 4]
    assert sum(layers) == 2560
    assert NetworkConfig().parameters == 2560


@pytest.mark.parametrize(("scale", "parameters"), [(2, 2560), (3, 2560 + 80), (4, 2560 + 192)])
def test_the_scale_widens_the_last_layer_alone(scale, parameters):
    assert NetworkConfig(scale=scale).parameters == parameters


def test_just_four_orders_of_kernels_have_the_reports_number_of_weights():
    found = [
        kernels
        for kernels in itertools.product(("3x3", "1x5"), repeat=4)
        if NetworkConfig(kernels=kernels).parameters == 2560
    ]
    assert sorted(found) == sorted(ORDERS)


def test_kernels_are_rows_by_columns():
    assert NetworkConfig().kernel_sizes == ((3, 3), (1, 5), (1, 5), (3, 3))


@pytest.mark.parametrize(
    ("kernels", "halo"),
    [
        (("3x3", "1x5", "1x5", "3x3"), 7),  # 1 + 1 + 2 + 2 + 1 columns.
        (("9x1", "1x3", "1x3", "1x3"), 5),  # 1 + 4 rows, 1 + 1 + 1 + 1 columns.
        (("1x1", "1x1", "1x1", "1x1"), 2),  # The interpolation's.
    ],
)
def test_halo_by_hand(kernels, halo):
    assert NetworkConfig(kernels=kernels).halo == halo


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": ()}, "--widths"),
        ({"widths": (32, 0, 32, 16)}, "--widths"),
        ({"widths": (32, 16)}, "--kernels are as many as --widths, not 4 to 2"),
        ({"kernels": ("3x3",)}, "--kernels are as many as --widths, not 1 to 4"),
        ({"kernels": ("3x3", "2x2", "1x5", "3x3")}, "'2x2'"),
        ({"kernels": ("3x3", "3", "1x5", "3x3")}, "'3'"),
        ({"kernels": ("3x3", "11x1", "1x5", "3x3")}, "'11x1'"),
        ({"residuals": (1,)}, "--residuals go from 2 to 3: 1"),
        ({"residuals": (4,)}, "--residuals go from 2 to 3: 4"),
        ({"residuals": (2,), "widths": (32, 16, 8, 16)}, "add 32 channels to 8"),
    ],
)
def test_senseless_shape_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError) as caught:
        NetworkConfig(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("residuals", [(), (2,), (3,), (2, 3)])
def test_residuals_that_fit_are_allowed(residuals):
    assert NetworkConfig(residuals=residuals).parameters == 2560
