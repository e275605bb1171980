"""A person cut out of a photo."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import ImageSource, load_image, load_picture
from cartoon.config import CutOutConfig
from cartoon.people import matting, person
from cartoon.people.deeplab_mask import deeplab_mask

SURE = 0.85
"""The mean probability inside a mask from which on it is taken for somebody."""


@dataclasses.dataclass(frozen=True)
class CutOut:
    """A photo without its background."""

    image: np.ndarray
    """uint8 (H, W, 4): the colours in front, also where the background shone through, and alpha."""
    mask: np.ndarray
    """float32 (H, W) in [0, 1]: how much of each pixel is in front."""
    segmenter: str
    """Which network found it."""
    found: bool
    """Whether there is anybody: see `anybody`. The mask is what it is, though."""
    seconds: float
    """That it took."""
    metadata: Metadata = NOTHING
    """What the picture's file says beside its pixels, for `atelier.media.images.save_image`."""


def cut_out(image: ImageSource, *, config: CutOutConfig | None = None) -> CutOut:
    """Cuts the people out of a photo, at its full resolution.

    Args:
        image: a path, a file's bytes, a PIL image, or uint8 (H, W), (H, W, 3) or (H, W, 4); what
            it has of transparency, the result has too.
        config: settings, if not the default ones.

    Raises:
        ImageError: the picture cannot be read, or is too long a strip for the report's network.
        WeightsError: the report's network, and no weights.
    """
    config = CutOutConfig() if config is None else config
    loaded = load_picture(image, alpha="keep")
    picture = loaded.image
    start = time.perf_counter()
    mask, found = find_people(picture, config)
    front = matting.foreground(picture[..., :3], mask)
    alpha = np.rint(255 * mask).astype(np.uint8)
    seconds = time.perf_counter() - start
    image = np.dstack([front, alpha])
    return CutOut(image, mask, config.segmenter, found, seconds, loaded.metadata)


def find_people(picture: np.ndarray, config: CutOutConfig) -> tuple[np.ndarray, bool]:
    """How much of each pixel belongs to people, and whether there are any.

    Args:
        picture: uint8 (H, W, 3) or (H, W, 4), of `atelier.media.images.load_image`.
        config: settings.

    Returns:
        The mask, float32 (H, W) in [0, 1], and what `anybody` says of it.
    """
    opaque = load_image(picture)  # Transparent parts are white to the network.
    if config.segmenter == "person":
        mask = person.embedded().probability(opaque)
    else:
        mask = deeplab_mask(opaque, classes=config.classes, checkpoint=config.deeplab_weights)
    found = anybody(mask)
    if config.refine:
        mask = matting.refine(matting.tidy(mask), opaque)
    mask = matting.feather(mask, config.feather)
    if picture.shape[-1] == 4:
        mask = mask * (picture[..., 3] / np.float32(255))
    return mask, found


def anybody(mask: np.ndarray) -> bool:
    """Whether a network's mask, float32 (H, W) in [0, 1], shows anybody.

    That is more than a speck, of which the network is sure on average: of pictures without people,
    such as a cup or a cat, it sometimes takes half for somebody, but never so surely.
    """
    inside = mask > 0.5
    return bool(inside.mean() > matting.SPECK and mask[inside].mean() > SURE)
