"""PSNR and SSIM against numbers by hand."""

import numpy as np
import pytest

from superres.metrics import psnr, ssim


@pytest.fixture
def truth(rng):
    """uint8 (20, 24), away from black and white."""
    return rng.integers(30, 220, (20, 24), dtype=np.uint8)


@pytest.mark.parametrize(("error", "decibels"), [(1, 48.1308), (-1, 48.1308), (16, 24.0484)])
def test_psnr_of_a_constant_error(truth, error, decibels):
    # 10 log10(255² / error²).
    assert psnr(truth + np.float32(error), truth, 0) == pytest.approx(decibels, abs=1e-4)


def test_psnr_is_of_the_mean_square():
    truth = np.full((2, 2), 100, np.uint8)
    result = np.float32([[101, 103], [100, 100]])
    # (1 + 9) / 4 = 2.5.
    assert psnr(result, truth, 0) == pytest.approx(10 * np.log10(255**2 / 2.5))


def test_identical_pictures_have_no_end_of_psnr(truth):
    assert psnr(truth, truth, 2) == np.inf
    assert ssim(truth, truth, 2) == 1


def test_the_border_does_not_count(truth):
    result = truth.astype(np.float32)
    result[:2] += 50
    result[-2:] += 50
    result[:, :2] += 50
    result[:, -2:] += 50
    assert psnr(result, truth, 2) == np.inf
    assert ssim(result, truth, 2) == 1
    assert psnr(result, truth, 1) < 30
    assert ssim(result, truth, 1) < 1


def test_a_result_is_rounded_half_up_and_clipped_first():
    truth = np.tile(np.uint8([[0, 1, 100, 255]]), (12, 3))
    result = np.tile(np.float32([[-7, 0.5, 100.49, 300]]), (12, 3))
    assert psnr(result, truth, 0) == np.inf
    assert ssim(result, truth, 0) == 1
    result[0, 0] = 0.5
    assert psnr(result, truth, 0) == pytest.approx(10 * np.log10(255**2 * truth.size))


def test_ssim_of_two_flat_pictures():
    # No variance: (2ab + C1) / (a² + b² + C1) with C1 = (0.01 · 255)² = 6.5025.
    flat = np.full((12, 12), 100)
    assert ssim(flat + 10, flat, 0) == pytest.approx(22006.5025 / 22106.5025)


def test_ssim_is_that_of_gaussian_windows(rng):
    """Wang et al., window by window."""
    truth = rng.integers(0, 256, (13, 14)).astype(np.float64)
    result = np.clip(truth + rng.integers(-40, 40, truth.shape), 0, 255)
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(3):
        for left in range(4):
            x, y = (plane[top : top + 11, left : left + 11] for plane in (result, truth))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
            cov = (window * x * y).sum() - mx * my
            structure = (2 * cov + c2) / (vx + vy + c2)
            values.append((2 * mx * my + c1) / (mx**2 + my**2 + c1) * structure)
    assert ssim(result, truth, 0) == pytest.approx(np.mean(values), abs=1e-9)
    assert 0 < np.mean(values) < 0.99


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("shape", [(20, 23), (20, 24, 1), (24, 20)])
def test_only_planes_of_one_size_are_compared(truth, metric, shape):
    with pytest.raises(ValueError, match=r"luma of one size is compared, not \(2"):
        metric(np.zeros(shape), truth, 2)
