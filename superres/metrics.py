"""PSNR and SSIM of luma, as the published tables measure them."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity


def psnr(result: np.ndarray, truth: np.ndarray, border: int) -> float:
    """Peak signal-to-noise ratio in dB, of 8-bit values.

    Args:
        result, truth: (H, W) in [0, 255]; the result is rounded and clipped first.
        border: rows and columns at each side that do not count; the scale, by convention.
    """
    result, truth = _comparable(result, truth, border)
    error = np.mean(np.square(result - truth))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(result: np.ndarray, truth: np.ndarray, border: int) -> float:
    """Structural similarity (Wang et al., 2004): 11×11 Gaussian windows of σ 1.5; arguments as of
    `psnr`, and both sides of at least 11 pixels within the border.
    """
    result, truth = _comparable(result, truth, border)
    return float(
        structural_similarity(
            result,
            truth,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _comparable(result, truth, border) -> tuple[np.ndarray, np.ndarray]:
    if result.shape != truth.shape or result.ndim != 2:
        raise ValueError(f"luma of one size is compared, not {result.shape} with {truth.shape}")
    inner = slice(border, -border or None)
    rounded = np.clip(np.floor(np.asarray(result, np.float64) + 0.5), 0, 255)
    return rounded[inner, inner], np.asarray(truth, np.float64)[inner, inner]
