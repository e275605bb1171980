"""Annotated pictures in one form, wherever they come from: Pascal VOC, COCO, tensorflow-datasets.

`read_dataset` finds out what it was given; `detection.voc` and `detection.coco` read the files.
What is wrong with them is named by file and object. An object at fault is left out, and so is a
picture that is missing or of another size than the annotations say; `strict` makes either an error.

Annotation files are strangers' files. They may not lead out of their folder, be larger than
bounds, or make the reader do anything but read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
import tensorflow as tf

from atelier import files
from atelier.errors import DataError
from atelier.image_files import open_image, orientation
from atelier.images import MAX_PIXELS, READABLE

PREPARED = ("voc/", "coco/")
"""How the names of tensorflow-datasets' sets that can be read start."""

ALLOWED_OUTSIDE = 1.0
"""Pixels by which a box may leave the picture and is clipped in silence."""


@dataclasses.dataclass(frozen=True, eq=False)
class Annotated:
    """A picture, and the N objects on it."""

    name: str
    """The picture's file name, as the annotations give it."""
    image: Path | bytes | np.ndarray
    """What `atelier.images.load_image` takes: a path, an encoded file, or uint8 (H, W, 3)."""
    size: tuple[int, int]
    """Height and width in pixels, EXIF orientation applied."""
    boxes: np.ndarray
    """float32 (N, 4): x1 y1 x2 y2, continuous: the first pixel covers 0 to 1."""
    labels: np.ndarray
    """int64 (N,): places in the data set's `classes`."""
    crowd: np.ndarray
    """bool (N,): COCO's `iscrowd`, a box around many that are not told apart."""
    difficult: np.ndarray
    """bool (N,): VOC's `difficult`, which its evaluation does not count."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with an annotation; as text, one line."""

    file: str
    """The annotation file, from the data set's folder on."""
    object: str
    """Which object, such as "object 13 (RBC)"; "" for the whole picture."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.object + ': ' if self.object else ''}{self.reason}"


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Annotated pictures, and what was wrong with others."""

    name: str
    classes: tuple[str, ...]
    """Without a background."""
    items: tuple[Annotated, ...]
    faults: tuple[Fault, ...] = ()
    """What was left out or mended, in the order of reading."""

    def __len__(self) -> int:
        return len(self.items)


