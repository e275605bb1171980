"""`python -m detection.sweep`: a grid, a drawn picture a trial, and going on after a stop."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from atelier.media.images import load_image
from atelier.progress import Step
from detection import sweep
from detection.annotations import read_dataset
from detection.detections import Detections
from detection.sweep import OUT, main
from detection.train import TrainConfig


class Known:
    """A detector that finds a square, sure, and a disc, unsure."""

    classes = ("disc", "square")

    def __init__(self, config):
        ap50 = 0.25 * config.batch
        validation = {"ap": None, "ap50": ap50}
        self.card = {"validation": validation, "seconds": 7}

    def detect(self, image):
        boxes = np.float32([[5, 5, 60, 60], [70, 20, 120, 90]])
        return Detections(boxes, np.float32([0.9, 0.3]), ("square", "disc"))


@pytest.fixture
def trained(monkeypatch) -> list[TrainConfig]:
    """The settings of each training, in order; none is done."""
    seen = []

    def train(config, verbose=0, **options):
        seen.append(config)
        return Known(config)

    monkeypatch.setattr(sweep, "train", train)
    return seen


@pytest.fixture
def quick(shapes, tmp_path) -> list[str]:
    """The command line, but for the grid."""
    words = ("--data", shapes, "--epochs", 4, "--side", 128, "--out", tmp_path / "out")
    return [str(word) for word in words]


def table(folder) -> list[dict]:
    with open(folder / "out" / "trials.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def test_grid_is_trained_and_shown(quick, trained, shapes, tmp_path, capsys):
    grid = ("--grid", "scheme=approximate,alternating", "batch=2,3")
    assert main([*quick, *grid, "--json"]) == 0
    rows = table(tmp_path)
    assert [(row["scheme"], row["batch"]) for row in rows] == [
        ("approximate", "2"), ("approximate", "3"), ("alternating", "2"), ("alternating", "3"),
    ]  # fmt: skip
    assert [row["ap50"] for row in rows] == ["0.5", "0.75"] * 2
    assert {(row["ap"], row["seconds"], row["error"]) for row in rows} == {("0.0", "7", "")}
    assert [(config.scheme, config.batch) for config in trained] == [
        (row["scheme"], int(row["batch"])) for row in rows
    ]
    folders = [config.out for config in trained]
    assert folders[0] == tmp_path / "out" / "runs" / "scheme=approximate,batch=2"
    assert len(set(folders)) == 4
    assert all(config.epochs == 4 for config in trained)
    sheet = load_image(tmp_path / "out" / "contact_sheet.png")
    assert sheet.shape[1] > 2 * 300, "two by two"
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == rows
    assert "trial 4 of 4" in said.err
    assert "contact_sheet.png: 4 trials" in said.err


def test_the_picture_is_of_those_held_back_with_what_is_sure(quick, trained, shapes, tmp_path):
    assert main([*quick, "--grid", "batch=2"]) == 0
    drawn = load_image(tmp_path / "out" / "trial-000.png").astype(int)
    held_back = load_image(read_dataset(shapes).items[5].image).astype(int)
    assert drawn.shape == held_back.shape
    changed = (drawn != held_back).any(axis=-1)
    assert changed[30, 5:8].any(), "the square's box"
    assert not changed[:, 75:].any(), "the disc is below 0.5"


def test_stopped_sweep_goes_on_where_it_was(quick, trained, tmp_path, monkeypatch, error_line):
    command = [*quick, "--grid", "seed=1,2"]
    watched = sweep.train

    def stopped(config, **options):
        if config.seed == 2:
            raise KeyboardInterrupt
        return watched(config, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "train", stopped)
        assert main(command) == 130
    assert "kept" in error_line()
    assert [row["seed"] for row in table(tmp_path)] == ["1"]
    assert main(command) == 0
    assert [config.seed for config in trained] == [1, 2]
    assert [row["seed"] for row in table(tmp_path)] == ["1", "2"]
    assert main(command) == 0
    assert len(trained) == 2, "a finished sweep trains nothing again"


def test_failed_trial_is_named_and_the_others_done(quick, trained, tmp_path, monkeypatch, capsys):
    real = sweep.train

    def fails(config, **options):
        if config.batch == 4:
            raise sweep.SettingsError("--batch 4 is too much")
        return real(config, **options)

    monkeypatch.setattr(sweep, "train", fails)
    assert main([*quick, "--grid", "batch=4,2"]) == 1
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "trial 0: --batch 4 is too much" in line
    assert [bool(row["error"]) for row in table(tmp_path)] == [True, False]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "give what to vary: --grid FIELD=VALUE,VALUE…"),
        (("--grid", "no_such=1"), "no_such"),
        (("--grid", "scheme=both"), "both"),
        (("--grid", "epochs=4,0"), "--epochs"),
        (("--grid", "epochs=4,6", "scheme=approximate,alternating"), "takes 4 equal steps"),
        (("--grid", "out=a,b"), "out cannot vary"),
    ],
)
def test_mistake_is_one_line(quick, tmp_path, trained, error_line, more, words):
    assert main([*quick, *more]) == 2
    assert words in error_line()
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_results_have_a_folder_of_their_own():
    assert TrainConfig().out != OUT


def test_trials_tell_of_their_epochs_by_the_names_of_the_table(
    quick, trained, tmp_path, monkeypatch
):
    told = []
    real = sweep.train

    def train(config, on_step, **options):
        on_step(Step(1, 4, {"val_ap": 0.5, "val_ap50": 0.75, "loss": 2.0, "box": 1.0}))
        return real(config, **options)

    def listen(base, changes, trial, out, **options):
        out.mkdir()
        (out / "sweep.json").touch()
        trial(dataclasses.replace(base, **changes[0]), sweep.TrialRun(0, out, told.append))
        return []

    monkeypatch.setattr(sweep, "train", train)
    monkeypatch.setattr(sweep, "run_sweep", listen)
    assert main([*quick, "--grid", "seed=0..9", "--samples", "1"]) == 0
    (step,) = told
    assert step.metrics == {"ap": 0.5, "ap50": 0.75, "loss": 2.0}


@pytest.mark.soak
def test_a_cluster_trains_on_data_that_its_hosts_see(quick, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    more = ("--epochs", "1", "--batch", "8", "--grid", "seed=1,2", "--cluster", "auto")
    assert main([*quick, *more]) == 0
    rows = table(tmp_path)
    assert [row["error"] for row in rows] == [""] * 2
    for seed, row in enumerate(rows, start=1):
        card = json.loads((tmp_path / "out" / "runs" / f"seed={seed}" / "card.json").read_text())
        assert float(row["ap"]) == pytest.approx(card["validation"]["ap"] or 0, abs=1e-4)
        assert (tmp_path / "out" / f"trial-00{seed - 1}.png").exists()
