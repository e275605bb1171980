"""Detectors for other runtimes: `python -m detection.export --format onnx --out FOLDER`.

A file finds objects on one picture of fixed size, suppression and all, and needs nothing of this
package. Beside it lies a .json with the same name: `classes`, `size`, `threshold` and `padding`.

    facts = json.loads(Path("person-float16.json").read_text())
    height, width = facts["size"]
    scale = min(height / photo.shape[0], width / photo.shape[1])  # photo: uint8 (h, w, 3), RGB.
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image = np.full((1, height, width, 3), facts["padding"], np.float32)
    image[0, : small.shape[0], : small.shape[1]] = small
    find = ai_edge_litert.interpreter.Interpreter("person-float16.tflite")
    find = find.get_signature_runner()
    found = find(image=image)  # "boxes", "scores", "labels", "count", the surest first.
    for i in range(found["count"][0]):
        print(facts["classes"][found["labels"][0, i] - 1], found["boxes"][0, i] / scale)

With ONNX Runtime, `find` and what it gives are, in the same order,
`onnxruntime.InferenceSession("person.onnx").run(None, {"image": image})`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from scipy.optimize import linear_sum_assignment

from atelier import cli
from atelier.cli.failures import for_each
from atelier.errors import OutputError, SettingsError, require_extras
from atelier.export.runtimes import exported_path, open_litert, open_onnx
from atelier.files import refuse_existing, write_json
from atelier.media.images import load_image, sample
from detection import predict
from detection.annotations import Dataset
from detection.config import DetectConfig
from detection.detections import Detections
from detection.evaluate import search
from detection.export.fixed import Fixed, Size, check_size, default_size
from detection.export.litert import to_litert
from detection.export.onnx_graph import to_onnx
from detection.measures.metrics import evaluate
from detection.network.boxes import iou
from detection.network.transform import normalize, resize
from detection.predict import Detector
from detection.sources import DataConfig, common_classes, report_faults

__all__ = ["Exported", "Fidelity", "compare", "export", "main", "to_litert", "to_onnx"]

Format = Literal["litert-float32", "litert-float16", "litert-int8", "onnx"]

PICTURE = "astronaut.png"
"""The picture of scikit-image's on which exported detectors are compared."""


def export(
    detector: Detector,
    path: str | os.PathLike,
    format: Format | None = None,
    *,
    size: Size | None = None,
    threshold: float | None = None,
    overwrite: bool = True,
) -> None:
    """Writes a detector as a file for another runtime, and its facts beside it as .json.

    Args:
        detector: with RoIAlign: lite or one of torchvision's.
        path: where to.
        format: None for what the path's suffix says: `litert-float16` of .tflite, `onnx` of .onnx.
        size: height and width of its pictures, multiples of 64 for lite, of 32 for torchvision's;
            None for those that suit 4:3, 448 × 576 for lite.
        threshold: scores up to it are left out; None for 0.05, the least that the network gives.
        overwrite: whether existing files may be replaced.

    Raises:
        SettingsError: no such format or size, a detector with RoI pooling, or a package is missing.
        OutputError: a file exists, or cannot be written.
    """
    path, model = Path(path), detector.model
    if format is None:
        format = {".tflite": "litert-float16", ".onnx": "onnx"}.get(path.suffix)
        if format is None:
            raise SettingsError(f"{path}: the name of an exported file ends in .tflite or .onnx")
    options = {"size": size or default_size(model.architecture), "threshold": threshold}
    fixed = Fixed.of(model, **options)
    facts_file = path.with_suffix(".json")
    for file in (path, facts_file):
        refuse_existing(file, overwrite)
    if format == "onnx":
        to_onnx(model, path, **options, overwrite=overwrite)
    else:
        to_litert(model, path, format.removeprefix("litert-"), **options, overwrite=overwrite)
    facts = {
        "classes": model.classes,
        "size": fixed.size,
        "threshold": fixed.threshold,
        "padding": [round(level, 3) for level in fixed.padding],
    }
    write_json(facts_file, facts, overwrite=overwrite)


