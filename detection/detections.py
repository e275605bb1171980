"""What a detector finds on a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The N objects found on a picture, highest score first."""

    boxes: np.ndarray
    """float32 (N, 4): x1 y1 x2 y2 in pixels of the picture, within it."""
    scores: np.ndarray
    """float32 (N,) in [0, 1]: probabilities."""
    labels: tuple[str, ...]
    """N names of classes."""

    def __len__(self) -> int:
        return len(self.labels)

    def select(
        self, score: float | Mapping[str, float] = 0.0, classes: Collection[str] | None = None
    ) -> Detections:
        """Returns those with at least a score, and of some classes.

        Args:
            score: of all classes, or by their names; a class without one has all of its objects.
            classes: names; None for all.
        """
        least = score.get if isinstance(score, Mapping) else lambda label, default: score
        kept = [
            i
            for i, label in enumerate(self.labels)
            if self.scores[i] >= least(label, 0.0) and (classes is None or label in classes)
        ]
        return Detections(self.boxes[kept], self.scores[kept], tuple(self.labels[i] for i in kept))
