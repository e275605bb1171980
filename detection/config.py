"""How objects are sought, as data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from atelier.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class DetectConfig:
    """What finds objects, and what of it is kept."""

    model: str = "person"
    """The embedded person or blood-cells; resnet50_fpn or resnet50_fpn_v2, trained on COCO, whose
    weights are fetched once (160 MB); or the run folder of a training of your own."""
    weights: Path | None = None
    """A local copy of torchvision's weights of resnet50_fpn, instead of fetching them."""
    threshold: float | None = None
    """Objects less sure than this are left out; left out itself, each class's own, at which the
    detector was best on pictures that it had not seen."""
    classes: tuple[str, ...] = ()
    """Names of the classes to keep; all of them, if left out."""

    def __post_init__(self):
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SettingsError(f"--threshold is from 0 to 1, not {self.threshold}")
