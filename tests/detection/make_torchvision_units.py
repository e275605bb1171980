"""Writes torchvision_units.npz: what torchvision computes, for the tests to compare with.

Run in an environment of its own with the compiled operators, which the tests do not need:

    pip install torch==2.13.0 torchvision==0.28.0 numpy
    python tests/detection/make_torchvision_units.py

The stored file was made where the compiled operators could not be loaded: there, NMS, RoIPool and
RoIAlign were plain Python, written line by line after torchvision's C++; all else was torchvision.

Inputs and results are float32 and int64 arrays named PART/NAME. Feature maps are stored with
their channels last.
"""

from pathlib import Path

import numpy as np
import torch
from torchvision import ops
from torchvision.models.detection import _utils, anchor_utils, image_list, roi_heads, rpn

# sampling_ratio, aligned of the stored RoIAligns.
ALIGNS = [(2, False), (2, True), (1, False), (3, True), (-1, False), (-1, True)]


def random_boxes(count, width, height, generator):
    """Boxes within a picture, from a few pixels to nearly all of it: float32 (count, 4)."""
    sides = torch.rand(count, 2, generator=generator) ** 2 * 0.9 + 0.02
    corners = torch.rand(count, 2, generator=generator) * (1 - sides)
    scale = torch.tensor([width, height])
    return torch.cat([corners * scale, (corners + sides) * scale], dim=1)


def boxes_units(generator):
    boxes, others = (random_boxes(count, 100, 80, generator) for count in (6, 9))
    anchors = random_boxes(6, 100, 80, generator)
    weights = (10.0, 10.0, 5.0, 5.0)
    coder = _utils.BoxCoder(weights)
    deltas = torch.randn(6, 4, generator=generator) * 4
    deltas[0, 2:] = 40  # Beyond the bound of log(1000 / 16), after weighing too.
    yield "boxes", boxes
    yield "others", others
    yield "anchors", anchors
    yield "iou", ops.box_iou(boxes, others)
    yield "encoded", coder.encode_single(boxes, anchors)
    yield "deltas", deltas
    yield "decoded", coder.decode_single(deltas, anchors)
    yield "clipped", ops.clip_boxes_to_image(coder.decode_single(deltas, anchors), (80, 100))


def anchors_units():
    sizes, ratios = ((32, 64), (128, 256)), ((0.5, 1.0, 2.0),) * 2
    generator = anchor_utils.AnchorGenerator(sizes, ratios)
    pictures = image_list.ImageList(torch.zeros(1, 3, 48, 64), [(48, 64)])
    yield "pyramid", generator(pictures, [torch.zeros(1, 1, 6, 8), torch.zeros(1, 1, 3, 4)])[0]
    paper = anchor_utils.AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),))
    yield "paper", paper.cell_anchors[0]


def matcher_units(generator):
    # Coarse, so that many overlaps tie; positive, as here a box that nothing overlaps differs.
    overlaps = torch.randint(1, 20, (2, 5, 40), generator=generator) / 20
    yield "overlaps", overlaps
    for keep_best in (0, 1):
        matcher = _utils.Matcher(0.7, 0.3, allow_low_quality_matches=bool(keep_best))
        yield f"matches_{keep_best}", torch.stack([matcher(each) for each in overlaps])


def nms_units(generator):
    boxes = torch.stack([random_boxes(120, 100, 80, generator) for _ in range(2)])
    boxes = boxes.round()  # Overlaps of equal fractions, and some boxes twice.
    boxes[:, :10] = boxes[:, 10:20]
    scores = torch.randint(0, 50, (2, 120), generator=generator) / 50  # Many ties.
    groups = torch.randint(0, 4, (2, 120), generator=generator)
    yield "boxes", boxes
    yield "scores", scores
    yield "groups", groups
    for threshold in (0.3, 0.5, 0.7):
        for picture in range(2):
            arguments = boxes[picture], scores[picture]
            name = f"{picture}_{threshold}"
            yield f"kept_{name}", ops.nms(*arguments, threshold)
            yield f"grouped_{name}", ops.batched_nms(*arguments, groups[picture], threshold)


