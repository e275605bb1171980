"""Settings: the networks' shapes, and how a picture comes to be square."""

from __future__ import annotations

import dataclasses
from typing import Literal

from atelier.errors import SettingsError

Fit = Literal["squeeze", "crop"]
"""How a picture comes to be square: squeezed, as CIFAR-10's own pictures were, or its middle."""


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Which network, and its shape."""

    network: Literal["report", "strong"] = "report"
    """The report's, which has one shape, or the one worth using."""
    widths: tuple[int, ...] = (64, 256, 256)
    """Of `strong`: channels of its groups, each of which halves the sides."""
    depth: int = 2
    """Of `strong`: convolutions a group. From 3 on, those after the first are a residual."""
    activation: Literal["relu", "silu", "gelu"] = "gelu"
    """Of `strong`."""

    def __post_init__(self):
        if not 1 <= len(self.widths) <= 4 or min(self.widths) < 1:
            raise SettingsError(f"--widths takes one to four positive numbers, not {self.widths}")
        if not 1 <= self.depth <= 8:
            raise SettingsError(f"--depth is from 1 to 8, not {self.depth}")
