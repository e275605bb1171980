"""How people are cut out, and how a cartoon is drawn, as data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from atelier import cli
from atelier.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class CartoonConfig:
    """Settings of a cartoon."""

    method: Literal["report", "fine"] = "fine"
    """The report's steps, pixel for pixel; or the same idea with calmer areas and even outlines."""
    alpha: float = 1e-3
    """A group of levels is split if its counts are less probably normal than this."""
    smallest: int = 80
    """Levels that a group must have to be split."""
    canny: tuple[int, int] = (100, 200)
    """Of `report`: Canny's thresholds for outlines."""
    smoothing: float = 1.0
    """Of `fine`: how much detail disappears; 0 for none."""
    outline: float = 1.0
    """Of `fine`: the weight of outlines, 1 being a 500th of the picture's diagonal; 0 for none."""

    def __post_init__(self):
        if not 0 <= self.alpha <= 1:
            raise SettingsError(f"--alpha is a probability, not {self.alpha}")
        if not 8 <= self.smallest <= 256:
            raise SettingsError(f"--smallest is from 8 to 256 levels, not {self.smallest}")
        if not 0 <= self.canny[0] <= self.canny[1]:
            raise SettingsError(f"--canny takes two thresholds, the lower one first: {self.canny}")
        for name in ("smoothing", "outline"):
            if not 0 <= getattr(self, name) <= 10:
                raise SettingsError(f"--{name} is from 0 to 10, not {getattr(self, name)}")


REPORT = CartoonConfig(method="report")
"""The report's Section 2."""

FINE = CartoonConfig()

PRESETS = {"report": REPORT, "fine": FINE}


@dataclasses.dataclass(frozen=True)
class CutOutConfig:
    """How people are cut out."""

    segmenter: Literal["person", "deeplabv3-resnet101"] = "person"
    """The embedded network; or the report's, whose weights are fetched once (245 MB)."""
    classes: Literal["any", "person"] = "any"
    """What deeplabv3-resnet101 keeps: any of the 20 classes of Pascal VOC, or people."""
    deeplab_weights: Path | None = None
    """A local copy of torchvision's weights, instead of fetching them."""
    refine: bool = True
    """Let edges follow the picture, down to hair, at full resolution."""
    feather: float = 0.0
    """Pixels over which edges fade, in addition."""

    def __post_init__(self):
        if self.segmenter not in ("person", "deeplabv3-resnet101"):
            raise SettingsError(f"no segmenter {self.segmenter!r}: person or deeplabv3-resnet101")
        if self.classes not in ("any", "person"):
            raise SettingsError(f"no classes {self.classes!r}: any or person")
        if not 0 <= self.feather <= 1000:
            raise SettingsError(f"--feather is from 0 to 1000 pixels, not {self.feather}")


@dataclasses.dataclass(frozen=True)
class PortraitConfig(CartoonConfig, CutOutConfig):
    """How people are cut out and drawn: what the commands share."""

    cut_out: bool = True
    """Cut people out; else all of the picture is drawn."""

    def __post_init__(self):
        CartoonConfig.__post_init__(self)
        CutOutConfig.__post_init__(self)

    @property
    def cutting(self) -> CutOutConfig:
        """How people are cut out."""
        return cli.settings(CutOutConfig, self)

    @property
    def drawing(self) -> CartoonConfig:
        """How they are drawn."""
        return cli.settings(CartoonConfig, self)
