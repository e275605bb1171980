"""Ready feature networks: `vgg19-lite`, embedded, and the real VGG19, fetched once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from atelier.errors import WeightsError
from atelier.nets import weights as stored
from atelier.nets.precision import Precision, dtype_policy
from atelier.nets.vgg import VGG

VGG19_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
VGG19_MD5 = "253f8cb515780f3b799900260a226db6"
"""As published by Keras in `keras.applications.vgg19`."""

VGG19_LITE = {
    "widths": (16, 32, 64, 96, 128),
    "depths": (2, 2, 4, 4, 2),
    "padding": "edge",
    "projections": {
        "block1_conv1": 16,
        "block2_conv1": 32,
        "block3_conv1": 64,
        "block4_conv1": 96,
        "block5_conv1": 96,
        "block5_conv2": 96,
    },
}
"""The shape of `vgg19-lite`, as arguments of `VGG`."""

Pooling = Literal["max", "average"]


@functools.lru_cache(maxsize=4)
def load_features(
    name: Literal["vgg19-lite", "vgg19"] = "vgg19-lite",
    *,
    pooling: Pooling = "max",
    precision: Precision = "float32",
    vgg19_weights: str | Path | None = None,
) -> VGG:
    """A frozen feature network by name; asked again, the same one.

    Args:
        name: "vgg19-lite" (embedded) or "vgg19" (fetched once, 77 MB).
        pooling: "max", as trained, or "average".
        precision: of its arithmetic; weights stay float32. "auto" is the faster one, see
            `atelier.nets.precision.choose`.
        vgg19_weights: VGG19's weights as a local file, instead of fetching them.

    Raises:
        WeightsError: the weights are missing or damaged; the text says what to do.
    """
    if name == "vgg19":
        return vgg19(vgg19_weights, pooling=pooling, precision=precision)
    if name == "vgg19-lite":
        return vgg19_lite(pooling=pooling, precision=precision)
    raise ValueError(f"no features {name!r}; choose vgg19-lite or vgg19")


def vgg19_lite(*, pooling: Pooling = "max", precision: Precision = "float32") -> VGG:
    """The embedded network, distilled by `python -m nst.train`; see weights/vgg19_lite.json."""
    network = VGG(**VGG19_LITE, pooling=pooling, dtype=dtype_policy(precision), name="vgg19_lite")
    stored.load_embedded(network, "vgg19_lite")
    network.trainable = False
    return network


def vgg19(
    weights: str | Path | None = None,
    *,
    pooling: Pooling = "max",
    precision: Precision = "float32",
) -> VGG:
    """VGG19 without its top, with Keras' ImageNet weights.

    Args:
        weights: a local copy of Keras' file (`..._notop.h5`); None fetches it, checked by hash.
        pooling: "max" as trained, or "average".

    Raises:
        WeightsError: no file and no network, or a file of something else.
    """
    network = VGG(pooling=pooling, dtype=dtype_policy(precision), name="vgg19")
    if weights is None:
        weights = stored.fetch(VGG19_URL, VGG19_MD5, option="--vgg19-weights FILE")
    elif not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such file; it should be a copy of {VGG19_URL}")
    try:
        network.load_weights(weights)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # As h5py and Keras will.
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{weights}: not Keras' VGG19 weights without top ({reason})") from None
    network.trainable = False
    return network
