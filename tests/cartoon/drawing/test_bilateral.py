"""The bilateral filter, against integers of any length, and by its symmetries."""

import decimal

import cv2
import numpy as np
import pytest

import cartoon.drawing.bilateral as module
from benchmarks import plain_cartoon
from cartoon.drawing.bilateral import ONE, bilateral, weights


def exact_mean(patch: np.ndarray) -> decimal.Decimal:
    """The filter's value in the middle of 5 × 5 levels, to 50 digits."""
    sums = totals = decimal.Decimal(0)
    with decimal.localcontext(prec=60):
        for (y, x), value in np.ndenumerate(patch):
            distance = (y - 2) ** 2 + (x - 2) ** 2
            if distance <= 4:
                exponent = (int(value) - int(patch[2, 2])) ** 2 + distance
                weight = (decimal.Decimal(-exponent) / 5000).exp()
                sums, totals = sums + weight * int(value), totals + weight
        return round(sums / totals, 50)


@pytest.mark.parametrize("spread", [1, 3, 40, 256])
def test_means_are_rounded_down_exactly(spread, rng):
    """Small differences leave many means on whole levels, or next to them."""
    image = (rng.integers(0, spread, (20, 30, 3)) + (256 - spread) // 2).astype(np.uint8)
    found = bilateral(image)
    for y, x, channel in np.ndindex(16, 26, 3):
        patch = image[y : y + 5, x : x + 5, channel]
        expected = exact_mean(patch).to_integral_value(decimal.ROUND_FLOOR)
        assert found[y + 2, x + 2, channel] == expected


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 40), (40, 1), (2, 3), (4, 50), (50, 15), (5, 16), (7, 17), (60, 90), (33, 700)],
)
def test_any_size_is_as_the_plain_filter(shape, rng):
    for spread in (3, 256):
        image = rng.integers(0, spread, (*shape, 3)).astype(np.uint8)
        expected = [plain_cartoon.exact_filter(image[..., channel]) for channel in range(3)]
        np.testing.assert_array_equal(bilateral(image), np.stack(expected, axis=-1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_tiles_and_threads_change_nothing(threads, rng, monkeypatch):
    image = rng.integers(0, 60, (41, 77, 3)).astype(np.uint8)
    expected = bilateral(image)
    monkeypatch.setattr(module, "TILE", 300)
    monkeypatch.setattr(module, "TILE_COLUMNS", 50)
    monkeypatch.setattr(cv2, "getNumThreads", lambda: threads)
    np.testing.assert_array_equal(bilateral(image), expected)


def test_two_columns_at_each_side_are_rounded_to_the_nearest_level():
    """Columns of 0 and of 3, whose means are more than half a level above a whole one."""
    image = np.zeros((40, 30, 3), np.uint8)
    image[:, ::2] = 3
    found = bilateral(image)
    weight = weights(1)[0, 3], weights(2)[0, 3]
    own = ONE + 2 * (weights(1)[0, 0] + weights(4)[0, 0]) + 2 * weights(4)[0, 0]
    other = 2 * weight[0] + 4 * weight[1]
    mean = 3 * own / (own + other)
    assert mean % 1 > 0.5
    assert (found[2:-2, :2:2] == round(mean)).all()
    assert (found[2:-2, 2:-2:2] == int(mean)).all()
    assert (found[:2, ::2] == int(mean)).all()
    assert (found[-2:, ::2] == int(mean)).all()


def test_channels_are_filtered_apart(photo):
    single = [bilateral(photo[..., channel : channel + 1]) for channel in range(3)]
    np.testing.assert_array_equal(bilateral(photo), np.concatenate(single, axis=-1))


def test_weights_are_whole_and_alike_where_their_exponents_are():
    for distance in (1, 2, 4):
        table = weights(distance)
        assert table.shape == (1, 256)
        assert (table == np.rint(table)).all()
        expected = ONE * np.exp(-(np.arange(256.0) ** 2 + distance) / 5000)
        np.testing.assert_allclose(table[0], expected, rtol=1e-12, atol=0.51)
    assert weights(4)[0, 1] == weights(1)[0, 2]
    assert 13 * 255 * ONE < 2**53
