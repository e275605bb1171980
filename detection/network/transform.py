"""Pictures as a network takes them: resized, normalised, padded; and its boxes brought back.

torchvision's `GeneralizedRCNNTransform`, in NumPy. What a network was built for says how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from atelier.nets.vgg import preprocess
from detection.network.architectures import Architecture

_TORCH_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_TORCH_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


def fitted_size(shape: tuple[int, ...], architecture: Architecture) -> tuple[int, int]:
    """Height and width that a picture of `shape` is resized to, aspect kept.

    The shorter side becomes `min_size`, or the longer one `max_size` where it would pass it.
    """
    sides = shape[:2]
    scale = min(architecture.min_size / min(sides), architecture.max_size / max(sides))
    # Rounded down, as torchvision has it, which may make 799 of 800.
    height, width = (max(1, math.floor(side * scale)) for side in sides)
    return height, width


def resize(image: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """A picture of another size.

    Args:
        image: (H, W, 3), uint8 or float32.
        size: height and width.
        antialias: shrink by the mean of areas; else bilinearly, from four pixels each.

    Returns:
        of the same type.
    """
    if image.shape[:2] == tuple(size):
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if antialias and shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method)


def normalize(image: np.ndarray, architecture: Architecture) -> np.ndarray:
    """RGB pixels (H, W, 3) in [0, 255] as float32 of the colours that the backbone takes."""
    if architecture.colors == "caffe":
        return preprocess(image)
    return (np.asarray(image, np.float32) / 255 - _TORCH_MEAN) / _TORCH_DEVIATION


def prepare(images: Sequence[np.ndarray], architecture: Architecture) -> dict[str, np.ndarray]:
    """Pictures as the network takes them.

    Args:
        images: uint8 (H, W, 3) RGB each, of any sizes.

    Returns:
        `images`, float32 (N, H, W, 3), zero beyond each picture; and `sizes`, float32 (N, 2).
    """
    resized = []
    for image in images:
        size = fitted_size(image.shape, architecture)
        if architecture.antialias:  # In 8 bits, as in training; it is several times as fast.
            resized.append(normalize(resize(image, size, True), architecture))
        else:
            resized.append(resize(normalize(image, architecture), size, False))
    sizes = np.array([image.shape[:2] for image in resized])
    multiple = architecture.multiple
    height, width = -(-sizes.max(axis=0) // multiple) * multiple
    batch = np.zeros((len(images), height, width, 3), np.float32)
    for padded, image in zip(batch, resized, strict=True):
        padded[: image.shape[0], : image.shape[1]] = image
    return {"images": batch, "sizes": sizes.astype(np.float32)}


def restore(boxes: np.ndarray, fitted: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """Boxes on the network's picture as boxes on the original.

    Args:
        boxes: (N, 4).
        fitted: height and width that the picture had for the network.
        shape: height and width of the original.

    Returns:
        float32 (N, 4).
    """
    ratio_y, ratio_x = (np.float32(shape[axis]) / np.float32(fitted[axis]) for axis in (0, 1))
    ratios = np.array((ratio_x, ratio_y, ratio_x, ratio_y), np.float32)
    return np.asarray(boxes, np.float32) * ratios
