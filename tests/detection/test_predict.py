"""Objects found by a detector by name: what is kept, and which mistakes are one line."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import ImageError, SettingsError, WeightsError
from atelier.images import load_image, sample
from atelier.runs import RunFolder
from detection import boxes, predict
from detection.annotations import read_dataset
from detection.config import DetectConfig
from detection.detections import Detections
from detection.predict import Detector, check_classes, detect, load_detector


@pytest.fixture
def photo_of_shapes(shapes):
    return shapes / "JPEGImages" / "0.png"


def test_a_run_folder_finds_what_its_network_finds(run, detector, photo_of_shapes):
    config = DetectConfig(model=str(run), threshold=0.0)
    found = detect(photo_of_shapes, config=config)
    assert len(found) > 5
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= 0.05
    assert set(found.labels) <= {"disc", "square"}
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (128, 96) * 2).all()
    again = detector.detect(load_image(photo_of_shapes))
    np.testing.assert_array_equal(found.boxes, again.boxes)
    assert found.labels == again.labels
    (first, *_) = detector.detect_all(read_dataset(photo_of_shapes.parent.parent))
    np.testing.assert_array_equal(first.scores, again.scores)


def test_boxes_are_in_pixels_of_the_picture(run, photo_of_shapes):
    """Twice as large a picture, the same boxes, twice as large."""
    image = load_image(photo_of_shapes)
    config = DetectConfig(model=str(run), threshold=0.0)
    one = detect(image, config=config)
    two = detect(image.repeat(2, axis=0).repeat(2, axis=1), config=config)
    assert len(one) == len(two)
    np.testing.assert_allclose(two.boxes, 2 * one.boxes, atol=0.05)


def test_threshold_and_classes_choose(run, photo_of_shapes):
    every = detect(photo_of_shapes, config=DetectConfig(model=str(run), threshold=0.0))
    middle = float(np.median(every.scores))
    config = DetectConfig(model=str(run), threshold=middle, classes=(every.labels[0],))
    kept = detect(photo_of_shapes, config=config)
    expected = [
        score
        for score, label in zip(every.scores, every.labels, strict=True)
        if score >= middle and label == every.labels[0]
    ]
    assert kept.scores.tolist() == expected
    assert 0 < len(kept) < len(every)
    config = DetectConfig(model=str(run), threshold=1.0)
    nothing = detect(photo_of_shapes, config=config)
    assert (nothing.boxes.shape, nothing.labels) == ((0, 4), ())


def test_a_detector_has_a_threshold_of_its_own():
    """Where its F1 was best, the mean over its classes; a class without objects has none."""
    classes = [{"best_score": 0.8}, {"best_score": 0.9}, {"best_score": None}]
    card = {"validation": {"classes": classes}}
    found = Detections(np.zeros((3, 4)), np.array([0.9, 0.85, 0.84]), ("a", "b", "a"))
    assert predict.own_threshold(card) == 0.85
    assert len(predict.choose(found, DetectConfig(), card)) == 2
    assert len(predict.choose(found, DetectConfig(threshold=0.5), card)) == 3
    for unmeasured in ({}, {"validation": {"classes": [{"best_score": None}]}}):
        assert predict.own_threshold(unmeasured) == 0.5


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("astronaut.png", [(37, 15, 400, 512)]),
        ("camera.png", [(2, 60, 350, 512)]),
        ("coffee.png", []),
        ("chelsea.png", []),
        ("rocket.jpg", []),
    ],
)
def test_people_are_found_and_nobody_where_there_is_none(name, people):
    """By the embedded detector, as it is by default."""
    found = detect(sample(name))
    assert found.labels == ("person",) * len(people)
    if people:
        overlaps = boxes.iou(tf.constant(found.boxes[None]), tf.constant([people], tf.float32))
        assert overlaps.numpy().min() > 0.7


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_senseless_threshold_is_refused(threshold):
    with pytest.raises(SettingsError, match="--threshold is from 0 to 1"):
        DetectConfig(threshold=threshold)


def test_an_unknown_class_is_one_line(run, photo_of_shapes):
    config = DetectConfig(model=str(run), classes=("disc", "cat"))
    with pytest.raises(SettingsError, match="--classes: no class 'cat'; there are disc, square"):
        detect(photo_of_shapes, config=config)
    check_classes((), ())
    check_classes(("disc",), ("disc", "square"))


def test_an_unknown_model_is_one_line(tmp_path):
    with pytest.raises(SettingsError, match="'persons' is neither a run folder nor one of "):
        load_detector(DetectConfig(model="persons"))
    with pytest.raises(WeightsError, match="holds no finished run"):
        load_detector(DetectConfig(model=str(tmp_path)))


def test_a_run_of_another_task_is_one_line(tmp_path):
    @dataclasses.dataclass
    class Settings:
        out: str = "x"

    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    RunFolder(tmp_path / "other", Settings()).finish(other, {"network": "other"})
    with pytest.raises(WeightsError, match="other holds a run of another task than detection"):
        Detector.load(tmp_path / "other")


def test_a_damaged_run_is_one_line(run, tmp_path):
    (tmp_path / "card.json").write_bytes((run / "card.json").read_bytes())
    (tmp_path / "model.keras").write_bytes((run / "model.keras").read_bytes()[:5000])
    with pytest.raises(WeightsError, match="is damaged") as error:
        Detector.load(tmp_path)
    assert "\n" not in str(error.value)


def test_no_picture_is_one_line(run, tmp_path):
    with pytest.raises(ImageError):
        detect(tmp_path / "none.jpg", config=DetectConfig(model=str(run)))


@pytest.mark.parametrize("card", [None, "{", '{"architecture": "huge", "classes": ["a"]}', "[]"])
def test_a_package_without_its_weights_is_one_line(monkeypatch, tmp_path, card):
    monkeypatch.setattr(predict, "WEIGHTS", tmp_path)
    if card is not None:
        (tmp_path / "blood-cells.json").write_text(card)
    with pytest.raises(WeightsError, match="the card of blood-cells is missing or damaged"):
        predict.embedded("blood-cells")


def test_a_detector_is_loaded_once(run):
    config = DetectConfig(model=str(run))
    assert load_detector(config) is load_detector(dataclasses.replace(config, threshold=0.1))
