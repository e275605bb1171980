"""The objective of style transfer: loss and gradient of an image, whole or in tiles.

TensorFlow only (`tf.GradientTape`). Each function is compiled once and serves all sizes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from nst import losses
from nst.config import StyleTransferConfig, parse_layers

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels."""


@dataclasses.dataclass(frozen=True)
class Targets:
    """What images of one size are compared with; constant over an optimisation."""

    content: list[np.ndarray]
    """For each content layer, the content picture's features (1, h, w, c)."""
    content_scales: np.ndarray
    """For each content layer, the factor of its loss."""
    grams: list[tf.Tensor]
    """For each style layer, one Gram matrix a region: (regions, c, c)."""
    style_scales: list[np.ndarray]
    """For each style layer, the factor of each region's loss (regions,)."""
    masks: list[np.ndarray]
    """For each style layer, how far each position belongs to each region: (h, w, regions)."""
    areas: list[np.ndarray]
    """For each style layer, the sums of its masks (regions,)."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss of one image: `total` is the sum of the three weighted terms."""

    content: float
    style: float
    variation: float

    @property
    def total(self) -> float:
        return self.content + self.style + self.variation


class Objective:
    """Loss = content_weight · L_content + style_weight · L_style + tv_weight · TV.

    Args:
        network: a frozen feature network with `features(names)` and `receptive(name)`.
        config: the settings.

    Call `targets` once for each size of image, then `value_and_gradient` for each image.
    """

    def __init__(self, network, config: StyleTransferConfig):
        self.config = config
        self.content_weights = parse_layers(config.content_layers)
        self.style_weights = parse_layers(config.style_layers)
        names = list(dict.fromkeys([*self.content_weights, *self.style_weights]))
        self.model = network.features(names)
        sight = {name: network.receptive(name) for name in names}
        self.strides = {name: stride for name, (stride, _) in sight.items()}
        # A tile is seen with all that its positions can see, from a position of every layer.
        self.halo = _round_up(max(reach for _, reach in sight.values()), max(self.strides.values()))
        self._compile({n: o.shape[-1] for n, o in zip(names, self.model.outputs, strict=True)})

    def _compile(self, channels: dict[str, int]) -> None:
        styles = [channels[name] for name in self.style_weights]
        image = [tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((4,), tf.int32)]
        content = [
            [tf.TensorSpec((1, None, None, channels[name])) for name in self.content_weights],
            tf.TensorSpec((len(self.content_weights),)),
        ]
        masks = [tf.TensorSpec((None, None, None)) for _ in styles]
        grams = [tf.TensorSpec((None, c, c)) for c in styles]
        style = [
            grams,
            [tf.TensorSpec((None,))] * len(styles),
            [tf.TensorSpec((None,))] * len(styles),
        ]

        self._features = tf.function(self._features, image)
        self._gram_sums = tf.function(self._gram_sums, [*image, masks])
        self._style_gradient = tf.function(self._style_gradient, [grams, *style])
        self._tile_gradient = tf.function(self._tile_gradient, [*image, *content, masks, grams])
        self._gradient = tf.function(self._gradient, [*image, *content, masks, *style])
        self._variation_gradient = tf.function(self._variation_gradient, image[:1])

    # === Targets ===

    def targets(
        self,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
        weights: Sequence[float],
        masks: np.ndarray | None = None,
    ) -> Targets:
        """Computes the targets of images of the content's size.

        Args:
            content: float32 (1, H, W, 3), preprocessed.
            styles: pictures (1, h, w, 3), preprocessed, of any sizes.
            weights: one a style, summing to 1.
            masks: float32 (H, W, styles) in [0, 1], where each style applies. Without masks all
                styles apply everywhere: one region, whose target is the mean Gram matrix.
        """
        config = self.config
        contents = self._content_features(content)
        grams = [tf.stack(layer) for layer in zip(*map(self._gram_matrices, styles), strict=True)]
        shares = np.asarray(weights, np.float32)
        if masks is None:
            grams = [tf.tensordot(shares, gram, 1)[None] for gram in grams]
            masks, shares = np.ones((*content.shape[1:3], 1), np.float32), np.ones(1, np.float32)
        reduced = self._reduce(masks)

        def scale(weight, target, axes):
            energy = np.mean(np.square(target, dtype=np.float32), axis=axes) + 1e-12
            return np.float32(weight / energy if config.normalize else weight)

        return Targets(
            content=contents,
            content_scales=np.float32(
                [
                    scale(config.content_weight * weight, target, None)
                    for weight, target in zip(self.content_weights.values(), contents, strict=True)
                ]
            ),
            grams=grams,
            style_scales=[
                scale(config.style_weight * weight * shares, gram.numpy(), (1, 2))
                for weight, gram in zip(self.style_weights.values(), grams, strict=True)
            ],
            masks=reduced,
            areas=[mask.sum(axis=(0, 1)) + np.float32(1e-6) for mask in reduced],
        )

    def _content_features(self, image: np.ndarray) -> list[np.ndarray]:
        """The image's features at the content layers, put together from tiles."""
        rows = []
        for tile in self._tiles(image.shape):
            window, box = self._window(image, tile)
            features = self._features(window, box)
            if tile[1] == 0:
                rows.append([[] for _ in self.content_weights])
            for parts, name in zip(rows[-1], self.content_weights, strict=True):
                parts.append(features[name].numpy())
        layers = zip(
            *[[np.concatenate(parts, axis=2) for parts in row] for row in rows], strict=True
        )
        return [np.concatenate(layer, axis=1) for layer in layers]

    def _gram_matrices(self, image: np.ndarray) -> list[tf.Tensor]:
        """A picture's Gram matrices (c, c) at the style layers."""
        masks = self._reduce(np.ones((*image.shape[1:3], 1), np.float32))
        sums = self._all_gram_sums(image, masks)
        return [total[0] / mask.sum() for total, mask in zip(sums, masks, strict=True)]

    def _reduce(self, masks: np.ndarray) -> list[np.ndarray]:
        """Masks at the sizes of the style layers' maps: means over their positions' cells."""
        reduced = []
        for stride in (self.strides[name] for name in self.style_weights):
            height, width = (side // stride for side in masks.shape[:2])
            cells = masks[: height * stride, : width * stride]
            cells = cells.reshape(height, stride, width, stride, -1)
            reduced.append(cells.mean(axis=(1, 3), dtype=np.float32))
        return reduced

    # === Loss and gradient ===

    def value_and_gradient(self, image: np.ndarray, targets: Targets) -> tuple[Loss, np.ndarray]:
        """The loss of an image, and its gradient.

        Images larger than a tile are evaluated in two passes over tiles: Gram matrices are sums
        over positions, so the first pass adds up those of all tiles, and the second sends the
        loss's derivative by the sums back through each tile. The result is the whole image's.

        Args:
            image: float32 (1, H, W, 3), preprocessed, of the targets' size.

        Returns:
            The loss, and the gradient float32 (1, H, W, 3).
        """
        style_targets = targets.grams, targets.areas, targets.style_scales
        if len(list(self._tiles(image.shape))) == 1:
            content, style, gradient = self._gradient(
                image,
                (0, 0, *image.shape[1:3]),
                targets.content,
                targets.content_scales,
                targets.masks,
                *style_targets,
            )
            gradient = gradient.numpy()
        else:
            sums = self._all_gram_sums(image, targets.masks)
            style, slopes = self._style_gradient(sums, *style_targets)
            content, gradient = 0.0, np.zeros_like(image)
            for tile in self._tiles(image.shape):
                window, box = self._window(image, tile)
                wanted = self._cut(targets.content, self.content_weights, tile, axis=1)
                masks = self._cut(targets.masks, self.style_weights, tile)
                # A layer's loss is a mean over the whole map: each tile gives its share of it.
                shares = [p.size / w.size for p, w in zip(wanted, targets.content, strict=True)]
                scales = np.float32(targets.content_scales * np.asarray(shares))
                part, slope = self._tile_gradient(window, box, wanted, scales, masks, slopes)
                content += part
                top, left = tile[0] - box[0], tile[1] - box[1]
                gradient[:, top : top + slope.shape[1], left : left + slope.shape[2]] += slope
        variation = 0.0
        if self.config.tv_weight:
            variation, slope = self._variation_gradient(image)
            gradient = gradient + slope.numpy()
        return Loss(float(content), float(style), float(variation)), gradient

    def _all_gram_sums(self, image, masks) -> list[tf.Tensor]:
        totals = None
        for tile in self._tiles(image.shape):
            sums = self._gram_sums(
                *self._window(image, tile), self._cut(masks, self.style_weights, tile)
            )
            totals = sums if totals is None else [a + b for a, b in zip(totals, sums, strict=True)]
        return totals

    # === Tiles ===

    def _tiles(self, shape) -> Iterator[Box]:
        """The tiles of an image (1, H, W, 3), row by row; a last sliver joins its neighbour."""
        tile = self.config.tile
        rows, columns = ([*range(0, max(1, side - self.halo), tile), side] for side in shape[1:3])
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(columns):
                yield top, left, bottom, right

    def _window(self, image, tile: Box) -> tuple[np.ndarray, Box]:
        """A tile with its halo, and the tile's box in that window."""
        top, left = (max(0, start - self.halo) for start in tile[:2])
        window = image[:, top : tile[2] + self.halo, left : tile[3] + self.halo]
        return window, (tile[0] - top, tile[1] - left, tile[2] - top, tile[3] - left)

    def _cut(self, maps, names, tile: Box, axis: int = 0) -> list[np.ndarray]:
        """A tile's part of maps whose rows and columns are axes `axis` and `axis` + 1."""
        cuts = []
        for whole, name in zip(maps, names, strict=True):
            top, left, bottom, right = (side // self.strides[name] for side in tile)
            cuts.append(whole[(slice(None),) * axis + (slice(top, bottom), slice(left, right))])
        return cuts

    # === Compiled functions ===

    def _features(self, window, box) -> dict[str, tf.Tensor]:
        """The features of a window's box."""
        features = {}
        for (name, stride), feature in zip(self.strides.items(), self.model(window), strict=True):
            top, left, bottom, right = tf.unstack(box // stride)
            features[name] = feature[:, top:bottom, left:right]
        return features

    def _gram_sums(self, window, box, masks):
        return self._sums(self._features(window, box), masks)

    def _sums(self, features, masks) -> list[tf.Tensor]:
        """Undivided Gram matrices (regions, c, c) of each style layer."""
        sums = []
        for name, mask in zip(self.style_weights, masks, strict=True):
            weighted = (
                tf.cast(features[name], tf.float32) * tf.transpose(mask, (2, 0, 1))[..., None]
            )
            sums.append(losses.gram_sum(weighted, features[name]))
        return sums

    def _style(self, sums, grams, areas, scales) -> tf.Tensor:
        """Σ over layers and regions of scale · style loss, from undivided Gram matrices."""
        terms = [
            tf.reduce_sum(scale * losses.style_loss(total / area[:, None, None], gram))
            for total, gram, area, scale in zip(sums, grams, areas, scales, strict=True)
        ]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def _content(self, features, wanted, scales) -> tf.Tensor:
        """Σ over layers of scale · content loss."""
        terms = [
            scale * losses.content_loss(features[name], target)[0]
            for name, target, scale in zip(
                self.content_weights, wanted, tf.unstack(scales), strict=True
            )
        ]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def _gradient(self, window, box, wanted, content_scales, masks, grams, areas, scales):
        with tf.GradientTape() as tape:
            tape.watch(window)
            features = self._features(window, box)
            content = self._content(features, wanted, content_scales)
            style = self._style(self._sums(features, masks), grams, areas, scales)
            loss = content + style
        return content, style, tape.gradient(loss, window)

    def _style_gradient(self, sums, grams, areas, scales):
        with tf.GradientTape() as tape:
            tape.watch(sums)
            style = self._style(sums, grams, areas, scales)
        return style, tape.gradient(style, sums)

    def _tile_gradient(self, window, box, wanted, content_scales, masks, slopes):
        with tf.GradientTape() as tape:
            tape.watch(window)
            features = self._features(window, box)
            content = self._content(features, wanted, content_scales)
            sums = self._sums(features, masks)
            products = [tf.reduce_sum(a * b) for a, b in zip(sums, slopes, strict=True)]
            loss = tf.add_n([content, *products])
        return content, tape.gradient(loss, window)

    def _variation_gradient(self, image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            variation = self.config.tv_weight * losses.total_variation(image)[0]
        return variation, tape.gradient(variation, image)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
