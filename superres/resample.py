"""Bicubic resampling of float planes: Keys' kernel with a = -0.5, antialiased where it shrinks, as
MATLAB's imresize and the published tables have it."""

from __future__ import annotations

import numpy as np
from PIL import Image


def bicubic(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples one plane.

    Args:
        plane: (H, W), any dtype and range.
        size: the new (height, width).

    Returns:
        float32; it may overshoot the range of the plane.
    """
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
