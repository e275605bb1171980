"""Data sets that tensorflow-datasets has prepared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from atelier.errors import DataError
from detection.annotations.collector import Collector, Found, from_voc
from detection.annotations.dataset import Dataset
from detection.annotations.places import picture_size
from detection.annotations.sizes import Frame
from detection.annotations.text import described

PREPARED = ("voc/", "coco/")
"""How the names of tensorflow-datasets' sets that can be read start."""


def read_prepared(
    name: str,
    split: str = "train",
    *,
    folder: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads what tensorflow-datasets has prepared; nothing is downloaded.

    Pictures are held as the encoded files that they are, so that the memory is the download's size.

    Args:
        name: "voc/2007", "voc/2012", "coco/2017" …
        split: in its own language, such as "train[:500]".
        folder: its data folder; left out, ~/tensorflow_datasets.
        classes: see `read_dataset`.
        strict: see `read_dataset`.

    Raises:
        DataError: not prepared, or as in `read_dataset`.
    """
    names, examples = _examples(name, split, folder)
    collector = Collector(f"{name} {split}", classes or names, strict)
    for example in examples:
        file = example["image/filename"].decode("utf-8", "replace")
        encoded = bytes(example["image"])
        objects = example["objects"]
        with collector.guard(file):
            height, width = picture_size(encoded)
            founds = []
            for i, (y1, x1, y2, x2) in enumerate(np.asarray(objects["bbox"], np.float64)):
                label = names[int(objects["label"][i])]
                box = (x1 * width, y1 * height, x2 * width, y2 * height)
                with collector.costs_picture(described(i + 1, label)):
                    found = Found(
                        what=described(i + 1, label),
                        label=label,
                        # The corners were divided as VOC has them; rounding undoes just that.
                        box=from_voc(np.round(box, 3)) if name.startswith("voc") else box,
                        crowd="is_crowd" in objects and bool(objects["is_crowd"][i]),
                        difficult="is_difficult" in objects and bool(objects["is_difficult"][i]),
                    )
                    founds.append(found)
            collector.add(file, file, encoded, Frame((height, width)), founds)
    return collector.dataset()


def _examples(name, split, folder) -> tuple[list[str], Iterator[dict]]:
    """Class names and examples, pictures undecoded, of a set that is prepared."""

    def refusal(error: Exception) -> DataError:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return DataError(
            f"tensorflow-datasets has no {name} {split} ready ({reason}): prepare it with "
            f"`tfds build {name}`, or pass the folder of the official files"
        )

    def iterate(dataset) -> Iterator[dict]:
        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.OpError as error:  # A file is damaged, or gone.
            raise refusal(error) from None

    try:
        import tensorflow_datasets as tfds  # Slow to import, and needed by few.

        builder = tfds.builder(name, data_dir=folder and str(folder))
        names = list(builder.info.features["objects"]["label"].names)
        decoders = {"image": tfds.decode.SkipDecoding()}
        return names, iterate(builder.as_dataset(split=split, decoders=decoders))
    except Exception as error:  # What it raises without the data are its lower floors' errors.
        raise refusal(error) from None
