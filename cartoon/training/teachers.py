"""Two public person segmenters in LiteRT: what our network learns from and is measured against.

Neither is part of the package: both are files that the user has. MediaPipe's selfie segmentation
(256×256, Apache-2.0) and DeepLabv3 with MobileNetV2 (257×257, TensorFlow Lite's example).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from atelier.errors import WeightsError
from atelier.export.runtimes import litert_function

SELFIE = "selfie_segmentation.tflite"
DEEPLAB = "deeplabv3_257_mv_gpu.tflite"
"""The files, by the names that they are published under."""

PERSON = 15
"""Among the classes of Pascal VOC."""

Teacher = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) to how probably each pixel is a person's, float32 (H, W)."""


def load_teachers(folder: str | os.PathLike, threads: int = 1) -> dict[str, Teacher]:
    """Both, by name.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    loaded = {}
    for name, file, make in (
        ("mediapipe-selfie", SELFIE, _selfie),
        ("deeplabv3-mobilenetv2", DEEPLAB, _deeplab),
    ):
        path = Path(folder) / file
        if not path.is_file():
            raise WeightsError(f"{path} is missing: --teachers takes a folder with {file}")
        try:
            loaded[name] = make(litert_function(path, threads))
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"{path} is damaged ({reason})") from None
    return loaded


def _selfie(network: Teacher) -> Teacher:
    def teacher(image: np.ndarray) -> np.ndarray:
        given = squeezed(image, 256).astype(np.float32) / 255
        return enlarged(network(given[None])[0, ..., 0], image.shape)

    return teacher


def _deeplab(network: Teacher) -> Teacher:
    def teacher(image: np.ndarray) -> np.ndarray:
        given = squeezed(image, 257).astype(np.float32) / 127.5 - 1
        logits = network(given[None])[0]
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return enlarged(odds[..., PERSON] / odds.sum(axis=-1), image.shape)

    return teacher


def squeezed(image: np.ndarray, side: int) -> np.ndarray:
    """A picture as a square, whatever its aspect, without aliasing."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask in a picture's size."""
    return cv2.resize(mask, shape[1::-1], interpolation=cv2.INTER_LINEAR)
