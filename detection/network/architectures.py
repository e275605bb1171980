"""The networks that can be built, as data: everything about them but their weights and classes."""

from __future__ import annotations

import dataclasses
from typing import Literal

Backbone = Literal["lite", "vgg16", "resnet50_fpn", "resnet50_fpn_v2"]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A Faster R-CNN, from the size of its pictures to the number of its detections.

    Where a pair is (training, use), the original code and torchvision have two numbers, too.
    """

    backbone: Backbone
    # === Pictures ===
    colors: Literal["caffe", "torch"]
    """Caffe's: BGR less the mean. torchvision's: RGB in [0, 1], less the mean, by the deviation."""
    min_size: int
    """The shorter side of a picture, pixels; less where the longer one would pass `max_size`."""
    max_size: int
    """The longest that a side may be, pixels."""
    antialias: bool
    """Shrink pictures by the mean of areas, rather than by bilinear interpolation alone."""
    multiple: int
    """Pictures are padded to multiples of so many pixels."""
    # === Region proposal network ===
    anchor_scales: tuple[tuple[float, ...], ...]
    """Sides of the square anchors of each level, pixels."""
    rpn_channels: int
    strides: tuple[int, ...] | None = None
    """Pixels a position of each level. None: the picture's size over the map's, rounded down, which
    is torchvision's and, at the coarsest level, not quite the map's true stride."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    original_anchors: bool = False
    """Anchors rounded as in the original code (`anchors.original_base_anchors`)."""
    border_anchors: bool = True
    """Train on anchors across the border of the picture; the report does not."""
    rpn_convs: int = 1
    rpn_loss: Literal["torchvision", "report"] = "torchvision"
    """How the losses are normalised; see `losses.rpn_losses`."""
    rpn_beta: float = 1 / 9
    rpn_samples: int = 256
    pre_nms: tuple[int, int] = (2000, 1000)
    """(training, use): proposals of each level before suppression."""
    post_nms: tuple[int, int] = (2000, 1000)
    """(training, use): proposals after it."""
    proposal_nms: float = 0.7
    proposal_min_size: float = 1e-3
    # === RoI heads ===
    pooling: Literal["max", "align"] = "align"
    pooled_levels: int = 1
    """How many of the levels, finest first, boxes are pooled from."""
    pooled_size: int = 7
    sampling_ratio: int = 2
    head_convs: tuple[tuple[int, int], ...] = ()
    """Filters and stride of the box head's 3×3 convolutions."""
    head_norm: bool = False
    """Batch normalisation after them."""
    head_dense: tuple[int, ...] = (1024, 1024)
    head_dropout: float = 0.0
    """Of the dense layers."""
    head_samples: int = 512
    head_beta: float = 1 / 9
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    # === Detections ===
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections: int = 100


LITE = Architecture(
    backbone="lite",
    colors="caffe",
    min_size=416,
    max_size=704,
    antialias=True,
    multiple=64,
    anchor_scales=((32,), (64,), (128,), (256,), (512,)),
    strides=(8, 16, 32, 64, 128),
    rpn_channels=64,
    pre_nms=(600, 400),
    post_nms=(600, 250),
    pooled_levels=3,
    head_convs=((64, 1), (96, 2)),
    head_dense=(128,),
    head_samples=128,
)
"""`vgg19-lite` with a light pyramid; 0.97 million weights."""

VGG16 = Architecture(
    backbone="vgg16",
    colors="caffe",
    min_size=600,
    max_size=1000,
    antialias=False,
    multiple=16,
    anchor_scales=((8, 16, 32),),  # In strides, as in the original code.
    strides=(16,),
    original_anchors=True,
    border_anchors=False,
    rpn_channels=512,
    rpn_loss="report",
    pre_nms=(12000, 6000),
    post_nms=(2000, 300),
    proposal_min_size=16,
    pooling="max",
    head_dense=(4096, 4096),
    head_dropout=0.5,
    head_samples=128,
    head_beta=1.0,
    nms_threshold=0.3,
)
"""The report's: Ren et al. 2015 with VGG16, as their code has it."""

RESNET50_FPN = Architecture(
    backbone="resnet50_fpn",
    colors="torch",
    min_size=800,
    max_size=1333,
    antialias=False,
    multiple=32,
    anchor_scales=((32,), (64,), (128,), (256,), (512,)),
    rpn_channels=256,
    pooled_levels=4,
)
"""torchvision's `fasterrcnn_resnet50_fpn`."""

RESNET50_FPN_V2 = dataclasses.replace(
    RESNET50_FPN,
    backbone="resnet50_fpn_v2",
    rpn_convs=2,
    head_convs=((256, 1), (256, 1), (256, 1), (256, 1)),
    head_norm=True,
    head_dense=(1024,),
)
"""torchvision's `fasterrcnn_resnet50_fpn_v2`."""

ARCHITECTURES = {
    "lite": LITE,
    "vgg16": VGG16,
    "resnet50_fpn": RESNET50_FPN,
    "resnet50_fpn_v2": RESNET50_FPN_V2,
}


def resized(architecture: Architecture, min_size: int | None) -> Architecture:
    """The same for pictures of another shorter side; None: as it is."""
    if min_size is None or min_size == architecture.min_size:
        return architecture
    max_size = round(architecture.max_size * min_size / architecture.min_size)
    return dataclasses.replace(architecture, min_size=min_size, max_size=max_size)
