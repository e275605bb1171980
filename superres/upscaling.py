"""Super-resolution of one picture: the public function and its settings."""

from __future__ import annotations

import dataclasses
import os
import time

import numpy as np

from atelier.errors import ImageError, SettingsError
from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import MAX_PIXELS, ImageSource, load_picture, name_of, read_source
from atelier.progress import OnStep, Step
from superres.compression import VISIBLE_GRID, grid_strength, read_header
from superres.config import TILE, Model, Scale, UpscaleConfig
from superres.networks import Network, load_network
from superres.tiles import OnTile, TiledNetwork

MAX_OUTPUT_PIXELS = 400_000_000
"""Larger results are refused before the work starts: 20,000×20,000, 1.2 GB of RGB."""


@dataclasses.dataclass(frozen=True)
class Upscaled:
    """A picture enlarged."""

    image: np.ndarray
    """uint8 (scale·H, scale·W, 3), or with a fourth channel where the picture had transparency."""
    grey: bool
    """Whether the picture was grey; then all three channels are the same."""
    model: str
    """The network that was used: clean, compressed, or given."""
    reason: str
    """Why that one, in a few words."""
    scale: int
    """Pixels a side that each pixel became."""
    seconds: float
    """From reading the picture to the end."""
    metadata: Metadata = NOTHING
    """What the picture's file says beside its pixels, for `atelier.media.images.save_image`."""


def upscale(
    image: ImageSource,
    scale: Scale = 2,
    model: Model = "auto",
    *,
    tile: int = TILE,
    network: Network | None = None,
    on_step: OnStep | None = None,
) -> Upscaled:
    """Enlarges a picture, its luma by a network, its colours bicubically.

    Args:
        image: what `atelier.media.images.load_image` takes: a path, bytes, a uint8 array and so on.
        scale: how many times wider and higher: 2, 3 or 4.
        model: the embedded weights, or auto to choose them by the picture's file and pixels.
        tile: the side of the squares that are worked on at once, pixels of the input.
        network: a network to use instead of the embedded one; its scale must be `scale`.
        on_step: called after each tile. If it returns True, the run ends.

    Raises:
        ImageError: the picture cannot be read, or it or the result is too large.
        SettingsError: settings out of range.
        WeightsError: there is no embedded network for the scale.
        KeyboardInterrupt: `on_step` ended the run; there is nothing to keep of half a picture.

    Example:
        >>> import superres
        >>> result = superres.upscale("photo.jpg", scale=2)
        >>> result.image.shape, result.model
        ((1024, 768, 3), 'compressed')
    """
    start = time.perf_counter()
    config = UpscaleConfig(scale, model, tile)
    if not isinstance(image, (str, os.PathLike)):
        image = read_source(image)  # An open file can be read once.
    header = read_header(image)
    if header is not None:
        check_size(header.width, header.height, config.scale, name_of(image))
    loaded = load_picture(image, alpha="keep", grey="keep")
    picture = loaded.image
    chosen, reason = config.model, "as asked"
    if network is not None:
        chosen = reason = "given"
    elif chosen == "auto":
        chosen, reason = judge(header and header.lossy, picture)
    tiled = tiled_network(network, config, chosen)
    result = tiled(picture, tell(on_step))
    grey = result.ndim == 2
    if grey:
        result = np.repeat(result[..., None], 3, axis=2)
    seconds = time.perf_counter() - start
    return Upscaled(result, grey, chosen, reason, config.scale, seconds, loaded.metadata)


def tiled_network(network: Network | None, config: UpscaleConfig, model: str) -> TiledNetwork:
    """The network that was given, or the embedded one, ready for pictures of any size.

    Raises:
        SettingsError: the given one is for another scale.
        WeightsError: there is no embedded one.
    """
    if network is None:
        network = load_network(model, config.scale)
    if network.scale != config.scale:
        raise SettingsError(f"the network is for scale {network.scale}, not {config.scale}")
    return TiledNetwork(network, config.tile)


def check_size(width: int, height: int, scale: int, name: str, bound: int | None = None) -> None:
    """Raises `ImageError` if `width`×`height` pixels, enlarged, are more than `bound`.

    Pictures that are too large to be read at all are left for `load_image` to refuse.
    """
    bound = bound or MAX_OUTPUT_PIXELS
    if width * height <= MAX_PIXELS and width * height * scale**2 > bound:
        raise ImageError(
            f"{name}: {width}×{height} at scale {scale} is {width * scale}×{height * scale}, more "
            f"than {bound:,} pixels"
        )


def tell(on_step: OnStep | None) -> OnTile | None:
    """A tile's event as a step's; raises `KeyboardInterrupt` when that asks for the end."""
    if on_step is None:
        return None

    def on_tile(number: int, total: int) -> None:
        if on_step(Step(number, total, {})):
            raise KeyboardInterrupt

    return on_tile


def judge(lossy: str | None, picture: np.ndarray) -> tuple[str, str]:
    """Chooses the network for a picture.

    Args:
        lossy: why its file counts as compressed, if it does.
        picture: uint8 (H, W), (H, W, 3) or (H, W, 4).

    Returns:
        clean or compressed, and why.
    """
    if lossy:
        return "compressed", lossy
    if grid_strength(picture) > VISIBLE_GRID:
        return "compressed", "the 8×8 grid of JPEG shows"
    return "clean", "no compression shows"
