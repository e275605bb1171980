"""Super-resolution of animations and many-page TIFFs: frame by frame, all of them kept."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from atelier.media.animations import change_animation, open_animation
from atelier.media.images import ImageSource, Picture
from atelier.progress import OnStep
from superres.compression import read_header
from superres.networks import Network
from superres.tiles import TILE
from superres.upscaling import Model, Scale, UpscaleConfig, check_size, judge, tiled_network


@dataclasses.dataclass(frozen=True)
class UpscaledAnimation:
    """An animation, or a file of many pages, enlarged."""

    path: Path
    """The file."""
    width: int
    """Of the first frame, in pixels."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    model: str
    """The network that was used for all: clean, compressed, or given."""
    reason: str
    """Why that one, in a few words."""
    scale: int
    """Pixels a side that each pixel became."""
    seconds: float
    """From opening the file to the end."""
    notes: tuple[str, ...] = ()
    """A line for each thing that is not as it was."""


def upscale_animation(
    source: ImageSource,
    out: str | os.PathLike,
    scale: Scale = 2,
    model: Model = "auto",
    *,
    tile: int = TILE,
    network: Network | None = None,
    strip: bool = False,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> UpscaledAnimation:
    """Enlarges all frames of an animation, or all pages of a TIFF file, by one network.

    Args:
        source: a path, a file's bytes or an open file.
        out: a .gif, .png (APNG), .webp, .avif, .tif or .tiff file.
        scale: how many times wider and higher: 2, 3 or 4.
        model: the embedded weights, or auto to choose them by the first frame.
        tile: the side of the squares that are worked on at once, pixels of the input.
        network: a network to use instead of the embedded one; its scale must be `scale`.
        strip: whether EXIF and XMP data are left out.
        on_step: called after each frame. If it returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the file cannot be read, is no animation, or a frame is damaged or too large.
        OutputError: `out` exists or cannot be written.
        SettingsError: settings out of range, or another suffix.
        WeightsError: there is no embedded network for the scale.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    start = time.perf_counter()
    config = UpscaleConfig(scale, model, tile)
    animation = open_animation(source)
    header = read_header(animation.data)
    chosen, reason = config.model, "as asked"
    if network is not None:
        chosen = reason = "given"
    tiled = None

    def change(picture: Picture) -> np.ndarray:
        nonlocal chosen, reason, tiled
        height, width = picture.image.shape[:2]
        check_size(width, height, config.scale, animation.name)
        if tiled is None:
            if chosen == "auto":
                chosen, reason = judge(header and header.lossy, picture.image)
            tiled = tiled_network(network, config, chosen)
        return tiled(picture.image)

    result = change_animation(
        animation, out, change, strip=strip, on_step=on_step, overwrite=overwrite
    )
    return UpscaledAnimation(
        path=result.path,
        width=result.width,
        height=result.height,
        frames=result.frames,
        model=chosen,
        reason=reason,
        scale=config.scale,
        seconds=time.perf_counter() - start,
        notes=result.notes,
    )
