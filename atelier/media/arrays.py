"""Pictures in memory: arrays and tensors, as uint8."""

from __future__ import annotations

import numpy as np

from atelier.errors import ImageError, KindError
from atelier.media.formats.deep import Deep, to_levels
from atelier.media.pixels import strips

SLACK = 0.1
"""What floats may lie outside [0, 1], as those that were resampled do; it is clipped."""


def as_array(source: object) -> np.ndarray | None:
    """The array of a tensor of TensorFlow, PyTorch or JAX, or of another object that gives one;
    None if it gives none."""
    if isinstance(source, np.ndarray):
        return source
    if not hasattr(source, "__array__") or isinstance(source, type):
        return None
    try:
        array = np.asarray(source)
    except Exception as error:  # Symbolic tensors and those of other devices raise several kinds.
        kind = type(source).__name__
        raise KindError(f"a {kind} that gives no array is no picture ({error})") from None
    return array


def as_uint8(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """A picture's levels.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, of floats in [0, 1], or of
            uint16, of which the range that is used counts.

    Returns:
        uint8 (H, W, C), perhaps the array itself; and what a user is told of the range.

    Raises:
        ImageError: it has another shape, or no pixels.
        KindError: it is of another type, or of floats that are not in [0, 1].
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"arrays must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    if 0 in array.shape:
        raise ImageError("array: has no pixels")
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype == np.uint16:
        levels, note = to_levels(Deep(array, 16, min(array.shape[2], 3)))
        return levels, (note,) if note else ()
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise KindError(
            f"arrays must be uint8, uint16 or floats in [0, 1], not {array.dtype}: scale to "
            "[0, 255] and convert"
        )
    levels = np.empty(array.shape, np.uint8)
    for rows in strips(array.shape):
        part = array[rows].astype(np.float32)
        low, high = part.min(), part.max()
        if not -SLACK <= low <= high <= 1 + SLACK:  # Nor if one is no number.
            raise KindError(
                f"floats must be in [0, 1], not from {low:g} to {high:g}: those of [0, 255] are "
                "to be rounded to uint8"
            )
        levels[rows] = np.rint(255 * np.clip(part, 0, 1))
    return levels, ()