class Exported:
    """An exported detector, run as a program without this package would.

    Args:
        path: a .tflite or .onnx file, and beside it the .json of the same name.

    Raises:
        SettingsError: its runtime is missing.
        OutputError: it has no facts beside it.
    """

    def __init__(self, path: str | os.PathLike):
        path = Path(path)
        try:
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise OutputError(f"{path} has no .json beside it; export it anew") from None
        self.classes, self.size = tuple(facts["classes"]), tuple(facts["size"])
        self.padding, self.threshold = facts["padding"], facts["threshold"]
        self.find = (_onnx if path.suffix == ".onnx" else _litert)(path)
        """float32 (1, H, W, 3), RGB in [0, 255], to `boxes`, `scores`, `labels` and `count`."""

    def detect(self, image: np.ndarray) -> Detections:
        """What is found on a picture of any size, fitted to the file's.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        fitted, scale = fit(image, self.size, self.padding)
        found = as_detections(self.find(fitted[None]), self.classes)
        height, width = image.shape[:2]
        boxes = np.clip(found.boxes / scale, 0, (width, height, width, height))
        return dataclasses.replace(found, boxes=np.float32(boxes))


def fit(
    image: np.ndarray, size: Size, padding: Sequence[float]
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A picture at the upper left of one of another size, as large as fits, its aspect kept.

    Args:
        image: uint8 (h, w, 3), RGB.
        size: H and W.
        padding: RGB of what is left.

    Returns:
        the picture, float32 (H, W, 3) in [0, 255]; and how many of its pixels one of the given
        picture is, across, down, across and down, by which boxes are divided.
    """
    scale = min(side / own for side, own in zip(size, image.shape, strict=False))
    height, width = (
        min(side, max(1, round(own * scale))) for side, own in zip(size, image.shape, strict=False)
    )
    fitted = np.empty((*size, 3), np.float32)
    fitted[:] = padding
    fitted[:height, :width] = resize(image, (height, width), antialias=True)
    across, down = width / image.shape[1], height / image.shape[0]
    return fitted, (across, down, across, down)


def as_detections(found: dict[str, np.ndarray], classes: Sequence[str]) -> Detections:
    """What a file gives of one picture, by names of classes."""
    count = int(found["count"][0])
    boxes, scores, labels = (found[name][0, :count] for name in ("boxes", "scores", "labels"))
    return Detections(boxes, scores, tuple(classes[label - 1] for label in labels))


def _litert(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    find = open_litert(path, threads=os.cpu_count() or 1).get_signature_runner()
    return lambda image: find(image=image)


def _onnx(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    session = open_onnx(path)
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(None, {"image": image}), strict=True))


# === How good a file is ===


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How near an exported detector is to the Keras one, on one picture of the file's size."""

    objects: int
    """How many the Keras network finds."""
    same: int
    """How many of them the file finds, too: of the same class, with an IoU of at least 0.5."""
    box_difference: float
    """Of those, the largest of any coordinate, pixels."""
    score_difference: float
    """The largest of any score."""


def compare(detector: Detector, path: str | os.PathLike) -> Fidelity:
    """Measures an exported file on the astronaut.

    Args:
        detector: what was exported.
        path: the file.

    Raises:
        SettingsError: the file's runtime is missing.
        OutputError: it has no facts beside it.
    """
    file = Exported(path)
    picture, _ = fit(load_image(sample(PICTURE)), file.size, file.padding)
    ours = as_detections(file.find(picture[None]), file.classes)
    keras = keras_detections(detector, picture)
    return difference(ours, keras.select(file.threshold))


def keras_detections(detector: Detector, picture: np.ndarray) -> Detections:
    """What the Keras network finds on a picture as an exported file takes it.

    Args:
        picture: float32 (H, W, 3), RGB in [0, 255].
    """
    model = detector.model
    inputs = {
        "images": normalize(picture, model.architecture)[None],
        "sizes": np.float32([picture.shape[:2]]),
    }
    found = {name: value.numpy() for name, value in model.find(inputs)._asdict().items()}
    return as_detections({**found, "count": found["valid"].sum(axis=1)}, model.classes)


def difference(ours: Detections, others: Detections) -> Fidelity:
    """How near detections are to others of the same picture, pair by pair.

    A pair has a class and an IoU of at least 0.5; pairs are chosen for the largest sum of IoUs.
    """
    overlaps = np.asarray(iou(others.boxes, ours.boxes))
    alike = np.array(others.labels)[:, None] == np.array(ours.labels)
    overlaps = np.where(alike & (overlaps >= 0.5), overlaps, 0)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    paired = overlaps[rows, columns] > 0
    rows, columns = rows[paired], columns[paired]
    boxes, scores = (
        np.abs(getattr(ours, name)[columns] - getattr(others, name)[rows]).max(initial=0)
        for name in ("boxes", "scores")
    )
    return Fidelity(len(others), len(rows), float(boxes), float(scores))


def average_precision(detector: Detector | Exported, dataset: Dataset, name: str) -> float:
    """COCO's AP of a detector on a data set, in [0, 1]; NaN where no object counts.

    Args:
        name: of what is measured, for the progress bar.
    """
    return evaluate(dataset, search(detector, dataset, name)).ap


