"""What the strong network has beyond Keras' own layers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

PACKAGE = "atelier.classify"


@keras.saving.register_keras_serializable(package=PACKAGE)
class Dirac(keras.initializers.Initializer):
    """The identity for the first filters of a convolution, uniform noise for those beyond.

    The first `channels in` filters hand each channel on unchanged, so that at the start a deep
    network is a shallow one. The others are uniform in ±1/√(inputs of a filter).
    (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024, Section 3.3; Zagoruyko and Komodakis, 2017.)
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._noise = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)

    def __call__(self, shape, dtype=None):
        """A kernel (rows, columns, in, out), rows and columns odd."""
        rows, columns, inputs, outputs = shape
        noise = self._noise(shape, dtype)
        kept = min(inputs, outputs)
        identity = np.zeros((rows, columns, inputs, kept), np.float32)
        identity[rows // 2, columns // 2, range(kept), range(kept)] = 1
        return ops.concatenate([ops.cast(identity, noise.dtype), noise[..., kept:]], axis=-1)

    def get_config(self):
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Whitening(layers.Conv2D):
    """A convolution whose filters are the whitened principal components of patches, and their
    negatives; set once by `adapt`, and never trained.

    Patches of the pictures so come out uncorrelated and of variance one, which lets the layers
    above learn at once (Page, "How to train your ResNet", 2018; Jordan, 2024, Section 3.2).

    Args:
        side: of a patch, pixels.
    """

    def __init__(self, side: int = 2, **kwargs):
        super().__init__(2 * 3 * side**2, side, use_bias=False, trainable=False, **kwargs)
        self.side = side

    def adapt(self, images: np.ndarray, epsilon: float = 5e-4) -> None:
        """Sets the filters.

        Args:
            images: (N, H, W, 3), scaled as the layer will see them.
            epsilon: added to each component's variance: what is less is taken for noise.
        """
        size = self.side
        windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * size**2).astype(np.float64)
        values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
        kernel = (vectors / np.sqrt(values + epsilon)).reshape(size, size, 3, -1)
        self.kernel.assign(np.concatenate([kernel, -kernel], axis=-1))

    def get_config(self):
        config = {**super().get_config(), "side": self.side}
        for fixed in ("filters", "kernel_size", "use_bias", "trainable"):
            config.pop(fixed)
        return config
