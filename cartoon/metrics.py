"""How far a cartoon is from its picture, as the report's Section 3 measures it."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from skimage.metrics import structural_similarity

SIZE = (640, 480)
"""Width and height at which pictures are compared, whatever their aspect."""


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Of a cartoon, against the picture that it was made of."""

    mse: float
    """Squared error of levels from 0 to 255, summed over channels, a pixel."""
    log_mse: float
    """Its natural logarithm; minus infinity where the two are the same."""
    ssim: float
    """Structural similarity, the mean of channels, at most 1."""


def accuracy(picture: np.ndarray, cartoon: np.ndarray) -> Accuracy:
    """Compares two pictures at 640×480.

    Args:
        picture: uint8 (H, W, 3).
        cartoon: uint8 (h, w, 3).
    """
    one, other = (cv2.resize(image, SIZE) for image in (picture, cartoon))
    error = mean_squared_error(one, other)
    return Accuracy(
        mse=error,
        log_mse=math.log(error) if error else -math.inf,
        ssim=float(structural_similarity(one, other, channel_axis=-1)),
    )


def mean_squared_error(one: np.ndarray, other: np.ndarray) -> float:
    """The report's: divided by the number of pixels, not by that of values.

    Args:
        one: uint8 (H, W, C).
        other: the same shape.
    """
    difference = one.astype(np.float64) - other.astype(np.float64)
    return float(np.sum(np.square(difference)) / (one.shape[0] * other.shape[1]))


def mean(accuracies: list[Accuracy]) -> Accuracy:
    """The report's average: of MSE and of SSIM; the logarithm is that of the mean."""
    mse = float(np.mean([one.mse for one in accuracies]))
    return Accuracy(
        mse=mse,
        log_mse=math.log(mse) if mse else -math.inf,
        ssim=float(np.mean([one.ssim for one in accuracies])),
    )
