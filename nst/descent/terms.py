"""The terms of the loss and their gradients within one window of an image, compiled.

TensorFlow only (`tf.GradientTape`). Each function is traced once and serves all sizes of window.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from nst.descent import losses


@functools.lru_cache(maxsize=4)
def terms_of(network, contents: tuple[str, ...], styles: tuple[str, ...]) -> Terms:
    """The compiled terms of a network's layers, the same ones for the next picture."""
    return Terms(network, contents, styles)


class Terms:
    """Content and style terms of some layers of a feature network.

    Args:
        network: a frozen feature network with `features(names)` and `receptive(name)`.
        contents, styles: names of the content layers and the style layers.

    All functions take a window float32 (1, h, w, 3) of a preprocessed image, and the box
    (top, left, bottom, right) in it whose positions count; what surrounds the box is only seen.
    Lists of targets are in the layers' order, as in `nst.descent.objective.Targets`.
    """

    def __init__(self, network, contents: tuple[str, ...], styles: tuple[str, ...]):
        self.contents, self.styles = contents, styles
        names = list(dict.fromkeys([*contents, *styles]))
        self.model = network.features(names)
        self.strides = {name: network.receptive(name)[0] for name in names}
        channels = {n: o.shape[-1] for n, o in zip(names, self.model.outputs, strict=True)}
        image = [tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((4,), tf.int32)]
        content = [
            [tf.TensorSpec((1, None, None, channels[name])) for name in contents],
            tf.TensorSpec((len(contents),)),
        ]
        masks = [tf.TensorSpec((None, None, None)) for _ in styles]
        grams = [tf.TensorSpec((None, channels[name], channels[name])) for name in styles]
        regions = [tf.TensorSpec((None,)) for _ in styles]
        style = [grams, regions, regions]

        self.features = tf.function(self.features, image)
        self.gram_sums = tf.function(self.gram_sums, [*image, masks])
        self.style_gradient = tf.function(self.style_gradient, [grams, *style])
        self.tile_gradient = tf.function(self.tile_gradient, [*image, *content, masks, grams])
        self.gradient = tf.function(self.gradient, [*image, *content, masks, *style])
        band = [image[0], tf.TensorSpec((), tf.int32), tf.TensorSpec((2,))]
        self.variation_gradient = tf.function(self.variation_gradient, band)

    def features(self, window, box) -> dict[str, tf.Tensor]:
        """The features of a window's box."""
        features = {}
        outputs = tf.nest.flatten(self.model(window))  # Keras gives a single output without list.
        for (name, stride), feature in zip(self.strides.items(), outputs, strict=True):
            top, left, bottom, right = tf.unstack(box // stride)
            features[name] = feature[:, top:bottom, left:right]
        return features

    def gram_sums(self, window, box, masks) -> list[tf.Tensor]:
        """Undivided Gram matrices (regions, c, c) of the box at each style layer."""
        return self._sums(self.features(window, box), masks)

    def _sums(self, features, masks) -> list[tf.Tensor]:
        sums = []
        for name, mask in zip(self.styles, masks, strict=True):
            weighted = tf.cond(
                tf.size(mask) > 0,
                lambda f=features[name], mask=mask: (
                    tf.cast(f, tf.float32) * tf.transpose(mask, (2, 0, 1))[..., None]
                ),
                lambda f=features[name]: tf.cast(f, tf.float32),
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
            for name, target, scale in zip(self.contents, wanted, tf.unstack(scales), strict=True)
        ]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def gradient(self, window, box, wanted, content_scales, masks, grams, areas, scales):
        """Content loss, style loss, and the gradient of their sum, for an image in one piece."""
        with tf.GradientTape() as tape:
            tape.watch(window)
            features = self.features(window, box)
            content = self._content(features, wanted, content_scales)
            style = self._style(self._sums(features, masks), grams, areas, scales)
            loss = content + style
        return content, style, tape.gradient(loss, window)

    def style_gradient(self, sums, grams, areas, scales):
        """Style loss, and its gradient by the Gram sums of the whole image."""
        with tf.GradientTape() as tape:
            tape.watch(sums)
            style = self._style(sums, grams, areas, scales)
        return style, tape.gradient(style, sums)

    def tile_gradient(self, window, box, wanted, content_scales, masks, slopes):
        """A tile's content loss, and the gradient of the whole image's loss that falls to it.

        Args:
            slopes: what `style_gradient` gives.
        """
        with tf.GradientTape() as tape:
            tape.watch(window)
            features = self.features(window, box)
            content = self._content(features, wanted, content_scales)
            sums = self._sums(features, masks)
            products = [tf.reduce_sum(a * b) for a, b in zip(sums, slopes, strict=True)]
            loss = tf.add_n([content, *products])
        return content, tape.gradient(loss, window)

    def variation_gradient(self, band, rows, shares):
        """A band's part of an image's total variation, and its gradient (1, h, w, 3).

        Args:
            band: rows of the image (1, h, w, 3), and the one below them, if there is one.
            rows: how many there are without that.
            shares: of the image's pairs of pixels, the part in the band: of those one above the
                other, and of those side by side; float32 (2,).
        """
        with tf.GradientTape() as tape:
            tape.watch(band)
            beside = losses.column_variation(band[:, :rows])[0]
            variation = shares[0] * losses.row_variation(band)[0] + shares[1] * beside
        return variation, tape.gradient(variation, band)
