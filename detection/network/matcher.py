"""Matching: which ground-truth box an anchor or a proposal stands for, if any.

Source: Ren et al. 2015, section 3.1.2, and `Matcher` of torchvision; the report's rules 1 to 4.
Written with `keras.ops`, so it runs on any backend.
"""

from __future__ import annotations

from typing import NamedTuple

from keras import ops

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Matches(NamedTuple):
    """What `match` finds, one of each an anchor.

    Attributes:
        labels: int32 (…, A), 1 positive, 0 negative, -1 ignored.
        indices: int32 (…, A), the ground-truth box of highest IoU, the first of equals; it means
            something for positives only, and is 0 where a picture has no boxes.
    """

    labels: object
    indices: object


def match(
    overlaps,
    present,
    valid=None,
    *,
    high: float = 0.7,
    low: float = 0.3,
    keep_best: bool = True,
) -> Matches:
    """Labels of anchors or proposals from their IoU with the ground-truth boxes.

    Positive is an IoU of at least `high`, negative one below `low` with every box, and what lies
    between is ignored. The report writes > 0.7; the original code and torchvision take 0.7 too.
    With `keep_best`, the anchors of highest IoU with a box are positive however low it is, all of
    them where several tie (torchvision's `allow_low_quality_matches`). As there, such an anchor
    still stands for the box which it overlaps most, and that may be another one.

    This differs from torchvision and the original code in one case: a box that no anchor overlaps
    at all has no best anchor, where theirs make every anchor that misses it positive.

    Args:
        overlaps: float32 (…, G, A), IoU of G ground-truth boxes, some of them padding, with A
            anchors.
        present: bool (…, G), false for padding. G of 0 is allowed.
        valid: bool (…, A), false for anchors to ignore, such as those that cross the border of
            the picture; they are nobody's best anchor either. None: all are valid.
        high, low: the thresholds. 0.7 and 0.3 are the RPN's, 0.5 and 0.5 those of the box head.
        keep_best: whether the best anchors of each box are positive; the box head's are not.
    """
    if overlaps.shape[-2] == 0:
        overlaps = ops.zeros((*ops.shape(overlaps)[:-2], 1, ops.shape(overlaps)[-1]))
        present = ops.zeros_like(overlaps[..., 0], dtype="bool")
    counts = ops.expand_dims(present, -1)
    if valid is not None:
        counts = ops.logical_and(counts, ops.expand_dims(valid, -2))
    overlaps = ops.where(counts, overlaps, -1.0)

    best = ops.max(overlaps, axis=-2)
    labels = ops.where(best >= high, POSITIVE, ops.where(best < low, NEGATIVE, IGNORED))
    if keep_best:
        best_of_box = ops.max(overlaps, axis=-1, keepdims=True)
        is_best = ops.logical_and(overlaps == best_of_box, best_of_box > 0)
        labels = ops.where(ops.any(is_best, axis=-2), POSITIVE, labels)
    if valid is not None:
        labels = ops.where(valid, labels, IGNORED)
    return Matches(ops.cast(labels, "int32"), ops.cast(ops.argmax(overlaps, axis=-2), "int32"))
