"""The two ways to descend: the report's Adam, and L-BFGS."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from nst.config import StyleTransferConfig
from nst.descent import lbfgs


def descend(
    config: StyleTransferConfig,
    function: lbfgs.Function,
    image: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Iterator[tuple[np.ndarray, float]]:
    """Images on the way down, each with its loss; ends only when there is no way down.

    Args:
        config: names the optimizer and its settings.
        function: gives the loss of an image and its gradient.
        image: where to start, float32 (1, H, W, 3).
        low, high: the range of pixels, broadcast to the image's shape.
    """
    if config.optimizer == "adam":
        return _adam(config, function, image, low, high)
    # Large images have much memory in the network; a shorter history keeps the total bounded.
    memory = 8 if image.size < 4_000_000 else 3
    return lbfgs.minimize(function, image, low=low, high=high, memory=memory, first_step=1.0)


def _adam(config, function, image, low, high):
    """Adam on the image, clipped after each step: the report's loop, section 3.

    This differs from the report: an image is kept with its own loss, where the report keeps the
    image of one step later.
    """
    optimizer = keras.optimizers.Adam(
        config.learning_rate, beta_1=config.beta_1, epsilon=config.epsilon
    )
    variable = keras.Variable(image)
    optimizer.build([variable])

    @tf.function
    def update(gradient):
        optimizer.apply([gradient], [variable])
        variable.assign(tf.clip_by_value(variable.value, low, high))

    while True:
        image = variable.numpy()
        loss, gradient = function(image)
        yield image, loss
        update(tf.constant(gradient))
