"""Objects found by a detector by name: what is kept, and which mistakes are one line."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import ImageError, SettingsError, WeightsError
from atelier.media.images import load_image, sample
from atelier.training.runs import RunFolder
from detection import predict
from detection.annotations import read_dataset
from detection.config import DetectConfig
from detection.detections import Detections
from detection.network import boxes
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


def test_a_list_of_pictures_gives_a_list(run, photo_of_shapes):
    config = DetectConfig(model=str(run), threshold=0.0)
    alone = detect(photo_of_shapes, config=config)
    found = detect([photo_of_shapes, load_image(photo_of_shapes)], config=config)
    assert [each.labels for each in found] == [alone.labels] * 2
    assert detect([], config=config) == []


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


def test_each_class_has_a_threshold_of_its_own():
    """Where its F1 was best; a class without objects has the mean of the others'."""
    best = {"a": 0.8, "b": 0.9, "c": None}
    classes = [{"label": label, "best_score": score} for label, score in best.items()]
    card = {"classes": ["a", "b", "c"], "validation": {"classes": classes}}
    scores = np.array([0.89, 0.86, 0.84, 0.82, 0.79])
    found = Detections(np.zeros((5, 4)), scores, ("b", "c", "c", "a", "a"))
    assert predict.own_thresholds(card) == {"a": 0.8, "b": 0.9, "c": 0.85}
    assert predict.own_threshold(card) == 0.85
    assert predict.choose(found, DetectConfig(), card).labels == ("c", "a")
    assert predict.choose(found, DetectConfig(classes=("a",)), card).labels == ("a",)
    assert len(predict.choose(found, DetectConfig(threshold=0.5), card)) == 5
    set_by_hand = {**card, "thresholds": {"c": 0.84}}
    assert predict.own_thresholds(set_by_hand) == {"a": 0.8, "b": 0.9, "c": 0.84}


@pytest.mark.parametrize("more", [{}, {"validation": {"classes": [{"best_score": None}]}}])
def test_what_was_not_measured_has_a_threshold_of_a_half(more):
    card = {"classes": ["a"], **more}
    assert predict.own_threshold(card) == 0.5
    assert predict.own_thresholds(card) == {"a": 0.5}


def test_a_card_with_a_senseless_threshold_is_refused():
    with pytest.raises(ValueError, match=r"a threshold of 1\.5"):
        predict.own_thresholds({"classes": ["a"], "thresholds": {"a": 1.5}})


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


def test_a_folder_that_was_trained_anew_is_loaded_anew(run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("card.json", "model.keras"):
        (folder / name).write_bytes((run / name).read_bytes())
    config = DetectConfig(model=str(folder))
    first = load_detector(config)
    card = {**json.loads((folder / "card.json").read_text()), "seed": 7}
    (folder / "card.json").write_text(json.dumps(card))
    assert load_detector(config).card["seed"] == 7
    assert first.card["seed"] == 0
