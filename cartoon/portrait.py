"""The whole of the report: a person cut out of a photo, and drawn as a cartoon."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import ImageSource, load_picture
from cartoon.config import CartoonConfig, CutOutConfig
from cartoon.drawing.backdrop import WHITE, Backdrop, compose, find_backdrop, lay_on
from cartoon.drawing.cartoonizing import cartoonize, settings_of
from cartoon.drawing.fine import draw_fine
from cartoon.drawing.report import draw_report
from cartoon.people import matting
from cartoon.people.cutting import find_people


@dataclasses.dataclass(frozen=True)
class Portrait:
    """A drawn person."""

    image: np.ndarray
    """uint8 (H, W, 3), or (H, W, 4) where something is transparent."""
    mask: np.ndarray
    """float32 (H, W) in [0, 1]: how much of each pixel is the person's."""
    found: bool
    """Whether there is anybody; else the whole picture is drawn."""
    seconds: float
    """That it took."""
    metadata: Metadata = NOTHING
    """What the picture's file says beside its pixels, for `atelier.media.images.save_image`."""


def portray(
    image: ImageSource,
    preset: Literal["report", "fine"] = "fine",
    *,
    background: str | Backdrop = "white",
    config: CartoonConfig | None = None,
    cutting: CutOutConfig | None = None,
) -> Portrait:
    """Cuts the people out of a photo and draws them.

    Preset "report" lays the photo on white and draws that, as the report does, its white included;
    "fine" draws the people alone, with an outline around them, and lays the drawing on the
    background.

    Args:
        image: a path, a file's bytes, a PIL image, or uint8 (H, W), (H, W, 3) or (H, W, 4).
        preset: of the drawing.
        background: a name, see `cartoon.drawing.backdrop.find_backdrop`, or what that gives.
        config: of the drawing, instead of a preset's.
        cutting: of the cut-out.

    Raises:
        ImageError: a picture cannot be read.
        SettingsError: another preset or background.
        WeightsError: the report's network, and no weights.
    """
    config = settings_of(preset, config)
    backdrop = find_backdrop(background) if isinstance(background, str) else background
    loaded = load_picture(image, alpha="keep")
    picture = loaded.image
    start = time.perf_counter()
    mask, found = find_people(picture, CutOutConfig() if cutting is None else cutting)
    if not found:
        drawn = cartoonize(picture, config=config).image
        return Portrait(drawn, mask, False, time.perf_counter() - start, loaded.metadata)
    photo = np.ascontiguousarray(picture[..., :3])
    drawn, edges = draw_person(photo, mask, config)
    if config.method != "report" or not np.array_equal(backdrop(picture), WHITE):
        drawn = compose(drawn, edges, picture, backdrop)
    return Portrait(drawn, mask, True, time.perf_counter() - start, loaded.metadata)


def draw_person(
    photo: np.ndarray, mask: np.ndarray, config: CartoonConfig, choose: Callable | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws what a mask shows of a photo.

    Args:
        photo: uint8 (H, W, 3).
        mask: float32 (H, W) in [0, 1].
        config: of the drawing.
        choose: gives `draw_report`'s centroids, or `draw_fine`'s tones.

    Returns:
        The drawing, uint8 (H, W, 3), which preset "report" has on white, and its mask.
    """
    if config.method == "report":
        return draw_report(lay_on(photo, mask, WHITE), config, choose), mask
    drawn = draw_fine(matting.foreground(photo, mask), config, tones=choose, mask=mask)
    return drawn, matting.harden(mask)  # A photo's soft edges are a haze around an outline.