def proposals_units(generator):
    picture_sizes = [(48, 64), (40, 60)]
    pyramid = dict(anchors_units())["pyramid"]
    counts = [6 * 8 * 6, 3 * 4 * 6]
    logits = torch.randn(2, sum(counts), generator=generator)
    deltas = torch.randn(2, sum(counts), 4, generator=generator) * 0.3
    pre_nms, post_nms = ({"training": count, "testing": count} for count in (100, 60))
    network = rpn.RegionProposalNetwork(
        None, None, 0.7, 0.3, 256, 0.5, pre_nms, post_nms, nms_thresh=0.7
    )
    network.min_size = 10.0  # Set here, as only 1e-3 can be had from the constructor.
    decoded = network.box_coder.decode(deltas.reshape(-1, 4), [pyramid, pyramid])
    boxes, scores = network.filter_proposals(
        decoded.reshape(2, -1, 4), logits.reshape(-1, 1), picture_sizes, counts
    )
    yield "logits", logits
    yield "deltas", deltas
    for picture in range(2):
        yield f"boxes_{picture}", boxes[picture]
        yield f"scores_{picture}", scores[picture]


def roi_units(generator):
    features = torch.randn(2, 3, 9, 13, generator=generator)
    boxes = torch.stack([random_boxes(8, 208, 144, generator) for _ in range(2)])
    boxes[0, 0] = torch.tensor([0, 0, 208, 144])  # The whole picture,
    boxes[0, 1] = torch.tensor([-40, -30, 120, 60])  # beyond its border,
    boxes[0, 2] = torch.tensor([150, 100, 400, 300])
    boxes[0, 3] = torch.tensor([300, 300, 350, 340])  # off the picture,
    boxes[0, 4] = torch.tensor([50, 50, 50, 50])  # without area,
    boxes[0, 5] = torch.tensor([8, 24, 120, 136])  # and on halves of a position.
    boxes[1, 0] = torch.tensor([-8, -24, 104, 88])
    yield "features", features.permute(0, 2, 3, 1)
    yield "boxes", boxes
    upstream = torch.randn(16, 3, 7, 7, generator=generator)
    yield "upstream", channels_last(upstream)

    def pooled(name, operator, **options):
        map_ = features.clone().requires_grad_()
        result = operator(map_, list(boxes), 7, 1 / 16, **options)
        (result * upstream).sum().backward()
        yield name, channels_last(result.detach())
        yield f"{name}_gradient", map_.grad.permute(0, 2, 3, 1)

    yield from pooled("pool", ops.roi_pool)
    for ratio, aligned in ALIGNS:
        options = {"sampling_ratio": ratio, "aligned": aligned}
        yield from pooled(f"align_{ratio}_{int(aligned)}", ops.roi_align, **options)


def channels_last(pooled):
    """(16, C, 7, 7) of both pictures -> (2, 8, 7, 7, C)."""
    return pooled.permute(0, 2, 3, 1).reshape(2, 8, 7, 7, -1)


def losses_units(generator):
    logits = torch.randn(2, 12, generator=generator) * 3
    deltas = torch.randn(2, 12, 4, generator=generator) * 0.3
    targets = torch.randn(2, 12, 4, generator=generator) * 0.3
    labels = torch.randint(0, 2, (2, 12), generator=generator)
    network = rpn.RegionProposalNetwork(None, None, 0.7, 0.3, 24, 1.0, {}, {}, 0.7)
    # Of 24 all are sampled: the losses do not depend on chance.
    network.fg_bg_sampler = lambda labels: (
        [torch.where(each >= 1, 1, 0) for each in labels],
        [torch.where(each == 0, 1, 0) for each in labels],
    )
    pair = network.compute_loss(
        logits.reshape(-1, 1), deltas.reshape(-1, 4), list(labels.float()), list(targets)
    )
    yield from (("logits", logits), ("deltas", deltas), ("targets", targets), ("labels", labels))
    yield "rpn", torch.stack(pair)
    class_logits = torch.randn(2, 12, 4, generator=generator) * 3
    class_deltas = torch.randn(2, 12, 4, 4, generator=generator) * 0.3
    classes = torch.randint(0, 4, (2, 12), generator=generator)
    pair = roi_heads.fastrcnn_loss(
        class_logits.reshape(-1, 4), class_deltas.reshape(-1, 16), list(classes), list(targets)
    )
    yield from (("class_logits", class_logits), ("class_deltas", class_deltas))
    yield "classes", classes
    yield "head", torch.stack(pair)


def main():
    generator = torch.Generator().manual_seed(0)
    parts = {
        "boxes": boxes_units(generator),
        "anchors": anchors_units(),
        "matcher": matcher_units(generator),
        "nms": nms_units(generator),
        "proposals": proposals_units(generator),
        "roi": roi_units(generator),
        "losses": losses_units(generator),
    }
    units = {
        f"{part}/{name}": np.ascontiguousarray(value.numpy())
        for part, values in parts.items()
        for name, value in values
    }
    np.savez_compressed(Path(__file__).with_name("torchvision_units.npz"), **units)


if __name__ == "__main__":
    main()
