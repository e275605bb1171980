"""A picture as a cartoon."""

from __future__ import annotations

import dataclasses
import time
from typing import Literal

import numpy as np

from atelier.errors import SettingsError
from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import ImageSource, load_picture
from cartoon.config import PRESETS, CartoonConfig
from cartoon.drawing.fine import draw_fine
from cartoon.drawing.report import draw_report


@dataclasses.dataclass(frozen=True)
class Cartoon:
    """A drawn picture."""

    image: np.ndarray
    """uint8 (H, W, 3), or (H, W, 4) with the alpha that the picture had."""
    seconds: float
    """That drawing took."""
    metadata: Metadata = NOTHING
    """What the picture's file says beside its pixels, for `atelier.media.images.save_image`."""


def cartoonize(
    image: ImageSource,
    preset: Literal["report", "fine"] = "fine",
    *,
    config: CartoonConfig | None = None,
) -> Cartoon:
    """Draws a picture as a cartoon, as it is given, without a cut-out.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, an array and so on.
        preset: "report", pixel for pixel the report's; or "fine".
        config: settings, instead of a preset's.

    Raises:
        ImageError: the picture cannot be read.
        SettingsError: another preset.
    """
    config = settings_of(preset, config)
    loaded = load_picture(image, alpha="keep")
    picture = loaded.image
    start = time.perf_counter()
    draw = {"report": draw_report, "fine": draw_fine}[config.method]
    drawn = draw(np.ascontiguousarray(picture[..., :3]), config)
    if picture.shape[-1] == 4:
        drawn = np.concatenate([drawn, picture[..., 3:]], axis=-1)
    return Cartoon(drawn, time.perf_counter() - start, loaded.metadata)


def settings_of(preset: str, config: CartoonConfig | None) -> CartoonConfig:
    """A preset's settings, if there are no others.

    Raises:
        SettingsError: there is no such preset.
    """
    if preset not in PRESETS:
        raise SettingsError(f"no preset {preset!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[preset] if config is None else config
