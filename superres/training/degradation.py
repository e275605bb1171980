"""Degradation models: how a low-resolution picture comes from a high-resolution one.

A step is a function of a picture and a seed; `compose` makes one of several. Eq. 1 of the report
is `bicubic_model`, its eq. 2, y = C((x * k) ↓ s) + n, is `proposed_model`. All steps are
TensorFlow, for `tf.data.Dataset.map`; a step draws its random parameter anew for each picture,
and gives the same for the same seed.

Pictures are float32 (H, W, C) in [0, 255], C 1 or 3; seeds are int32 (2,).
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def compose(*steps: Step) -> Step:
    """Steps one after another, each with a seed of its own."""

    def composed(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds = tf.random.split(seed, max(2, len(steps)), alg="philox")
        for number, step in enumerate(steps):
            image = step(image, seeds[number])
        return image

    return composed


def bicubic_model(scale: int) -> Step:
    """Eq. 1: y = x ↓ s, an 8-bit picture."""
    return compose(downscale(scale), round_to_8_bits())


def proposed_model(
    scale: int,
    *,
    radius: tuple[float, float] = (0.2, 0.8),
    quality: tuple[int, int] = (70, 99),
    sigma: tuple[float, float] = (0.0, 0.02),
) -> Step:
    """Eq. 2: y = C((x * k) ↓ s) + n, an 8-bit picture, with the report's parameters (Section 3).

    Args:
        scale: s.
        radius: of the blur kernel k, as of `gaussian_blur`.
        quality: of the JPEG codec C, as of `jpeg`.
        sigma: of the noise n, as of `gaussian_noise`.
    """
    return compose(
        gaussian_blur(*radius),
        downscale(scale),
        jpeg(*quality),
        gaussian_noise(*sigma),
        round_to_8_bits(),
    )


def jpeg_model(scale: int, *, quality: tuple[int, int] = (65, 95)) -> Step:
    """y = C(x ↓ s): eq. 2 without its blur and its noise, for pictures that are compressed alone.

    This differs from the report. A network taught to take noise away, too, takes fine detail with
    it: at JPEG qualities of 90 and more it falls behind one that was taught eq. 1.

    Args:
        scale: s.
        quality: of the JPEG codec C, as of `jpeg`.
    """
    return compose(downscale(scale), jpeg(*quality))


def gaussian_blur(low: float, high: float) -> Step:
    """Convolution with a Gaussian of random σ, in pixels ("radius" in image editors)."""
    reach = max(1, round(4 * high))

    def step(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        sigma = tf.random.stateless_uniform((), seed, low, high)
        offsets = tf.range(-reach, reach + 1, dtype=tf.float32)
        taps = tf.nn.softmax(-tf.square(offsets / sigma) / 2)
        channels = tf.shape(image)[-1]
        blurred = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]], "SYMMETRIC")[None]
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = tf.tile(tf.reshape(taps, shape), [1, 1, channels, 1])
            blurred = tf.nn.depthwise_conv2d(blurred, kernel, [1, 1, 1, 1], "VALID")
        return blurred[0]

    return step


def downscale(scale: int) -> Step:
    """Bicubic with antialiasing (Keys' kernel, a = -0.5), as MATLAB's imresize; a side that is no
    multiple of the scale loses its last pixels first.
    """

    def step(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        size = tf.shape(image)[:2] // scale
        image = image[: size[0] * scale, : size[1] * scale]
        return tf.image.resize(image, size, "bicubic", antialias=True)

    return step


def jpeg(low: int, high: int) -> Step:
    """Through a JPEG file of random quality, both bounds included."""

    def step(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        quality = tf.random.stateless_uniform((), seed, low, high + 1, tf.int32)
        # TensorFlow's default decoder is a fast one, off by more than JPEG itself at high quality.
        coded = tf.image.adjust_jpeg_quality(_to_uint8(image), quality, "INTEGER_ACCURATE")
        return tf.ensure_shape(tf.cast(coded, tf.float32), image.shape)

    return step


def gaussian_noise(low: float, high: float) -> Step:
    """Additive white Gaussian noise of random σ, where 1 is the range of the picture."""

    def step(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds = tf.random.split(seed, alg="philox")
        sigma = tf.random.stateless_uniform((), seeds[0], low, high)
        return image + 255 * sigma * tf.random.stateless_normal(tf.shape(image), seeds[1])

    return step


def round_to_8_bits() -> Step:
    """To whole numbers in [0, 255], as a file holds them."""
    return lambda image, seed: tf.cast(_to_uint8(image), tf.float32)


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.floor(image + 0.5), 0, 255), tf.uint8)
