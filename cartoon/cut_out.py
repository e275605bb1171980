"""A person cut out of a photo."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from atelier.images import ImageSource, load_image
from cartoon import matting, person
from cartoon.config import CutOutConfig
from cartoon.deeplab_mask import deeplab_mask


@dataclasses.dataclass(frozen=True)
class CutOut:
    """A photo without its background."""

    image: np.ndarray
    """uint8 (H, W, 4): the colours in front, also where the background shone through, and alpha."""
    mask: np.ndarray
    """float32 (H, W) in [0, 1]: how much of each pixel is in front."""
    segmenter: str
    """Which network found it."""
    seconds: float
    """That it took."""

    @property
    def found(self) -> bool:
        """Whether there is anybody."""
        return anybody(self.mask)


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
    picture = load_image(image, alpha="keep")
    start = time.perf_counter()
    mask = find_mask(picture, config)
    front = matting.foreground(picture[..., :3], mask)
    alpha = np.rint(255 * mask).astype(np.uint8)
    return CutOut(np.dstack([front, alpha]), mask, config.segmenter, time.perf_counter() - start)


def find_mask(picture: np.ndarray, config: CutOutConfig) -> np.ndarray:
    """How much of each pixel belongs to people.

    Args:
        picture: uint8 (H, W, 3) or (H, W, 4), of `atelier.images.load_image`.
        config: settings.

    Returns:
        float32 (H, W) in [0, 1].
    """
    opaque = load_image(picture)  # Transparent parts are white to the network.
    if config.segmenter == "person":
        mask = person.embedded().probability(opaque)
    else:
        mask = deeplab_mask(opaque, classes=config.classes, checkpoint=config.deeplab_weights)
    if config.refine:
        mask = matting.refine(matting.tidy(mask), opaque)
    mask = matting.feather(mask, config.feather)
    if picture.shape[-1] == 4:
        mask = mask * (picture[..., 3] / np.float32(255))
    return mask


def anybody(mask: np.ndarray) -> bool:
    """Whether a mask, float32 (H, W) in [0, 1], shows more than a speck of somebody."""
    return float((mask > 0.5).mean()) > matting.SPECK
