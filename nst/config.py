"""The settings of style transfer, and the presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from atelier.errors import SettingsError

STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
"""The report's `style_layers`, Gatys' too."""


@dataclasses.dataclass(frozen=True)
class StyleTransferConfig:
    """How a photo is repainted. The defaults are the preset `fast`."""

    features: Literal["vgg19-lite", "vgg19"] = "vgg19-lite"
    """Feature network: vgg19-lite is embedded; vgg19 is fetched once (77 MB)."""
    vgg19_weights: Path | None = None
    """VGG19's weights as a local file, instead of fetching them."""
    trainable: bool = False
    """Mark the network's weights as trainable. Changes nothing: only the image is optimised."""
    pooling: Literal["max", "average"] = "max"
    """Pooling of the feature network."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; auto takes bfloat16 where it was measured to be faster."""

    size: int = 512
    """Longer side of the result in pixels; 0 keeps the content's own size."""
    coarsest: int = 192
    """Longer side at which the coarse-to-fine pyramid starts; 0 optimises at full size alone."""
    iterations: int = 120
    """Optimiser steps at the last level; each coarser level takes half as many again."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS, or the report's Adam."""
    learning_rate: float = 2.0
    """Of Adam, in grey levels of 255."""
    beta_1: float = 0.99
    """Of Adam."""
    epsilon: float = 1e-8
    """Of Adam; the report's 0.1 is of the size of gradients that are not normalised."""
    init: Literal["content", "style", "noise"] = "content"
    """The image to start from."""
    seed: int = 0
    """Of the noise to start from."""

    content_layers: tuple[str, ...] = ("block4_conv1",)
    """Layers whose features keep the content, as NAME or NAME:WEIGHT."""
    style_layers: tuple[str, ...] = STYLE_LAYERS
    """Layers whose Gram matrices carry the style, as NAME or NAME:WEIGHT."""
    content_weight: float = 0.05
    """Weight of the content loss."""
    style_weight: float = 1.0
    """Weight of the style loss."""
    tv_weight: float = 4e-5
    """Weight of the total variation, against noise."""
    normalize: bool = True
    """Divide each layer's loss by its target's mean square, so that weights mean the same for all
    pictures and networks. The report does not."""

    style_weights: tuple[float, ...] = ()
    """Weights of several styles; equal when left out."""
    style_scale: float = 1.0
    """Longer side of the style pictures relative to the result: larger gives larger strokes."""
    style_masks: tuple[Path, ...] = ()
    """One mask a style: white where it is to be applied. Fitted to the content."""
    preserve_color: Literal["none", "luminance", "histogram"] = "none"
    """Keep the content's colours: transfer brightness only, or recolour the style first."""

    margin: int = 16
    """Pixels of mirrored content around the picture that are optimised with it and then cut off,
    so that its borders are painted like its middle; 0, as in the report, optimises it bare."""
    shift_every: int = 40
    """Steps after which the image is moved against the network's pooling grid, which would leave
    its weave in the picture; needs a margin to move in. 0, as in the report: never."""
    tile: int = 768
    """Larger images are optimised in tiles of this side, exactly, to bound memory."""

    def __post_init__(self):
        positive = ("learning_rate", "style_scale", "epsilon", "tile")
        for name in positive:
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(f"{_flag(name)} must be positive, not {getattr(self, name)}")
        not_negative = (
            "size",
            "coarsest",
            "margin",
            "shift_every",
            "iterations",
            "content_weight",
            "style_weight",
        )
        for name in (*not_negative, "tv_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingsError(f"{_flag(name)} must be 0 or more, not {getattr(self, name)}")
        if not 0 <= self.beta_1 < 1:
            raise SettingsError(f"--beta-1 must be in [0, 1), not {self.beta_1}")
        if self.tile % 16:
            raise SettingsError(f"--tile must be a multiple of 16, not {self.tile}")
        if 0 < self.size < 32:
            raise SettingsError(f"--size must be 0 or at least 32, not {self.size}")
        if not self.style_layers and not self.content_layers:
            raise SettingsError("no layer at all: give --content-layers or --style-layers")
        finite = all(0 <= weight < float("inf") for weight in self.style_weights)
        if not finite or (self.style_weights and not sum(self.style_weights) > 0):
            raise SettingsError("--style-weights must not be negative, nor all zero")
        parse_layers(self.content_layers)
        parse_layers(self.style_layers)


def parse_layers(layers: tuple[str, ...]) -> dict[str, float]:
    """Layer weights by name from NAME or NAME:WEIGHT, scaled to sum to 1.

    The report weighs all layers alike, w_l = 1/|L|.

    Raises:
        SettingsError: a weight is no number, or negative, or a name comes twice.
    """
    weights = {}
    for layer in layers:
        name, _, weight = layer.partition(":")
        try:
            value = float(weight or 1)
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise SettingsError(f"layer {layer!r}: the weight after ':' must be a positive number")
        if name in weights:
            raise SettingsError(f"layer {name!r} is given twice")
        weights[name] = value
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


REPORT = StyleTransferConfig(
    features="vgg19",
    precision="float32",
    coarsest=0,
    iterations=1000,
    optimizer="adam",
    learning_rate=2.0,
    beta_1=0.99,
    epsilon=0.1,
    init="content",
    margin=0,
    shift_every=0,
    content_layers=("block5_conv2",),
    content_weight=1e3,
    style_weight=1e-2,
    tv_weight=0.0,
    normalize=False,
)
"""The report's own way, section 3."""

PRESETS = MappingProxyType({"fast": StyleTransferConfig(), "report": REPORT})
"""Settings by name."""

REPORT_SETTINGS = (
    {"iterations": 1000, "style_weight": 1e-2, "learning_rate": 2.0, "trainable": False},
    {"iterations": 7500, "style_weight": 1e-2, "learning_rate": 2.0, "trainable": False},
    {"iterations": 7500, "style_weight": 1e-2, "learning_rate": 2.0, "trainable": True},
    {"iterations": 7500, "style_weight": 1e-2, "learning_rate": 4.0, "trainable": False},
    {"iterations": 1000, "style_weight": 1e-2, "learning_rate": 4.0, "trainable": False},
    {"iterations": 7500, "style_weight": 1e-1, "learning_rate": 2.0, "trainable": False},
    {"iterations": 7500, "style_weight": 1e-3, "learning_rate": 2.0, "trainable": False},
)
"""The seven settings of the report's section 4, in its order; all with content weight 1e3."""
