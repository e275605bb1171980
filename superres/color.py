"""Luma of 8-bit pictures (ITU-R BT.601, studio range), as MATLAB's rgb2ycbcr has it.

The published super-resolution tables measure this luma: 16 for black, 235 for white. The network
sees it divided by 256, a power of two, so that 8-bit luma is exact in fixed point.
"""

from __future__ import annotations

import numpy as np

RANGE = 256.0
"""Luma of 8 bits divided by this is what networks see, in [0, 1)."""

LUMA_WEIGHTS, LUMA_OFFSET = np.array([65.481, 128.553, 24.966]) / 255, 16.0
"""Luma is R, G and B of [0, 255] times these weights, float64 (3,), and the offset added."""


def luma(image: np.ndarray) -> np.ndarray:
    """The luma of a picture, float32 (H, W).

    Args:
        image: in [0, 255], any dtype, (H, W, 3), or (H, W), a grey picture: its own luma.
    """
    if image.ndim == 2:
        return image.astype(np.float32)
    return np.asarray(image, np.float32) @ np.float32(LUMA_WEIGHTS) + np.float32(LUMA_OFFSET)