# === The command ===


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Write a detector for LiteRT or ONNX, and measure what was written.

    Files take one RGB picture of a fixed size in [0, 255], as float32, and give boxes, scores and
    labels of what is on it. Beside each lies a .json with the names of the classes.
    """

    network: tyro.conf.Positional[str] = DetectConfig.model
    """The embedded person or blood-cells; resnet50_fpn or resnet50_fpn_v2; or a run folder."""
    weights: Path | None = None
    """A local copy of torchvision's weights, instead of fetching them."""
    format: tuple[Format, ...] = ("litert-float16", "litert-int8")
    """Which forms to write. `onnx` takes the packages of the extra `export`."""
    out: Path = Path("out/detection")
    """The folder to write to."""
    size: tuple[int, int] | None = None
    """Height and width of pictures, multiples of 64, or of 32 for torchvision's; left out, those
    that suit 4:3: 448 576, or 800 1088."""
    threshold: float | None = None
    """Objects less sure than this are left out; left out itself, 0.05, and not the threshold that
    detection.run has: that is for the reader of the file to choose."""
    data: tuple[str, ...] = ()
    """Annotated pictures, as of detection.evaluate, on which AP is measured too: of the file, and
    of the Keras network as detection.run uses it."""
    split: str | None = None
    """Which part of them, such as val or val2017."""
    images: Path | None = None
    """The folder of their pictures, where they are not beside the annotations."""
    exif: Literal["auto", "shown", "stored"] = DataConfig.exif
    """Whether boxes on pictures turned by EXIF are of the picture as shown or as stored."""
    voc_base: Literal[0, 1] | None = None
    """Whether Pascal VOC's corners count pixels from 0 or from 1; left out, see detection.train."""
    check: bool = True
    """Compare what was written with the Keras network, on a picture that comes with
    scikit-image."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""

    def __post_init__(self):
        if not self.format:
            raise SettingsError("--format needs at least one form to write")
        if self.threshold is not None and not 0.05 <= self.threshold < 1:
            raise SettingsError(f"--threshold is from 0.05 to below 1, not {self.threshold}")
        for flag in ("split", "images"):
            if getattr(self, flag) is not None and not self.data:
                raise SettingsError(f"--{flag} is a part of --data, which is missing")


def _report(record: dict, arguments: ExportArguments) -> None:
    if arguments.json:
        cli.print_json({k: None if v != v else v for k, v in record.items()})  # JSON has no NaN.
    text = f"{record['output']}: {record['bytes']:,} bytes"
    if "objects" in record:
        text += (
            f", {record['same']} of {record['objects']} objects as Keras on {PICTURE}, "
            f"boxes at most {record['box_difference']:.2g} px apart, "
            f"scores {record['score_difference']:.2g}"
        )
    if "ap" in record:
        text += f", AP {record['ap']:.3f}, Keras {record['ap_keras']:.3f}"
    cli.print_note(text)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(ExportArguments, argv, prog="python -m detection.export")
    if "onnx" in arguments.format:
        runtime = [("onnxruntime", "export")] if arguments.check or arguments.data else []
        require_extras([("onnx", "export"), *runtime])
    detector = predict.load_detector(DetectConfig(arguments.network, arguments.weights))
    architecture = detector.model.architecture
    size = arguments.size or default_size(architecture)
    check_size(size, architecture)
    dataset = None
    if arguments.data:
        dataset = DataConfig(
            data=arguments.data,
            split=arguments.split,
            images=arguments.images,
            exif=arguments.exif,
            voc_base=arguments.voc_base,
        ).read()
        report_faults(dataset)
        dataset, _ = common_classes(dataset, detector.classes, arguments.network)
    # Once for all forms, and not at all if none is written.
    keras_ap = functools.cache(lambda: average_precision(detector, dataset, "Keras"))

    def work(format: Format) -> None:
        path = exported_path(arguments.out, arguments.network, format)
        export(
            detector,
            path,
            format,
            size=size,
            threshold=arguments.threshold,
            overwrite=arguments.overwrite,
        )
        measured = {"bytes": path.stat().st_size, "size": size}
        if arguments.check:
            measured |= dataclasses.asdict(compare(detector, path))
        if dataset is not None:
            ap = average_precision(Exported(path), dataset, path.name)
            measured |= {"ap": ap, "ap_keras": keras_ap(), "loss": 100 * (keras_ap() - ap)}
        record = {"network": arguments.network, "format": format, "output": path, **measured}
        _report({k: _rounded(v) for k, v in record.items()}, arguments)

    return for_each(
        ((format, functools.partial(work, format)) for format in dict.fromkeys(arguments.format)),
        out=arguments.out,
    )


def _rounded(value):
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else value
