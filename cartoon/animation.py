"""Cartoons of animations and many-page TIFFs: all frames kept, drawn without flicker."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from atelier.media.animations import (
    Animation,
    change_animation,
    channels_of,
    open_animation,
    with_channels,
)
from atelier.media.images import ImageSource, Picture
from atelier.progress import OnStep
from cartoon.config import CartoonConfig, CutOutConfig
from cartoon.drawing.backdrop import WHITE, Backdrop, compose
from cartoon.drawing.cartoonizing import settings_of
from cartoon.drawing.steady import SteadyCartoon
from cartoon.people.cutting import find_people
from cartoon.portrait import portray


@dataclasses.dataclass(frozen=True)
class CartoonAnimation:
    """A drawn animation, or file of many pages."""

    path: Path
    """The file."""
    width: int
    """Of the first frame, in pixels."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    seconds: float
    """From opening the file to the end."""
    notes: tuple[str, ...] = ()
    """A line for each thing that is not as it was."""


def cartoonize_animation(
    source: ImageSource,
    out: str | os.PathLike,
    preset: Literal["report", "fine"] = "fine",
    *,
    config: CartoonConfig | None = None,
    cutting: CutOutConfig | None = None,
    backdrop: Backdrop = lambda photo: WHITE,
    change: Callable[[Picture], np.ndarray] | None = None,
    strip: bool = False,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> CartoonAnimation:
    """Draws all frames of an animation, or all pages of a TIFF file.

    Frames are drawn as a video's are (`cartoon.drawing.steady`), so that nothing flickers; pages
    each for itself. Without a cut-out, alpha stays as it is.

    Args:
        source: a path, a file's bytes or an open file.
        out: a .gif, .png (APNG), .webp, .avif, .tif or .tiff file.
        preset: "report" or "fine".
        config: settings, instead of a preset's.
        cutting: if given, people are cut out, by these settings.
        backdrop: gives what they are laid on, for each frame.
        change: makes of each frame the one to be written, instead of drawing it.
        strip: whether EXIF and XMP data are left out.
        on_step: called after each frame. If it returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is no animation, or a frame is damaged.
        OutputError: `out` exists or cannot be written.
        SettingsError: another preset or suffix.
        WeightsError: the report's network cuts out, and there are no weights.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    start = time.perf_counter()
    config, animation = settings_of(preset, config), open_animation(source)
    if change is None:
        change = _drawing(animation, config, cutting, backdrop)
    result = change_animation(
        animation, out, change, strip=strip, on_step=on_step, overwrite=overwrite
    )
    return CartoonAnimation(
        path=result.path,
        width=result.width,
        height=result.height,
        frames=result.frames,
        seconds=time.perf_counter() - start,
        notes=result.notes,
    )


def _drawing(
    animation: Animation, config: CartoonConfig, cutting: CutOutConfig | None, backdrop: Backdrop
) -> Callable[[Picture], np.ndarray]:
    artist = SteadyCartoon(config)

    def steady(picture: Picture) -> np.ndarray:
        image = picture.image
        photo = np.ascontiguousarray(image[..., :3])
        if cutting is None:
            drawn = np.rint(artist.layers(photo)[0]).astype(np.uint8)
            return np.dstack([drawn, image[..., 3:]]) if image.shape[2] == 4 else drawn
        drawn, mask = artist.layers(photo, find_people(image, cutting)[0])
        return compose(drawn, mask, image, backdrop)

    def page(picture: Picture) -> np.ndarray:
        nonlocal artist
        image = with_channels(picture.image, channels_of(picture.image))
        if cutting is not None:
            return portray(image, background=backdrop, config=config, cutting=cutting).image
        artist = SteadyCartoon(config)  # One page has nothing to do with the next.
        return steady(dataclasses.replace(picture, image=image))

    return page if animation.has_pages else steady
