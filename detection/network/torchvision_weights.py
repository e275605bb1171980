"""torchvision's published Faster R-CNNs, trained on COCO."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atelier.errors import WeightsError
from atelier.nets import weights as stored
from atelier.nets.checkpoints import read_checkpoint
from atelier.nets.resnet import Slot, fill, layer_slots
from detection.network.architectures import ARCHITECTURES
from detection.network.faster_rcnn import FasterRCNN


class Published(NamedTuple):
    """A file of torchvision's.

    Attributes:
        network: torchvision's name of it.
        url: where it is.
        sha256_prefix: what its sha256 begins with: torchvision gives no more, in the file's name.
        box_map: torchvision's own AP, averaged over IoU 0.5 to 0.95, on COCO val2017; percent.
    """

    network: str
    url: str
    sha256_prefix: str
    box_map: float


PUBLISHED = {
    "resnet50_fpn": Published(
        "fasterrcnn_resnet50_fpn",
        "https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        "258fb6c6",
        37.0,
    ),
    "resnet50_fpn_v2": Published(
        "fasterrcnn_resnet50_fpn_v2",
        "https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        "dd69338a",
        46.7,
    ),
}
"""By the architecture's name."""

CATEGORIES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "N/A", "stop sign", "parking meter", "bench", "bird"),
    *("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "N/A"),
    *("backpack", "umbrella", "N/A", "N/A", "handbag", "tie", "suitcase", "frisbee", "skis"),
    *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
    *("surfboard", "tennis racket", "bottle", "N/A", "wine glass", "cup", "fork", "knife"),
    *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog"),
    *("pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "N/A", "dining table"),
    *("N/A", "N/A", "toilet", "N/A", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "N/A", "book", "clock", "vase"),
    *("scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The names of the outputs 1 to 90; N/A are numbers of COCO's that no object has."""

PREDICTOR = "roi_heads.box_predictor."

RENAMED = (
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    (re.compile(r"^(backbone\.fpn\.\w+_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
)
"""Names that torchvision has since changed; the first version's published file has the old ones."""


def load_torchvision(name: str, weights: Path | None = None) -> tuple[FasterRCNN, dict]:
    """torchvision's network, frozen, with its weights.

    Args:
        name: resnet50_fpn or resnet50_fpn_v2.
        weights: a local copy of torchvision's file, or another of the same names and shapes; None
            fetches it once, 160 or 167 MB, checked by hash.

    Returns:
        the network, and a card: what it is, from where it comes, and how good it is said to be.

    Raises:
        WeightsError: no file and no network, or a file that is damaged or of something else.
    """
    published = PUBLISHED[name]
    model = FasterRCNN(ARCHITECTURES[name], CATEGORIES)
    _load(model, weights, predictor=True)
    model.trainable = False
    return model, {
        "network": f"torchvision {published.network}",
        "architecture": name,
        "source": published.url if weights is None else str(weights),
        "licence": "BSD-3-Clause (torchvision)",
        "data": "COCO train2017",
        "box_map_published": published.box_map,
    }


def load_torchvision_into(model: FasterRCNN, weights: Path | None = None) -> None:
    """Fills a network that is to be trained with torchvision's weights.

    Where its classes are not COCO's 90, the last two layers, which tell them apart and place their
    boxes, stay as they are.

    Args:
        model: of the architecture resnet50_fpn or resnet50_fpn_v2, for pictures of any size.
        weights: see `load_torchvision`; the last two layers in it may be of any classes, if they
            are not wanted.

    Raises:
        WeightsError: as `load_torchvision`.
    """
    _load(model, weights, predictor=model.classes == CATEGORIES)


def _load(model: FasterRCNN, weights: Path | None, predictor: bool) -> None:
    published = PUBLISHED[model.architecture.backbone]
    if weights is None:
        weights = stored.fetch(
            published.url, option="--weights FILE", sha256_prefix=published.sha256_prefix
        )
    state = read_checkpoint(weights)
    state = {name if modern(name) in state else modern(name): state[name] for name in state}
    slots = dict(torchvision_slots(model))
    if not predictor:
        for name in [name for name in slots if name.startswith(PREDICTOR)]:
            del slots[name]
            state.pop(name, None)
    try:
        fill(slots, state)
    except WeightsError as error:
        raise WeightsError(f"{weights}: {error}; it should be a copy of {published.url}") from None


def modern(name: str) -> str:
    """What torchvision calls today what it may have called otherwise."""
    for old, new in RENAMED:
        name = old.sub(new, name)
    return name


def torchvision_slots(model: FasterRCNN) -> Iterator[tuple[str, Slot]]:
    """Where each of torchvision's arrays belongs, by torchvision's name."""
    modules = _modules(model)
    for part in (model.backbone, model.rpn, model.box_head):
        for layer in part.layers:
            if layer.name not in modules:
                continue
            for name, slot in layer_slots(layer, modules[layer.name]):
                if layer.name == "head_dense1" and layer.kernel is slot.variable:
                    slot = slot._replace(convert=_channels_last(model.architecture.pooled_size))
                yield name, slot


def _modules(model: FasterRCNN) -> dict[str, str]:
    """torchvision's names of the layers, by ours."""
    shape = model.architecture
    convs = len(shape.head_convs)
    modules = {
        "rpn_objectness": "rpn.head.cls_logits",
        "rpn_deltas": "rpn.head.bbox_pred",
        "head_classes": f"{PREDICTOR}cls_score",
        "head_deltas": f"{PREDICTOR}bbox_pred",
    }
    for layer in model.backbone.layers:
        if layer.name.startswith("body_"):  # No module on the way has "_" in its own name.
            modules[layer.name] = f"backbone.{layer.name.replace('_', '.')}"
    for level in range(4):
        for ours, theirs in (("inner", "inner_blocks"), ("p", "layer_blocks")):
            modules[f"{ours}{level + 2}"] = f"backbone.fpn.{theirs}.{level}.0"
            modules[f"{ours}{level + 2}_norm"] = f"backbone.fpn.{theirs}.{level}.1"
    for index in range(shape.rpn_convs):
        modules[f"rpn_conv{index + 1}"] = f"rpn.head.conv.{index}.0"
    for index in range(convs):
        modules[f"head_conv{index + 1}"] = f"roi_heads.box_head.{index}.0"
        modules[f"head_norm{index + 1}"] = f"roi_heads.box_head.{index}.1"
    for index in range(len(shape.head_dense)):  # After convolutions, torchvision counts on.
        dense = str(convs + 1 + 2 * index) if convs else f"fc{6 + index}"
        modules[f"head_dense{index + 1}"] = f"roi_heads.box_head.{dense}"
    return modules


def _channels_last(size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Of a dense layer's kernel on flattened maps: from (out, C · size · size) to Keras' order."""

    def convert(array: np.ndarray) -> np.ndarray:
        maps = array.reshape(len(array), -1, size, size)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(array))

    return convert
