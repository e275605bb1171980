"""Whole pictures through a network, tile by tile, so that memory stays flat.

Luma goes through the network; what is colour is interpolated bicubically (Keys' kernel, a = -0.5).
Both steps between RGB and YCbCr are linear, and so is interpolation, hence no plane of chroma is
made: the picture's channels are interpolated, and each gets what the network's luma has more than
interpolated luma. That is the same to the last rounding, which happens once.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError
from superres.color import LUMA_OFFSET, LUMA_WEIGHTS
from superres.config import TILE
from superres.network.inference import predictor
from superres.network.layers import interpolation_kernel
from superres.networks import Network

REACH = 4
"""How far colours are spread into transparent pixels, which may hold any; LR pixels."""

OnTile = Callable[[int, int], None]
"""Called after each tile with its number, from 1, and how many there are."""


class TiledNetwork:
    """A network for pictures of any size.

    Args:
        network: the network.
        tile: LR pixels a side of the largest tile.

    Raises:
        SettingsError: it is one of the networks of the report's comparison, whose halo is unknown.
    """

    def __init__(self, network: Network, tile: int = TILE):
        kind = network.card.get("network", "ours")
        if kind != "ours":
            raise SettingsError(f"only our own network enlarges pictures, not {kind}")
        self.network, self.scale, self.tile = network, network.scale, tile
        self._graphs = _graphs_of(network)

    def __call__(self, picture: np.ndarray, on_tile: OnTile | None = None) -> np.ndarray:
        """Enlarges a picture; the result does not depend on the tile.

        Beyond the border a picture is continued as its mirror image.

        Args:
            picture: uint8 (H, W), a grey picture or a plane of luma, or (H, W, 3), RGB, or
                (H, W, 4), with alpha, which is interpolated too.
            on_tile: told of each tile.

        Returns:
            uint8, scale times as high and wide, with the same channels.
        """
        channels = np.atleast_3d(picture)
        height, width, count = channels.shape
        result = np.empty((height * self.scale, width * self.scale, count), np.uint8)
        halo = self._graphs.halo(count)
        tiles = list(itertools.product(spans(height, self.tile), spans(width, self.tile)))
        for number, (rows, columns) in enumerate(tiles, start=1):
            below = _mirrored(rows.start - halo, rows.stop + halo, height)
            beside = _mirrored(columns.start - halo, columns.stop + halo, width)
            enlarged = self._graphs(channels[below[:, None], beside])
            result[self._enlarged(rows), self._enlarged(columns)] = enlarged
            if on_tile is not None:
                on_tile(number, len(tiles))
        return result.reshape(*result.shape[:2], *picture.shape[2:])

    def _enlarged(self, span: slice) -> slice:
        return slice(span.start * self.scale, span.stop * self.scale)


def spans(length: int, longest: int) -> Iterator[slice]:
    """Cuts `length` into as few parts as can be, about equal, none longer than `longest`."""
    parts = -(-length // longest)
    for part in range(parts):
        yield slice(length * part // parts, length * (part + 1) // parts)


def _mirrored(start: int, stop: int, length: int) -> np.ndarray:
    """Indices into an axis that goes on as its mirror image, edge pixels twice, without end."""
    index = np.arange(start, stop) % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)


class _Graphs:
    """Compiled functions of a tile: uint8 (h, w, channels) with its halo, to the enlarged tile."""

    def __init__(self, network: Network):
        self.scale, self._halo = network.scale, network.config.halo
        self._predict = predictor(network)
        kernel = interpolation_kernel(self.scale, "bicubic")
        self._kernel = np.float32(kernel)
        self._compiled = {
            channels: tf.function(
                function, input_signature=[tf.TensorSpec((None, None, channels), tf.uint8)]
            )
            for channels, function in ((1, self._grey), (3, self._color), (4, self._transparent))
        }

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        return self._compiled[tile.shape[-1]](tile).numpy()

    def halo(self, channels: int) -> int:
        """LR pixels around a tile that its pixels depend on."""
        return self._halo + (REACH if channels == 4 else 0)

    def _grey(self, tile):
        luma = tf.cast(tile, tf.float32)
        return self._finish(self._predict(luma[None])[0])

    def _color(self, tile):
        return self._finish(self._colors(tf.cast(tile, tf.float32)))

    def _transparent(self, tile):
        tile = tf.cast(tile, tf.float32)
        colors, alpha = tile[..., :3], tile[..., 3:]
        colors = self._colors(_spread(colors, alpha))
        return self._finish(tf.concat([colors, self._interpolate(alpha)], axis=-1))

    def _colors(self, rgb):
        weighted = rgb * np.float32(LUMA_WEIGHTS)
        luma = weighted[..., :1] + weighted[..., 1:2] + weighted[..., 2:] + LUMA_OFFSET
        luma = tf.floor(luma + 0.5)  # The network's input has 8 bits.
        interpolated = self._interpolate(tf.concat([rgb, luma], axis=-1))
        detail = self._predict(luma[None])[0] - interpolated[..., 3:]
        return interpolated[..., :3] + detail / np.float32(np.sum(LUMA_WEIGHTS))

    def _interpolate(self, channels):
        """(h, w, C) to (scale·h, scale·w, C), bicubic."""
        planes = tf.transpose(channels, (2, 0, 1))[..., None]
        planes = tf.nn.depth_to_space(tf.nn.conv2d(planes, self._kernel, 1, "SAME"), self.scale)
        return tf.transpose(planes[..., 0], (1, 2, 0))

    def _finish(self, pixels):
        """Without the halo, rounded."""
        border = self.halo(pixels.shape[-1]) * self.scale
        inner = pixels[border:-border, border:-border]
        return tf.cast(tf.clip_by_value(tf.floor(inner + 0.5), 0, 255), tf.uint8)


_GRAPHS: weakref.WeakKeyDictionary[keras.Model, _Graphs] = weakref.WeakKeyDictionary()


def _graphs_of(network: Network) -> _Graphs:
    if network.model not in _GRAPHS:
        _GRAPHS[network.model] = _Graphs(network)
    return _GRAPHS[network.model]


def _spread(colors, alpha):
    """Gives wholly transparent pixels the colours of opaque ones near them.

    Else what hides there, often black, would show as a fringe where interpolation mixes it in.
    """
    weighted = tf.concat([colors * alpha, alpha], axis=-1)[None]
    near = tf.nn.avg_pool2d(weighted, 2 * REACH + 1, 1, "SAME")[0]
    hidden = (alpha == 0) & (near[..., 3:] > 0)
    return tf.where(hidden, tf.math.divide_no_nan(near[..., :3], near[..., 3:]), colors)
