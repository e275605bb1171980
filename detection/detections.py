"""What a detector finds on a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

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

    def select(self, score: float = 0.0, classes: Collection[str] | None = None) -> Detections:
        """Those with at least this score, and of these classes; None: of all classes."""
        kept = [
            i
            for i, label in enumerate(self.labels)
            if self.scores[i] >= score and (classes is None or label in classes)
        ]
        return Detections(self.boxes[kept], self.scores[kept], tuple(self.labels[i] for i in kept))
