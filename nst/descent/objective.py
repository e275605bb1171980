"""The objective of style transfer: loss and gradient of an image, whole or in tiles.

What is computed within one window of an image is in `nst.descent.terms`; here it is put together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from nst.config import StyleTransferConfig, parse_layers
from nst.descent.terms import terms_of

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
    """For each style layer, how far each position belongs to each region: (h, w, regions), or
    empty where all positions belong to the one region."""
    areas: list[np.ndarray]
    """For each style layer, the positions in each region (regions,): the sums of its masks."""


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
        self.terms = terms_of(network, tuple(self.content_weights), tuple(self.style_weights))
        self.strides = self.terms.strides
        # A tile is seen with all that its positions can see, from a position of every layer.
        reach = max(network.receptive(name)[1] for name in self.strides)
        self.halo = _round_up(reach, max(self.strides.values()))

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
            shares = np.ones(1, np.float32)
        reduced, areas = self._reduce(content.shape, masks)

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
            areas=areas,
        )

    def moved(self, targets: Targets, content: np.ndarray, masks: np.ndarray | None) -> Targets:
        """The targets of the same pictures when content and masks have been moved.

        Args:
            targets: what `targets` gave for them before.
            content, masks: as for `targets`, moved.
        """
        reduced, areas = self._reduce(content.shape, masks)
        contents = self._content_features(content)
        return dataclasses.replace(targets, content=contents, masks=reduced, areas=areas)

    def _content_features(self, image: np.ndarray) -> list[np.ndarray]:
        """The image's features at the content layers, put together from tiles."""
        rows = []
        for tile in self._tiles(image.shape):
            window, box = self._window(image, tile)
            features = self.terms.features(window, box)
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
        masks, areas = self._reduce(image.shape, None)
        sums = self._all_gram_sums(image, masks)
        return [total[0] / area for total, area in zip(sums, areas, strict=True)]

    def _reduce(self, shape, masks: np.ndarray | None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Masks at the sizes of the style layers' maps, and the masks' sums.

        A mask's value at a position is its mean over the position's cell of the image (1, H, W, 3)
        of `shape`. Without masks there is one region of all positions, with an empty mask, which
        spares multiplying by ones.
        """
        reduced, areas = [], []
        for stride in (self.strides[name] for name in self.style_weights):
            height, width = (side // stride for side in shape[1:3])
            if masks is None:
                reduced.append(np.zeros((0, 0, 1), np.float32))
                areas.append(np.float32([height * width]))
                continue
            cells = masks[: height * stride, : width * stride]
            cells = cells.reshape(height, stride, width, stride, -1)
            reduced.append(cells.mean(axis=(1, 3), dtype=np.float32))
            areas.append(reduced[-1].sum(axis=(0, 1)) + np.float32(1e-6))
        return reduced, areas

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
            content, style, gradient = self.terms.gradient(
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
            style, slopes = self.terms.style_gradient(sums, *style_targets)
            content, gradient = 0.0, np.zeros_like(image)
            for tile in self._tiles(image.shape):
                window, box = self._window(image, tile)
                wanted = self._cut(targets.content, self.content_weights, tile, axis=1)
                masks = self._cut(targets.masks, self.style_weights, tile)
                # A layer's loss is a mean over the whole map: each tile gives its share of it.
                shares = [p.size / w.size for p, w in zip(wanted, targets.content, strict=True)]
                scales = np.float32(targets.content_scales * np.asarray(shares))
                part, slope = self.terms.tile_gradient(window, box, wanted, scales, masks, slopes)
                content += part
                top, left = tile[0] - box[0], tile[1] - box[1]
                gradient[:, top : top + slope.shape[1], left : left + slope.shape[2]] += slope
        variation = self._add_variation(image, gradient) if self.config.tv_weight else 0.0
        return Loss(float(content), float(style), float(variation)), gradient

    def _add_variation(self, image: np.ndarray, gradient: np.ndarray) -> float:
        """The term of total variation, whose gradient is added to `gradient`.

        In bands of rows as high as tiles: it takes ten times the memory of what it is computed of.
        """
        weight, height, total = self.config.tv_weight, image.shape[1], 0.0
        for top, bottom in sorted({(tile[0], tile[2]) for tile in self._tiles(image.shape)}):
            band = image[:, top : bottom + 1]
            shares = np.float32(((band.shape[1] - 1) / (height - 1), (bottom - top) / height))
            part, slope = self.terms.variation_gradient(band, bottom - top, shares)
            gradient[:, top : bottom + 1] += weight * slope.numpy()
            total += float(part)
        return weight * total

    def _all_gram_sums(self, image, masks) -> list[tf.Tensor]:
        totals = None
        for tile in self._tiles(image.shape):
            sums = self.terms.gram_sums(
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


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
