"""How a cartoon is drawn, as data."""

from __future__ import annotations

import dataclasses
from typing import Literal

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
