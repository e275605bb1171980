"""Annotated pictures in one form: read from Pascal VOC, COCO, masks and tensorflow-datasets, and
written.

Annotation files are of unknown origin. They may not lead out of their folder, be larger than
bounds, or make the reader do anything but read.
"""

from detection.annotations.dataset import (
    Annotated,
    Dataset,
    Fault,
    Note,
    join,
    keep_classes,
    share_classes,
)
from detection.annotations.read import read_backgrounds, read_dataset
from detection.annotations.text import FaultError, plain

__all__ = [
    "Annotated",
    "Dataset",
    "Fault",
    "FaultError",
    "Note",
    "join",
    "keep_classes",
    "plain",
    "read_backgrounds",
    "read_dataset",
    "share_classes",
]
