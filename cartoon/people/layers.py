"""Layers that both segmenters use."""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("cartoon")
class ResizeLike(layers.Layer):
    """Bilinear interpolation of one batch of maps to the size of another.

    Corners are not aligned, and nothing is smoothed before: PyTorch's `interpolate` with
    `align_corners=False`. It is two products of matrices, as `keras.ops.image.resize` takes no
    size that is known only when a graph runs.

    Input: (N, h, w, C) and (N, H, W, any), both of any size. Output: (N, H, W, C).
    """

    def call(self, inputs):
        maps, reference = inputs
        (height, width), (rows, columns) = (ops.shape(x)[1:3] for x in (maps, reference))
        maps = ops.einsum("Hh,nhwc->nHwc", self._weights(height, rows), maps)
        return ops.einsum("Ww,nHwc->nHWc", self._weights(width, columns), maps)

    def _weights(self, old, new):
        """(new, old): what each old row has in each new one. Sizes may be a graph's tensors."""
        scale = ops.cast(old, "float32") / ops.cast(new, "float32")
        position = (ops.arange(new, dtype="float32") + 0.5) * scale - 0.5
        position = ops.clip(position, 0.0, ops.cast(old, "float32") - 1)
        distance = position[:, None] - ops.arange(old, dtype="float32")
        return ops.cast(ops.relu(1 - ops.abs(distance)), self.compute_dtype)

    def compute_output_spec(self, inputs):
        maps, reference = inputs
        shape = (maps.shape[0], *reference.shape[1:3], maps.shape[-1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return super().get_config()  # Keras refuses its own, unasked, if dtype is a policy object.
