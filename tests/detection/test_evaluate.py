"""The numbers of a detector on annotated pictures: exact ones, and the command's files."""

import json
import shutil

import numpy as np
import pytest

from atelier.media.images import load_image
from detection import predict
from detection.annotations import read_dataset
from detection.detections import Detections
from detection.evaluate import EvaluateArguments, main
from detection.predict import Detector

FILES = ("confusion.png", "precision_recall.png", "scores.json", "table.txt")


class Knowing(Detector):
    """Finds all discs, and squares but for the last picture's, which it calls a disc, unsure."""

    def __init__(self, dataset):
        super().__init__(None, {})
        self.items = {load_image(item.image).tobytes(): item for item in dataset.items}
        self.last = dataset.items[-1]

    @property
    def classes(self):
        return ("disc", "square")

    def detect(self, image):
        item = self.items[image.tobytes()]
        names, scores = ["disc", "square"], [0.9, 0.8]
        if item is self.last:
            names[1], scores[1] = "disc", 0.3
        return Detections(item.boxes[np.argsort(item.labels)], np.float32(scores), tuple(names))


@pytest.fixture
def knowing(monkeypatch, shapes):
    """Takes the place of whichever detector is asked for; gives what was asked for."""
    asked, detector = [], Knowing(read_dataset(shapes))
    monkeypatch.setattr(predict, "load_detector", lambda config: asked.append(config) or detector)
    return asked


def command(shapes, *more) -> int:
    return main(["--data", str(shapes), *map(str, more)])


def test_numbers_are_exact(knowing, shapes, capsys):
    """Of seven squares six are found: 86 of the 101 recalls up to 6/7 have a precision of 1."""
    assert command(shapes, "--json", "--model", "mine") == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert (record["data"], record["model"]) == ("shapes", "mine")
    assert (record["pictures"], record["objects"]) == (7, 14)
    assert record["ap"] == pytest.approx((1 + 86 / 101) / 2)
    assert record["ap50"] == pytest.approx((1 + 86 / 101) / 2)
    assert record["ar100"] == pytest.approx((1 + 6 / 7) / 2)
    assert [each["label"] for each in record["classes"]] == ["disc", "square"]
    assert [each["ap"] for each in record["classes"]] == pytest.approx([1, 86 / 101])
    assert record["seconds_a_picture"] >= 0
    assert knowing[0].model == "mine"
    assert "disc" in said.err
    assert "7 pictures" in said.err
    assert said.err.splitlines()[-1].endswith("s each")


def test_files_are_written(knowing, shapes, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(shapes, "--out", out) == 0
    said = capsys.readouterr()
    assert said.out == "", "without --json"
    assert tuple(sorted(file.name for file in out.iterdir())) == FILES
    assert json.loads((out / "scores.json").read_text())["ap50"] == pytest.approx(0.92574, abs=1e-5)
    assert (out / "table.txt").read_text().strip() in said.err
    for name in FILES[:2]:
        assert load_image(out / name).std() > 5


def test_the_threshold_is_of_the_confusion_alone(knowing, shapes, tmp_path, capsys):
    pictures, scores = [], []
    for threshold in (0.2, 0.5):
        out = tmp_path / str(threshold)
        assert command(shapes, "--out", out, "--threshold", threshold) == 0
        pictures.append((out / "confusion.png").read_bytes())
        scores.append(json.loads((out / "scores.json").read_text()))
        scores[-1].pop("seconds_a_picture")
    assert pictures[0] != pictures[1], "the unsure disc is there, or it is not"
    ours, others = (score.pop("at_threshold") for score in scores)
    assert (ours["false_alarms"], others["false_alarms"]) == (1, 0)
    assert scores[0] == scores[1]


def test_existing_results_are_kept(knowing, shapes, tmp_path, error_line):
    (tmp_path / "table.txt").write_text("mine")
    assert command(shapes, "--out", tmp_path) == 2
    assert "--overwrite" in error_line()
    assert knowing == [], "before anything is computed"
    assert (tmp_path / "table.txt").read_text() == "mine"
    assert command(shapes, "--out", tmp_path, "--overwrite") == 0
    assert (tmp_path / "table.txt").read_text() != "mine"


def test_faults_are_named(knowing, shapes, tmp_path, capsys):
    folder = shutil.copytree(shapes, tmp_path / "faulty")
    (folder / "JPEGImages" / "2.png").unlink()
    assert command(folder, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == 6
    assert "left out: 2.xml: the picture '2.png' is missing" in said.err


def test_a_run_folder_is_measured_as_its_card_says(run, shapes, detector, tmp_path, capsys):
    """On the picture that was held back."""
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    for number in (0, 1, 2, 3, 4, 6):
        (folder / "Annotations" / f"{number}.xml").unlink()
    assert command(folder, "--model", run, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    for name, value in detector.card["validation"].items():
        assert record[name] == value, name


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--model", "nobody"), "'nobody' is neither a run folder nor one of "),
        (("--model", "{place}"), "holds no finished run"),
        (("--threshold", 2), "--threshold is from 0 to 1"),
        (("--format", "yolo"), "yolo"),
    ],
)
def test_mistake_is_one_line(shapes, tmp_path, error_line, more, words):
    more = [str(word).format(place=tmp_path) for word in more]
    assert command(shapes, *more) == 2
    assert words in error_line()


def test_data_that_is_none_is_one_line(knowing, tmp_path, error_line):
    assert command(tmp_path / "none") == 2
    assert "none: no such folder" in error_line()
    assert command(tmp_path, "--classes", "disc") == 2
    assert "no XML files" in error_line()


def test_classes_that_the_detector_does_not_find_are_named_and_left_out(
    knowing, shapes, monkeypatch, capsys
):
    """The mean is of discs alone; pictures stay, whatever is on them."""
    monkeypatch.setattr(Knowing, "classes", ("disc", "cat"))
    assert command(shapes, "--json") == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert [each["label"] for each in record["classes"]] == ["disc"]
    assert record["ap50"] == pytest.approx(1)
    assert (record["pictures"], record["objects"]) == (7, 7)
    assert record["classes_left_out"] == ["square"]
    assert "left out, as person does not find them: 1 classes (square)" in said.err


def test_a_detector_of_nothing_that_is_there_is_refused(knowing, shapes, monkeypatch, error_line):
    monkeypatch.setattr(Knowing, "classes", ("cat", "dog"))
    assert command(shapes) == 2
    assert "person finds cat, dog, and none of disc, square" in error_line()


def test_what_is_found_is_told_by_the_share_of_the_picture(knowing, shapes, capsys):
    """Squares fill at least 576 of 12,288 pixels, and discs at least 625."""
    assert command(shapes, "--json", "--threshold", 0.5) == 0
    said = capsys.readouterr()
    used = json.loads(said.out)["at_threshold"]
    assert used["threshold"] == 0.5
    boxes = np.concatenate([item.boxes for item in read_dataset(shapes).items])
    large = int((np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) >= 0.1 * 96 * 128).sum())
    assert 0 < large < 14
    assert [each["objects"] for each in used["shares"]] == [0, 14 - large, large]
    assert sum(each["found"] for each in used["shares"]) == 13, "one square is not"
    assert (used["false_alarms"], used["empty_pictures"]) == (0, 0)
    assert f"found of objects of 10% to 100% of their picture: {used['shares'][2]['found']} of" in (
        said.err
    )


def test_by_default_people_are_found():
    assert EvaluateArguments().detection.model == "person"
