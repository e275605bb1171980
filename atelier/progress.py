"""One event for everybody who follows a long run: progress bars, web pages, GIF writers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a run that is under way."""

    number: int
    """Of this step, from 1."""
    total: int
    """Steps that are planned in all."""
    metrics: Mapping[str, float]
    """Losses and the like, by name."""
    image: Callable[[], np.ndarray] | None = None
    """Gives the picture as it is now, uint8 (h, w, 3 or 4), where the run makes one; it may be
    smaller than the result. Called only by who wants it, since it takes time."""


OnStep = Callable[[Step], bool | None]
"""Called after each step. Returning True ends the run early; what is done so far is kept."""


def notify_all(*listeners: OnStep | None) -> OnStep:
    """One callback that calls several; the run ends when any of them asks for it."""
    present = [listener for listener in listeners if listener is not None]

    def on_step(step: Step) -> bool:
        return any([bool(listener(step)) for listener in present])

    return on_step
