"""Keeping the content's colours: section 5.4 of Gatys et al. 2017 (color control)."""

from __future__ import annotations

import numpy as np

# BT.601: what JPEG calls YCbCr, without its offsets.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)


def luminance(image: np.ndarray) -> np.ndarray:
    """The brightness of a picture as a grey picture.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (H, W, 3), three equal channels.
    """
    grey = np.rint(image.astype(np.float32) @ np.float32(_TO_YCC[0]))
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def match_luminance(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """A grey style picture with the mean and spread of a grey content picture; uint8 as given."""
    spread = content.std() / max(float(style.std()), 1e-6)
    matched = (style.astype(np.float32) - style.mean()) * spread + content.mean()
    return np.clip(np.rint(matched), 0, 255).astype(np.uint8)


def with_colors_of(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The brightness of `image` with the hue and saturation of `content`, both uint8 (H, W, 3)."""
    matrix = np.float32(_TO_YCC)
    ycc = content.astype(np.float32) @ matrix.T
    ycc[..., 0] = image.astype(np.float32) @ matrix[0]
    rgb = ycc @ np.linalg.inv(matrix).T
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def match_colors(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Recolours a style so that its colours have the mean and covariance of the content's.

    The linear map is the symmetric one, Σ_c^½ Σ_s^-½ ("image analogies color transfer" in the
    paper), which moves colours least.

    Args:
        style, content: uint8 (H, W, 3), of any sizes.

    Returns:
        uint8 of the style's shape.
    """
    source = style.reshape(-1, 3).astype(np.float64)
    target = content.reshape(-1, 3).astype(np.float64)
    # A grey or flat picture has a singular covariance: the ridge, of a grey level, mends that.
    ridge = np.eye(3)
    # Biased, so that a picture of one pixel has a covariance too.
    root_target = _power(np.cov(target.T, bias=True) + ridge, 0.5)
    root_source = _power(np.cov(source.T, bias=True) + ridge, -0.5)
    matched = (source - source.mean(0)) @ root_source @ root_target + target.mean(0)
    return np.clip(np.rint(matched), 0, 255).astype(np.uint8).reshape(style.shape)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T
