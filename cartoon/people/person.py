"""Where people are in a photo, by our own embedded network."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from atelier.nets.weights import card as read_card
from atelier.nets.weights import load_embedded
from atelier.training.runs import load_run
from cartoon.people.model import build_person_segmenter

WEIGHTS = Path(__file__).parents[1] / "weights"

NAME = "person"
"""The embedded network."""

SIDES = (256, 384)
"""The network looks at a picture twice, once for the whole and once for detail: at sizes that have
as many pixels as squares of these sides, whatever the picture's own size."""

MULTIPLE = 16
"""Sides are multiples of it."""

LONGEST = 1536
"""Sides are not longer; of a very long picture the other one is then squeezed less."""


@dataclasses.dataclass(frozen=True)
class PersonNetwork:
    """A trained person segmenter and its card."""

    model: keras.Model
    """Of `cartoon.people.model.build_person_segmenter`."""
    card: dict
    """What it was trained on, and how good it is."""

    def probability(self, image: np.ndarray) -> np.ndarray:
        """How probably each pixel is a person's.

        Logits are averaged over two sizes, and over the picture and its mirror image.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (H, W) in [0, 1].
        """
        logits = sum(self._logits(image, looked_at(image.shape, side)) for side in SIDES)
        return 1 / (1 + np.exp(-np.clip(logits / len(SIDES), -30, 30)))

    def _logits(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(image, size[::-1], interpolation=how).astype(np.float32) / 255
        both = _forward(self.model)(np.stack([small, small[:, ::-1]])).numpy()[..., 0]
        return cv2.resize((both[0] + both[1, :, ::-1]) / 2, image.shape[1::-1])

    @classmethod
    def load(cls, folder: str | Path) -> PersonNetwork:
        """The network that a training left in its run folder.

        Raises:
            WeightsError: the folder holds no finished run, or a damaged one.
        """
        return cls(*load_run(folder))


@functools.lru_cache(maxsize=1)
def embedded() -> PersonNetwork:
    """The network that comes with the package.

    Raises:
        WeightsError: the package is damaged.
    """
    model = build_person_segmenter()
    load_embedded(model, NAME, WEIGHTS)
    model.trainable = False
    return PersonNetwork(model, read_card(NAME, WEIGHTS))


def looked_at(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """The (height, width) for a picture of `shape`, with about as many pixels as a square."""
    height, width = shape[:2]
    scale = side / (height * width) ** 0.5
    sides = (MULTIPLE * round(scale * length / MULTIPLE) for length in (height, width))
    return tuple(min(max(2 * MULTIPLE, length), LONGEST) for length in sides)


@functools.lru_cache(maxsize=4)
def _forward(model: keras.Model):
    """The network as a graph for pictures of any size, traced once."""
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    return tf.function(lambda x: model(x, training=False), input_signature=signature)
