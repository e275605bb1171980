"""Grad-CAM: which pixels support the predicted class. This part needs TensorFlow.

(Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", 2017, eq. 1 and 2.)
"""

from __future__ import annotations

import functools

import keras
import matplotlib
import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError
from atelier.media.images import resize
from classify.data import CLASSES, SIDE, to_float
from classify.networks import Network, load_network

SMALLEST = 7
"""Cells a side that a layer must have to be explained by; deeper layers say nothing of places."""

SHIFTS = (-4, -2, 0, 2, 4)
"""Pixels by which the picture is moved, in both directions, to see between the layer's cells."""


def grad_cam(
    image: np.ndarray, network: Network | str = "strong", label: str | None = None
) -> np.ndarray:
    """How much each pixel of a prepared picture speaks for a class.

    The last layer that still has 7×7 cells is read for 25 small movements of the picture, whose
    maps are moved back and averaged: one map alone is as coarse as the cells.

    Args:
        image: uint8 (32, 32, 3), as of `classify.prepare`.
        network: the network to explain, or an embedded one's name.
        label: the class; the most probable one when left out.

    Returns:
        float32 (32, 32) in [0, 1]; all zero where nothing speaks for the class.

    Raises:
        SettingsError: no such class.
    """
    network = load_network(network) if isinstance(network, str) else network
    moves = [(y, x) for y in SHIFTS for x in SHIFTS]
    label = CLASSES[network.logits(image[None])[0].argmax()] if label is None else label
    if label not in CLASSES:
        raise SettingsError(f"no class {label!r}; there is {', '.join(CLASSES)}")
    most = max(SHIFTS)
    padded = np.pad(image, ((most, most), (most, most), (0, 0)), mode="reflect")
    views = [padded[most + y : most + y + SIDE, most + x : most + x + SIDE] for y, x in moves]
    index = tf.constant(CLASSES.index(label))  # A tensor, lest each class be traced anew.
    maps = _explain(network.model)(tf.constant(to_float(np.stack(views))), index).numpy()
    total, weight = (np.zeros((SIDE + 2 * most, SIDE + 2 * most), np.float32) for _ in range(2))
    for (y, x), cells in zip(moves, maps, strict=True):
        place = np.s_[most + y : most + y + SIDE, most + x : most + x + SIDE]
        total[place] += resize(cells, (SIDE, SIDE))
        weight[place] += 1
    inner = np.s_[most : most + SIDE, most : most + SIDE]
    heat = np.maximum(total[inner] / weight[inner], 0)
    return heat / heat.max() if heat.max() > 0 else heat


def overlay(image: np.ndarray, heat: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """A picture with a heat map laid over it, the picture in grey where it is cold.

    Args:
        image: uint8 (H, W, 3), of any size.
        heat: float32 (h, w) in [0, 1], of the whole picture.
        strength: opacity of the hottest places.

    Returns:
        uint8 (H, W, 3).
    """
    heat = np.clip(resize(heat, image.shape[:2]), 0, 1)[..., None]
    colour = matplotlib.colormaps["inferno"](heat[..., 0])[..., :3] * 255
    grey = image @ np.float32([0.299, 0.587, 0.114])
    cold = 0.5 * image + 0.5 * grey[..., None]
    opacity = strength * np.sqrt(heat)
    return np.rint((1 - opacity) * cold + opacity * colour).astype(np.uint8)


@functools.lru_cache(maxsize=4)
def _explain(model: keras.Model):
    """A `tf.function` of pictures (N, 32, 32, 3) and a class to maps (N, h, w)."""
    inputs, head = model.inputs, model.layers[-1]
    outputs = {layer.name: layer.output for layer in model.layers}
    if isinstance(model, keras.Sequential):  # Of a loaded one, each layer is in a graph of its own.
        inputs = x = keras.Input((SIDE, SIDE, 3))
        for layer in model.layers:
            outputs[layer.name] = x = layer(x)
    *_, features = (x for x in outputs.values() if len(x.shape) == 4 and x.shape[1] >= SMALLEST)
    # The report's softmax would flatten gradients where the network is sure: before it, then.
    probable = getattr(head, "activation", None) is keras.activations.softmax
    *_, before, last = outputs.values()
    split = keras.Model(inputs, [features, before if probable else last])

    @tf.function(reduce_retracing=True)
    def maps(images, index):
        with tf.GradientTape() as tape:
            tape.watch(images)  # Frozen weights alone are not followed.
            features, scores = split(images, training=False)
            if probable:
                scores = tf.matmul(scores, head.kernel) + head.bias
            score = tf.reduce_sum(tf.gather(scores, index, axis=1))
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))

    return maps
