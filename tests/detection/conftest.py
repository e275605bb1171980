"""What the tests of detection share: torchvision's numbers, drawn pictures, and a run on them."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from atelier.media.images import save_image
from detection.config import DetectConfig
from detection.network.architectures import ARCHITECTURES, LITE
from detection.predict import Detector, load_detector
from detection.train import TrainConfig, train

SMALL = dataclasses.replace(
    LITE,
    min_size=96,
    max_size=128,
    pre_nms=(100, 60),
    post_nms=(100, 30),
    rpn_samples=64,
    head_samples=32,
    detections=20,
)


@pytest.fixture(scope="session")
def torchvision_units():
    """part -> {name: array}, written by make_torchvision_units.py."""
    with np.load(Path(__file__).with_name("torchvision_units.npz")) as units:
        parts: dict = {}
        for key in units.files:
            part, name = key.split("/")
            parts.setdefault(part, {})[name] = units[key]
    return parts


def voc_page(file: str, size: tuple[int, int], objects) -> str:
    """An annotation as labelImg writes it; objects are (name, x1 y1 x2 y2), continuous."""
    things = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    height, width = size
    return (
        f"<annotation><filename>{file}</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{things}</annotation>"
    )


def draw_shapes(folder: Path, count: int, seed: int = 0) -> Path:
    """Pictures of 96 × 128 with a red disc and a blue square each, in VOC's form."""
    rng = np.random.default_rng(seed)
    (folder / "Annotations").mkdir(parents=True)
    for number in range(count):
        image = rng.integers(90, 130, (96, 128, 3), np.uint8)
        side, (x, y) = int(rng.integers(24, 40)), rng.integers(0, (24, 56)).tolist()
        square = (x, y, x + side, y + side)
        image[y : y + side, x : x + side] = (30, 60, 220)
        side, (x, y) = int(rng.integers(12, 20)), rng.integers((88, 20), (108, 76)).tolist()
        cv2.circle(image, (x, y), side, (220, 40, 30), -1)
        disc = (x - side, max(0, y - side), min(128, x + side + 1), min(96, y + side + 1))
        save_image(folder / "JPEGImages" / f"{number}.png", image)
        page = voc_page(f"{number}.png", (96, 128), [("square", square), ("disc", disc)])
        (folder / "Annotations" / f"{number}.xml").write_text(page)
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder of seven pictures in VOC's form. Tests leave it as it is."""
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "shapes", 7)


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory) -> Path:
    """Likewise four, three of which are trained on."""
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "few", 4)


@pytest.fixture
def small(monkeypatch):
    """Makes of `lite` a network for pictures of 96 pixels, which trains in seconds."""
    monkeypatch.setitem(ARCHITECTURES, "lite", SMALL)
    return SMALL


@pytest.fixture(scope="session")
def tiny(shapes) -> TrainConfig:
    """Two epochs of three batches; `out` is to be replaced."""
    return TrainConfig(data=(str(shapes),), epochs=2, batch=2, side=128, validate_every=2)


@pytest.fixture(scope="session")
def run(tiny, tmp_path_factory) -> Path:
    """The folder of a finished run of `tiny`. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "lite", SMALL)
        train(dataclasses.replace(tiny, out=folder))
    return folder


@pytest.fixture(scope="session")
def detector(run) -> Detector:
    """What that run has trained. Tests leave it as it is."""
    return load_detector(DetectConfig(model=str(run)))
