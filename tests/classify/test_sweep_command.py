"""`python -m classify.sweep`: a grid, a picture a trial, and going on after a stop."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from atelier.media.images import load_image
from atelier.progress import Step
from classify import sweep
from classify.evaluate import evaluate
from classify.networks import Network
from classify.sweep import PRESETS, draw_confusion, main
from classify.train import REPORT, STRONG


@pytest.fixture
def quick(official, tmp_path) -> list[str]:
    """The command line of a sweep of tiny networks, but for its grid."""
    shape = ("--widths", 4, "--precision", "float32", "--views", 1)
    numbers = ("--held-back", 200, "--batch", 25, "--epochs", 1)
    paths = ("--data", official, "--out", tmp_path / "out")
    return [str(word) for word in (*shape, *numbers, *paths)]


@pytest.fixture
def trained(monkeypatch, network) -> list:
    """The settings of each network that would be trained, in order; one that is there is given."""
    seen = []

    def train(config, data, **options):
        assert len(data.train) == 300
        seen.append(config)
        return network

    monkeypatch.setattr(sweep, "train", train)
    return seen


def table(folder):
    with open(folder / "out" / "trials.csv", newline="") as lines:
        return list(csv.DictReader(lines))


# === A sweep ===


def test_grid_is_trained_and_shown(quick, tmp_path, drawn, capsys):
    assert main([*quick, "--grid", "activation=relu,silu", "learning-rate=0.1", "--json"]) == 0
    rows = table(tmp_path)
    assert [row["activation"] for row in rows] == ["relu", "silu"]
    for number, row in enumerate(rows):
        name = f"trial-{number:03d}"
        network = Network.load(tmp_path / "out" / name)
        assert network.card["shape"]["activation"] == row["activation"]
        assert "--learning-rate 0.1" in network.card["command"]
        measured = evaluate(network, drawn.test)
        assert float(row["accuracy"]) == pytest.approx(measured.accuracy, abs=1e-4)
        assert float(row["accuracy"]) == network.card["accuracy"]
        assert float(row["ece"]) == pytest.approx(measured.error, abs=1e-4)
        assert row["parameters"] == str(network.card["parameters"])
        picture = load_image(tmp_path / "out" / f"{name}.png")
        np.testing.assert_array_equal(picture, draw_confusion(measured.confusion))
    assert (tmp_path / "out" / "contact_sheet.png").exists()
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == rows
    assert "trial 2 of 2" in said.err


def test_stopped_sweep_goes_on_where_it_was(quick, tmp_path, trained, monkeypatch, error_line):
    command = [*quick, "--grid", "seed=1,2"]
    watched = sweep.train

    def stopped(config, data, **options):
        if config.seed == 2:
            raise KeyboardInterrupt
        return watched(config, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "train", stopped)
        assert main(command) == 130
    assert "kept" in error_line()
    done = table(tmp_path)
    assert [row["seed"] for row in done] == ["1"]
    assert main(command) == 0
    assert [config.seed for config in trained] == [1, 2]
    assert [config.out.name for config in trained] == ["trial-000", "trial-001"]
    rows = table(tmp_path)
    assert rows[:1] == done
    assert [row["seed"] for row in rows] == ["1", "2"]
    # A finished sweep trains nothing again.
    assert main(command) == 0
    assert len(trained) == 2
    assert table(tmp_path) == rows


def test_failed_trial_is_named_and_the_others_done(quick, tmp_path, trained, monkeypatch, capsys):
    real = sweep.train

    def fails(config, data, **options):
        if config.batch == 400:
            raise sweep.SettingsError("--batch 400 is more than there is")
        return real(config, data, **options)

    monkeypatch.setattr(sweep, "train", fails)
    assert main([*quick, "--grid", "batch=400,20"]) == 1
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "trial 0: --batch 400" in line
    assert [bool(row["error"]) for row in table(tmp_path)] == [True, False]


# === Its picture ===


def test_mistakes_are_red_and_what_is_right_is_not():
    matrix = np.diag(np.full(10, 80))
    matrix[3, 5] = 20
    found = draw_confusion(matrix)
    assert (found.shape, found.dtype) == ((640, 640, 3), np.uint8)
    assert draw_confusion(matrix, side=320).shape == (320, 320, 3)
    values = found.astype(int)
    red = values[..., 0] > values[..., 1:].max(axis=-1) + 60
    y, x = np.nonzero(red)
    assert len(y) > 1000
    # A single cell: the fourth of ten rows, the sixth of ten columns.
    assert np.ptp(y) < 64
    assert np.ptp(x) < 64
    assert x.mean() > y.mean()
    assert not np.array_equal(draw_confusion(matrix.T), found)
    perfect = draw_confusion(np.diag(np.full(10, 80))).astype(int)
    assert (perfect.max(axis=-1) - perfect.min(axis=-1)).max() < 60


def test_class_without_pictures_is_drawn_too():
    assert draw_confusion(np.zeros((10, 10), int)).shape == (640, 640, 3)


# === Settings ===


def test_results_have_a_folder_of_their_own(quick, trained, monkeypatch, tmp_path):
    """Whatever the preset, and not that of a single training."""
    monkeypatch.chdir(tmp_path)
    without_out = quick[: quick.index("--out")]
    assert main([*without_out, "--grid", "seed=1"]) == 0
    assert (tmp_path / "runs" / "classify-sweep" / "trials.csv").exists()
    assert not (tmp_path / "runs" / "classify").exists()
    assert {config.network for config in trained} == {"strong"}, "the preset `short`"


def test_presets_are_those_of_training():
    def but_for_out(config):
        return dataclasses.replace(config, out=REPORT.out)

    assert but_for_out(PRESETS["report"]) == REPORT
    assert but_for_out(PRESETS["strong"]) == STRONG
    short = PRESETS["short"]
    assert but_for_out(short) == dataclasses.replace(STRONG, epochs=short.epochs)
    assert short.epochs < STRONG.epochs
    assert len({preset.out for preset in PRESETS.values()} | {sweep.OUT}) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "give what to vary: --grid FIELD=VALUE,VALUE…"),
        (("--grid", "no_such=1"), "no_such"),
        (("--grid", "activation=tanh"), "tanh"),
        (("--grid", "epochs=1,0"), "--epochs"),
        (("--grid", "seed=1", "--preset", "fast"), "fast"),
        (("--grid", "seed=1", "--data", "nowhere"), "no such folder"),
    ],
)
def test_mistake_is_one_line(quick, tmp_path, trained, error_line, more, words):
    assert main([*quick, *more]) == 2
    assert words in error_line()
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_trials_tell_of_their_epochs_by_the_names_of_the_table(
    quick, network, tmp_path, monkeypatch
):
    told = []

    def train(config, data, on_step):
        on_step(Step(1, 4, {"accuracy": 0.9, "loss": 2.0, "val_accuracy": 0.5, "val_loss": 3.0}))
        return network

    def listen(base, changes, trial, out, **options):
        out.mkdir()
        (out / "sweep.json").touch()
        trial(dataclasses.replace(base, **changes[0]), sweep.TrialRun(0, out, told.append))
        return []

    monkeypatch.setattr(sweep, "train", train)
    monkeypatch.setattr(sweep, "run_sweep", listen)
    assert main([*quick, "--grid", "seed=0..9", "--samples", "1"]) == 0
    (step,) = told
    assert step.metrics == {"accuracy": 0.5, "loss": 2.0}, "of the pictures to test with"


@pytest.mark.soak
def test_a_cluster_trains_on_data_that_is_sent_there(quick, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert main([*quick, "--epochs", "1", "--grid", "seed=1,2", "--cluster", "auto"]) == 0
    rows = table(tmp_path)
    assert [row["error"] for row in rows] == [""] * 2
    for number, row in enumerate(rows):
        network = Network.load(tmp_path / "out" / f"trial-00{number}")
        assert row["accuracy"] == str(network.card["accuracy"])
        assert network.card["seed"] == number + 1
        assert (tmp_path / "out" / f"trial-00{number}.png").exists()
