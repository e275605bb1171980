"""The report's cut-out (Section 1): DeepLabv3-ResNet101 finds what is no background."""

from __future__ import annotations

import functools
import os
from typing import Literal

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from atelier.errors import ImageError, SettingsError
from atelier.media.images import ImageSource, load_image
from cartoon.people.deeplab import CLASSES
from cartoon.people.deeplab_weights import deeplabv3_resnet101

SHORT_SIDE = 450
"""Pixels at which the report's network sees a picture."""

MAX_RESIZED = 4_000_000
"""The most pixels that a picture may have at the network's size."""

PERSON = CLASSES.index("person")

COLOURS = np.array(
    [
        *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)),
        *((0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0)),
        *((64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0)),
        *((0, 192, 0), (128, 192, 0), (0, 64, 128)),
    ],
    np.uint8,
)
"""(21, 3): the RGB with which the report, like Pascal VOC, draws each of `CLASSES`."""


def deeplab_mask(
    image: ImageSource,
    *,
    classes: Literal["any", "person"] = "any",
    checkpoint: str | os.PathLike | None = None,
    model: keras.Model | None = None,
) -> np.ndarray:
    """How much of each pixel is foreground, with edges as soft as the report's.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on.
        classes: "any", as in the report, takes all but the background; or "person".
        checkpoint: a local copy of torchvision's weights; None fetches them once, 245 MB. Those
            used last stay in memory.
        model: of `build_deeplabv3`, instead of a checkpoint.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        ImageError: the picture cannot be read, or is too long a strip.
        SettingsError: other classes.
        WeightsError: no weights, or damaged ones.
    """
    if classes not in ("any", "person"):
        raise SettingsError(f"no classes {classes!r}; choose one of any, person")
    picture = load_image(image)
    found = class_map(_load(checkpoint) if model is None else model, picture)
    foreground = found == PERSON if classes == "person" else found != 0
    alpha = _soften(255 * np.uint8(foreground)).astype(np.float32) / 255
    return cv2.resize(alpha, picture.shape[1::-1])


def report_cut_out(
    image: ImageSource,
    *,
    checkpoint: str | os.PathLike | None = None,
    model: keras.Model | None = None,
) -> np.ndarray:
    """The picture on white that the report shows, at the network's size.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on.
        checkpoint, model: see `deeplab_mask`.

    Returns:
        uint8 (h, w, 3); the shorter side is 450 pixels.

    Raises:
        ImageError, WeightsError: see `deeplab_mask`.
    """
    picture = load_image(image)
    found = class_map(_load(checkpoint) if model is None else model, picture)
    return np.rint(255 * lay_on_white(picture, found)).astype(np.uint8)


def lay_on_white(image: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """The report's `decode_segmap`: the picture where there is foreground, at the map's size.

    Args:
        image: uint8 (H, W, 3), RGB.
        segmentation: indices into `CLASSES`, uint8 (h, w).

    Returns:
        float64 (h, w, 3) in [0, 1].
    """
    foreground = cv2.resize(image, segmentation.shape[::-1]).astype(np.float64)
    # The report's threshold is one of each channel of the classes' colours, so that not all
    # foreground is kept whole: a person, (192, 128, 128), is; of an aeroplane, (128, 0, 0), the
    # red is kept, and its green and blue become white.
    alpha = _soften(255 * np.uint8(COLOURS > 0)[segmentation]) / 255
    return (alpha * foreground + (1 - alpha) * 255) / 255


def class_map(model: keras.Model, image: ImageSource, short_side: int = SHORT_SIDE) -> np.ndarray:
    """What each pixel most probably belongs to, at the network's size.

    Args:
        model: of `build_deeplabv3`. It is traced once for pictures of all sizes.
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on.
        short_side: pixels to which the shorter side is resized, as by torchvision's `T.Resize`.

    Returns:
        Indices into `CLASSES`, uint8 (h, w).

    Raises:
        ImageError: the picture cannot be read, or is too long a strip.
    """
    picture = load_image(image)
    height, width = _resized(picture.shape[:2], short_side)
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return _compiled(model)(np.asarray(small)[None])[0].numpy()


def _resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """The (height, width) that torchvision's `T.Resize(short_side)` gives to one of `size`."""
    scaled = tuple(int(short_side * side / min(size)) for side in size)
    if scaled[0] * scaled[1] > MAX_RESIZED:
        raise ImageError(
            f"{size[1]}×{size[0]} pixels are too long a strip to be cut out: with a shorter side "
            f"of {short_side} it would have more than {MAX_RESIZED:,} pixels; crop it"
        )
    return scaled


def _soften(alpha: np.ndarray) -> np.ndarray:
    """The report's soft edges: uint8 (h, w) or (h, w, 3)."""
    return cv2.GaussianBlur(alpha, (7, 7), 0)


def _load(checkpoint: str | os.PathLike | None) -> keras.Model:
    """The network of a checkpoint, kept so that a folder of pictures loads it once."""
    return _loaded(None if checkpoint is None else os.path.abspath(checkpoint))


@functools.lru_cache(maxsize=1)
def _loaded(checkpoint: str | None) -> keras.Model:
    return deeplabv3_resnet101(checkpoint)


@functools.lru_cache(maxsize=2)
def _compiled(model: keras.Model):
    """Uint8 (1, h, w, 3), of any size, to class indices: a graph, as an eager call would hold all
    activations of the 101 layers at once, and Keras' `predict` is compiled for each size."""

    def classify(image):
        logits = model(tf.cast(image, tf.float32) / 255, training=False)
        return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)

    return tf.function(classify, input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)])