def read_dataset(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    images: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads a data set of any kind known here.

    Args:
        source: a folder in VOC's or COCO's form or with photos and masks, a COCO JSON file, or the
            name of a set that tensorflow-datasets has prepared, "voc/2007" or "coco/2017".
        split: such as "train" or "val2017"; see the readers for what None means.
        images: the pictures' folder, where it is not the usual one.
        classes: their names and order; left out, those that the annotations hold. An object of
            another class is a fault.
        strict: whether the first fault is an error.

    Raises:
        DataError: nothing of the kind, a damaged file, no picture left, or with `strict` a fault.
    """
    from detection import coco, masks, voc  # They are built upon this file.

    path = Path(source)
    if not path.exists() and str(source).startswith(PREPARED):
        return read_prepared(str(source), split or "train", classes=classes, strict=strict)
    options = {"images": images, "classes": classes, "strict": strict}
    if path.suffix.lower() == ".json" or (path.is_dir() and coco.find_files(path)):
        return coco.read_coco(path, split, **options)
    if images is None and masks.is_masks(path):
        return masks.read_masks(path, split, classes=classes, strict=strict)
    return voc.read_voc(path, split, **options)


def keep_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The same pictures, with objects of these classes alone, in this order.

    Raises:
        DataError: a class that the data set does not have.
    """
    places = {name: place for place, name in enumerate(classes)}
    for name in classes:
        if name not in dataset.classes:
            known = ", ".join(dataset.classes)
            raise DataError(f"{dataset.name}: no class {plain(name)!r}; there are {known}")
    items = []
    for item in dataset.items:
        names = [dataset.classes[label] for label in item.labels]
        kept = [i for i, name in enumerate(names) if name in places]
        chosen = {
            "boxes": item.boxes[kept],
            "labels": np.asarray([places[names[i]] for i in kept], np.int64),
            "crowd": item.crowd[kept],
            "difficult": item.difficult[kept],
        }
        items.append(dataclasses.replace(item, **chosen))
    return dataclasses.replace(dataset, classes=tuple(classes), items=tuple(items))


def join(datasets: Sequence[Dataset]) -> Dataset:
    """Data sets of the same classes as one.

    Raises:
        DataError: their classes differ.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if other.classes != first.classes:
            raise DataError(
                f"{first.name} has the classes {', '.join(first.classes)}, and {other.name} "
                f"{', '.join(other.classes)}: name those of interest"
            )
    return Dataset(
        " + ".join(dataset.name for dataset in datasets),
        first.classes,
        tuple(item for dataset in datasets for item in dataset.items),
        tuple(fault for dataset in datasets for fault in dataset.faults),
    )


def read_backgrounds(folder: str | os.PathLike, classes: Sequence[str]) -> Dataset:
    """Pictures of a folder on which there is nothing.

    Raises:
        DataError: no such folder, or no picture in it that can be read.
    """
    collector = Collector(Path(folder).name, classes, strict=False)
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder")
    for file in sorted(Path(folder).iterdir()):
        if file.suffix.lower() in READABLE:
            with collector.guard(file.name):
                collector.add(file.name, file.name, file, picture_size(file), ())
    return collector.dataset()


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
                with collector.guard(file, described(i + 1, label)):
                    found = Found(
                        what=described(i + 1, label),
                        label=label,
                        # The corners were divided as VOC has them; rounding undoes just that.
                        box=from_voc(np.round(box, 3)) if name.startswith("voc") else box,
                        crowd="is_crowd" in objects and bool(objects["is_crowd"][i]),
                        difficult="is_difficult" in objects and bool(objects["is_difficult"][i]),
                    )
                    founds.append(found)
            collector.add(file, file, encoded, (height, width), founds)
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


# === What the readers share ===


class FaultError(Exception):
    """What is wrong with one picture's annotations, or with one object; `Collector.guard` keeps
    it as a `Fault`."""


@dataclasses.dataclass(frozen=True)
class Found:
    """An object as it was read, unchecked."""

    what: str
    """What a fault calls it."""
    label: str
    box: Sequence[float]
    """x1 y1 x2 y2, pixels, continuous."""
    crowd: bool = False
    difficult: bool = False


class Collector:
    """Checks what the readers find, and makes the data set of it."""

    def __init__(self, name: str, classes: Iterable[str], strict: bool):
        self.name, self.strict = name, strict
        self.classes = tuple(classes)
        self.places = {label: place for place, label in enumerate(self.classes)}
        if len(self.places) < len(self.classes):
            raise DataError(f"{name}: a class is named twice in {', '.join(self.classes)}")
        self.items, self.faults = [], []

    @contextlib.contextmanager
    def guard(self, file: str, what: str = "") -> Iterator[None]:
        """Ends the block where a `FaultError` is raised, which is kept, or raised if `strict`."""
        try:
            yield
        except FaultError as error:
            self.faults.append(Fault(plain(file, 300), what, plain(str(error), 300)))
            if self.strict:
                raise DataError(f"{self.name}: {self.faults[-1]}") from None

    def add(
        self,
        file: str,
        name: str,
        image: Path | bytes,
        size: tuple[int, int],
        founds: Iterable[Found],
    ) -> None:
        """Adds a picture with those of its objects that are without fault."""
        kept, boxes = [], []
        for found in founds:
            with self.guard(file, found.what):
                if found.label not in self.places:
                    near = difflib.get_close_matches(found.label, self.classes, n=1)
                    hint = f"; is it {near[0]!r}?" if near else ""
                    raise FaultError(f"{plain(found.label)!r} is none of the classes{hint}")
                boxes.append(checked_box(found.box, size))
                kept.append(found)
        item = Annotated(
            name=name,
            image=image,
            size=size,
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            labels=np.asarray([self.places[found.label] for found in kept], np.int64),
            crowd=np.asarray([found.crowd for found in kept], bool),
            difficult=np.asarray([found.difficult for found in kept], bool),
        )
        self.items.append(item)

    def dataset(self) -> Dataset:
        """What was collected.

        Raises:
            DataError: no picture is left.
        """
        if not self.items:
            reason = f"; the first fault: {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: no annotated picture{reason}")
        return Dataset(self.name, self.classes, tuple(self.items), tuple(self.faults))


def checked_box(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """A box clipped to the picture.

    Args:
        box: x1 y1 x2 y2, continuous.
        size: height and width of the picture.

    Returns:
        float32 (4,).

    Raises:
        FaultError: not finite, outside by more than `ALLOWED_OUTSIDE`, or without area.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        raise FaultError(f"coordinates {_numbers(box)} are no numbers")
    if x2 <= x1 or y2 <= y1:
        raise FaultError(f"the box {_numbers(box)} has no area")
    height, width = size
    if max(-x1, -y1, x2 - width, y2 - height) > ALLOWED_OUTSIDE:
        raise FaultError(f"the box {_numbers(box)} leaves the picture of {width}×{height}")
    clipped = np.clip(np.asarray(box, np.float32), 0, [width, height, width, height])
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise FaultError(f"nothing of the box {_numbers(box)} is in the picture")
    return clipped.astype(np.float32)


def from_voc(corners: Sequence[float]) -> tuple[float, float, float, float]:
    """VOC's xmin ymin xmax ymax, pixels counted from 1 and the last one included, as x1 y1 x2 y2.

    Raises:
        FaultError: corners that coincide: no one draws an object of a pixel; it is a slip.
    """
    xmin, ymin, xmax, ymax = map(float, corners)
    if xmax <= xmin or ymax <= ymin:
        raise FaultError(f"the box {_numbers(corners)} has no area")
    return xmin - 1, ymin - 1, xmax, ymax


def described(number: int | str, label: str) -> str:
    """What faults call an object."""
    return f"object {number} ({plain(label)})" if label else f"object {number}"


def plain(text: str, longest: int = 60) -> str:
    """A stranger's text, fit to be printed on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def inside(folder: Path, name: str) -> Path:
    """The file or folder `name` below `folder`.

    Raises:
        FaultError: the name leads out of it: absolute, by `..`, or by a link.
    """
    parts = {*Path(name).parts, *PureWindowsPath(name).parts}
    absolute = name.startswith(("/", "\\")) or PureWindowsPath(name).drive
    if not name.strip() or "\0" in name or absolute or ".." in parts:
        raise FaultError(f"the file name {plain(name)!r} leads out of the folder")
    try:
        within = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # A name too long; a link to itself.
        raise FaultError(f"the file name {plain(name)!r} cannot be followed") from None
    if not within:
        raise FaultError(f"{plain(name)!r} is a link that leads out of the folder")
    return folder / name


def read_bounded(path: Path, limit: int) -> bytes:
    """A file's bytes.

    Raises:
        FaultError: no such file, or larger than `limit` bytes.
    """
    try:
        return files.read_bounded(path, limit)
    except FileNotFoundError:
        raise FaultError("no such file") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise FaultError(error.strerror) from None
        raise FaultError(f"cannot be read ({getattr(error, 'strerror', error)})") from None


def picture_size(file: Path | bytes) -> tuple[int, int]:
    """Height and width as `load_image` will give them, from the head of the file alone;
    of a PNG all of it is read.

    Raises:
        FaultError: missing, no picture, or larger than `MAX_PIXELS`.
    """
    if isinstance(file, Path) and not os.path.isfile(file):
        raise FaultError(f"the picture {plain(file.name)} is missing")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of large pictures: the bound here is our own.
            with open_image(file) as image:
                width, height = image.size
                small = width * height <= MAX_PIXELS
                if small and image.format == "PNG":  # Its orientation may stand behind the pixels.
                    image.load()
                turned = small and orientation(image) >= 5
    except Exception as error:  # Damaged files raise a dozen kinds.
        reason = plain(" ".join(str(error).split())) or type(error).__name__
        raise FaultError(f"the picture cannot be read ({reason})") from None
    if not small:
        raise FaultError(f"the picture of {width}×{height} has more than {MAX_PIXELS:,} pixels")
    return (width, height) if turned else (height, width)


def agree(size: tuple[int, int], stated: tuple[float, float]) -> None:
    """Raises `FaultError` if a picture's size, (height, width), is not what was stated."""
    if size != stated:
        hint = ", perhaps before its EXIF rotation" if size == stated[::-1] else ""
        raise FaultError(
            f"the picture is {size[1]}×{size[0]}, but the annotations say "
            f"{stated[1]:g}×{stated[0]:g}{hint}"
        )


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
