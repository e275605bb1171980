"""Detectors for pictures of one size, as other runtimes take them: what is known beforehand."""

from __future__ import annotations

import dataclasses

import numpy as np

from atelier.errors import SettingsError
from detection.network.anchors import pyramid_anchors
from detection.network.architectures import Architecture
from detection.network.faster_rcnn import FasterRCNN
from detection.network.transform import fitted_size, normalize

Size = tuple[int, int]


def default_size(architecture: Architecture) -> Size:
    """Height and width for pictures of 4:3, at the size that they have in the network."""
    height, width = fitted_size((3000, 4000), architecture)
    multiple = architecture.multiple
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def check_size(size: Size, architecture: Architecture) -> None:
    """Refuses what cannot be exported.

    Raises:
        SettingsError: a height or width that is no multiple of the architecture's; or an
            architecture with RoI pooling.
    """
    if architecture.pooling == "max":
        raise SettingsError(
            f"{architecture.backbone} has RoI pooling, and is not exported: those with RoIAlign "
            "are, lite and resnet50_fpn"
        )
    multiple = architecture.multiple
    if any(side < multiple or side % multiple for side in size):
        raise SettingsError(
            f"--size: height and width are multiples of {multiple}, not {size[0]} {size[1]}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Fixed:
    """A network and what the size of its pictures makes constant."""

    model: FasterRCNN
    size: Size
    """Height and width."""
    threshold: float
    """Scores up to it are left out."""
    maps: tuple[Size, ...]
    """Height and width of each level's map."""
    anchors: tuple[np.ndarray, ...]
    """Of each level, float32 (A, 4)."""

    @classmethod
    def of(cls, model: FasterRCNN, size: Size, threshold: float | None = None) -> Fixed:
        """The constants of a network.

        Args:
            model: with RoIAlign.
            size: height and width, multiples of the architecture's.
            threshold: None for the architecture's own.

        Raises:
            SettingsError: as `check_size`.
        """
        architecture = model.architecture
        check_size(size, architecture)
        shapes = model.backbone.compute_output_shape((1, *size, 3))
        maps = tuple(tuple(shape[1:3]) for shape in shapes)
        strides = model.strides(np.array(size), [np.array(each) for each in maps])
        anchors = pyramid_anchors(model.base_anchors(), maps, strides)
        return cls(
            model=model,
            size=tuple(size),
            threshold=architecture.score_threshold if threshold is None else threshold,
            maps=maps,
            anchors=tuple(level.numpy() for level in anchors),
        )

    @property
    def bgr(self) -> bool:
        """Whether the network takes blue, green and red in this order."""
        return self.model.architecture.colors == "caffe"

    @property
    def colors(self) -> tuple[np.ndarray, np.ndarray]:
        """What RGB or BGR in [0, 255] is multiplied by, and what is then added, float32 (3,) each:
        `transform.normalize`."""
        black, white = (
            normalize(np.full((1, 3), level, np.float32), self.model.architecture)[0]
            for level in (0, 255)
        )
        return (white - black) / 255, black

    @property
    def padding(self) -> tuple[float, float, float]:
        """The RGB that the network takes for nothing, by which pictures are padded."""
        scale, shift = self.colors
        mean = -shift / scale
        return tuple((mean[::-1] if self.bgr else mean).tolist())
