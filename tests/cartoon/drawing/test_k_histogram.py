"""K-histogram, against the report's program written plainly, and by hand."""

import numpy as np
import pytest

from benchmarks import plain_cartoon
from cartoon.config import CartoonConfig
from cartoon.drawing.fine import FEWEST, find_tones
from cartoon.drawing.k_histogram import k_histogram, k_means, look_up_table, nearest


def random_histogram(seed: int, levels: int) -> np.ndarray:
    """Some hills, some gaps."""
    rng = np.random.default_rng(seed)
    level = np.arange(levels)
    hills = np.zeros(levels)
    for _ in range(rng.integers(1, 6)):
        width = rng.integers(5, 900)
        hills += rng.integers(10, 5000) * np.exp(-((level - rng.integers(levels)) ** 2) / width)
    return np.int64(hills * (rng.random(levels) > 0.2))


@pytest.mark.parametrize("levels", [180, 256])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("alpha", "smallest"), [(1e-3, 80), (0.05, 20)])
def test_centroids_are_the_reports(seed, levels, alpha, smallest):
    histogram = random_histogram(seed, levels)
    try:
        expected = plain_cartoon.k_histogram(histogram, alpha, smallest)
    except plain_cartoon.Endless:
        expected = None
    found = k_histogram(histogram, alpha, smallest)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)
    assert (np.diff(found) > 0).all()


def test_one_level_is_one_centroid():
    histogram = np.zeros(256, np.int64)
    histogram[37] = 5
    np.testing.assert_array_equal(k_histogram(histogram), [37])


def test_empty_histogram_ends():
    np.testing.assert_array_equal(k_histogram(np.zeros(256, np.int64)), [128])


@pytest.mark.parametrize(
    ("levels", "expected"), [(256, [25, 89, 165, 229]), (180, [29, 89, 149]), (100, [25, 75])]
)
def test_counts_that_are_all_alike_are_split(levels, expected):
    """As the report's program split them with SciPy 1.6.3, whose centroids these are."""
    histogram = np.zeros(max(levels, 180), np.int64)
    histogram[:levels] = 9
    np.testing.assert_array_equal(k_histogram(histogram), expected)
    np.testing.assert_array_equal(plain_cartoon.k_histogram(histogram), expected)


@pytest.mark.parametrize("levels", [256, 180, 90])
def test_splitting_counts_that_are_all_alike_ends(levels):
    """Also where every group is split as long as it has eight levels."""
    found = k_histogram(np.full(levels, 5, np.int64), alpha=1.0, smallest=8)
    assert 2 <= len(found) <= levels / 4
    assert (np.diff(found) > 0).all()


def test_means_are_rounded_down_and_empty_centroids_stay():
    centroids, groups = k_means(
        np.array([10, 100, 200]), np.array([8, 9, 110, 111]), np.array([1, 2, 1, 1])
    )
    np.testing.assert_array_equal(centroids, [8, 110, 200])
    np.testing.assert_array_equal(groups, [0, 0, 1, 1])


def test_a_tie_goes_to_the_lower_centroid():
    np.testing.assert_array_equal(nearest(np.array([14, 15, 16]), np.array([10, 20])), [0, 0, 1])


def test_table_rounds_halves_down():
    table = look_up_table(np.array([10.5, 200.0]))
    assert table.shape == (256,)
    assert table.dtype == np.uint8
    np.testing.assert_array_equal(table[[0, 10, 105, 106, 255]], [10, 10, 10, 200, 200])


def test_levels_far_apart_get_centroids_of_their_own():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(60, 12, 40000), rng.normal(190, 12, 40000)])
    histogram = np.bincount(np.clip(values, 0, 255).astype(int), minlength=256)
    found = k_histogram(histogram)
    assert min(abs(found - 60)) < 12
    assert min(abs(found - 190)) < 12


def test_there_are_no_fewer_centroids_than_at_the_start():
    levels = np.arange(256)
    bell = np.rint(1e5 * np.exp(-0.5 * ((levels - 128) / 30) ** 2)).astype(np.int64)
    assert len(k_histogram(bell, alpha=0)) == 1
    found = k_histogram(bell, alpha=0, start=(60, 120, 180))
    assert len(found) == 3
    np.testing.assert_allclose(found, [94, 128, 162], atol=8)


def test_fine_has_tones_enough_for_a_face():
    """Counts that look normally distributed as a whole give one tone in the report's way."""
    levels = np.arange(256)
    bell = np.rint(1e5 * np.exp(-0.5 * ((levels - 128) / 30) ** 2)).astype(np.int64)
    tones = find_tones(bell, CartoonConfig(alpha=0))
    assert len(tones) == FEWEST
    assert (np.diff(tones) > 5).all()
    single = np.zeros(256, np.int64)
    single[77] = 5
    assert find_tones(single, CartoonConfig()).tolist() == [77]
    assert len(find_tones(np.zeros(256, np.int64), CartoonConfig())) == 1
