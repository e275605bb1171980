"""`python -m superres.sweep`: what the report leaves open, a grid, and going on after a stop."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest

from atelier.media.images import load_image
from superres import sweep
from superres.config import NetworkConfig
from superres.network.model import build_network
from superres.networks import Network
from superres.sweep import PRESETS, RECONSTRUCTION, main, picture_of
from superres.train import BEST, REPORT


@pytest.fixture
def quick(pictures, tmp_path) -> list[str]:
    """The command line of a sweep of tiny networks, but for its grid."""
    shape = ("--widths", 6, "--kernels", "3x3", "--residuals")
    numbers = ("--crop", 24, "--margin", 2, "--batch", 2, "--steps", 2, "--epochs", 1)
    paths = ("--data", pictures, "--validation", pictures, "--out", tmp_path / "out")
    return [str(word) for word in (*shape, *numbers, *paths)]


@pytest.fixture
def trained(monkeypatch) -> list:
    """The settings of each network that is trained, in order."""
    seen = []
    real = sweep.train

    def train(config, **options):
        seen.append(config)
        return real(config, **options)

    monkeypatch.setattr(sweep, "train", train)
    return seen


def table(folder):
    with open(folder / "out" / "trials.csv", newline="") as lines:
        return list(csv.DictReader(lines))


# === What the report leaves open ===


def test_reconstruction_is_16_networks_of_2560_weights():
    configs = {NetworkConfig(**change) for change in RECONSTRUCTION}
    assert len(configs) == len(RECONSTRUCTION) == 16
    assert {config.parameters for config in configs} == {2560}
    assert NetworkConfig() in configs
    assert {config.kernels for config in configs} == set(sweep.KERNELS)


def test_reconstructions_differ_in_what_they_compute(rng):
    """A pair for each thing left open: with the same weights, another picture."""
    base = NetworkConfig()
    x = rng.uniform(0.2, 0.8, (1, 9, 9, 1)).astype(np.float32)

    def result(**change):
        network = build_network(dataclasses.replace(base, **change))
        for weight in network.weights:
            weight.assign(np.full(weight.shape, 0.05))
        return np.asarray(network(x))

    assert np.abs(result() - result(residuals=(2,))).max() > 1e-6
    assert np.abs(result() - result(interpolation="nearest")).max() > 1e-3


@pytest.mark.parametrize("preset", PRESETS)
def test_reconstruction_trains_the_reports_network_whatever_the_preset(
    preset, pictures, tmp_path, monkeypatch, capsys
):
    asked = []

    def train(config, **options):
        asked.append(config)
        raise sweep.SettingsError("not now")

    monkeypatch.setattr(sweep, "train", train)
    paths = ["--data", str(pictures), "--validation", str(pictures), "--out", str(tmp_path)]
    assert main(["--reconstruction", "--preset", preset, *paths]) == 1
    assert [config.network_config for config in asked] == [
        NetworkConfig(**change) for change in RECONSTRUCTION
    ]
    assert {config.learning_rate for config in asked} == {PRESETS[preset].learning_rate}
    assert "not now" in capsys.readouterr().err


# === A sweep ===


def test_grid_is_trained_and_shown(quick, tmp_path, trained, capsys):
    assert main([*quick, "--grid", "loss=l1,l2", "learning-rate=0.003", "--json"]) == 0
    rows = table(tmp_path)
    settings = [(row["loss"], row["learning_rate"]) for row in rows]
    assert settings == [("l1", "0.003"), ("l2", "0.003")]
    assert [(config.loss, config.learning_rate) for config in trained] == [
        (loss, float(rate)) for loss, rate in settings
    ]
    assert {config.schedule for config in trained} == {"cosine"}  # Of the preset `short`.
    for number, row in enumerate(rows):
        network = Network.load(tmp_path / "out" / f"trial-{number:03d}")
        assert float(row["Set3"]) == network.card["psnr"]["Set3"]
        assert load_image(tmp_path / "out" / f"trial-{number:03d}.png").shape == (64, 70, 3)
    assert (tmp_path / "out" / "contact_sheet.png").exists()
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == rows


def test_stopped_sweep_goes_on_where_it_was(quick, tmp_path, trained, monkeypatch, error_line):
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
    done = table(tmp_path)
    assert [row["seed"] for row in done] == ["1"]
    assert main(command) == 0
    assert [config.seed for config in trained] == [1, 2]
    rows = table(tmp_path)
    assert rows[:1] == done
    assert [row["seed"] for row in rows] == ["1", "2"]
    # A finished sweep trains nothing again.
    assert main(command) == 0
    assert len(trained) == 2
    assert table(tmp_path) == rows


def test_picture_is_the_middle_of_the_last_one(run, pictures):
    network = Network.load(run)
    found = picture_of(network, pictures)
    assert found.shape == (64, 70, 3)
    assert found.dtype == np.uint8
    truth = load_image(pictures / "c.png")[:64, :70]
    assert np.abs(found.astype(int) - truth).mean() < 15


def test_failed_trial_is_named_and_the_others_done(quick, tmp_path, capsys):
    assert main([*quick, "--grid", "crop=24,512"]) == 1
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "trial 1" in line
    assert "smaller than crops of 256 LR pixels" in line
    assert [bool(row["error"]) for row in table(tmp_path)] == [False, True]


# === Settings ===


def test_results_have_a_folder_of_their_own(quick, trained, monkeypatch, tmp_path):
    """Whatever the preset, and not that of a single training."""
    monkeypatch.chdir(tmp_path)
    without_out = quick[: quick.index("--out")]
    assert main([*without_out, "--grid", "seed=1"]) == 0
    assert (tmp_path / "runs" / "superres-sweep" / "trials.csv").exists()
    assert not (tmp_path / "runs" / "superres").exists()


def test_presets_are_those_of_training():
    def but_for_out(config):
        return dataclasses.replace(config, out=REPORT.out)

    assert but_for_out(PRESETS["report"]) == REPORT
    assert but_for_out(PRESETS["best"]) == BEST
    assert but_for_out(PRESETS["short"]) == dataclasses.replace(BEST, epochs=4)
    assert len({preset.out for preset in PRESETS.values()} | {sweep.OUT}) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "either --grid FIELD=VALUE,VALUE… or --reconstruction"),
        (("--grid", "seed=1", "--reconstruction"), "either --grid"),
        (("--grid", "no_such=1"), "no_such"),
        (("--grid", "loss=l3"), "l3"),
        (("--grid", "epochs=0"), "--epochs"),
        (("--preset", "fast"), "fast"),
    ],
)
def test_mistake_is_one_line(quick, tmp_path, error_line, more, words):
    assert main([*quick, *more]) == 2
    assert words in error_line()
    assert not (tmp_path / "out").exists()


def test_data_and_a_test_set_are_asked_for(error_line, pictures):
    for arguments in ([], ["--data", str(pictures)], ["--validation", str(pictures)]):
        assert main([*arguments, "--grid", "seed=1"]) == 2
        assert "--data F… --validation F…" in error_line()


def test_trials_tell_of_their_epochs_by_the_names_of_the_table(quick, tmp_path, monkeypatch):
    told = []

    def listen(base, changes, trial, out, **options):
        (out / "sweep.json").parent.mkdir(parents=True)
        (out / "sweep.json").touch()
        trial(dataclasses.replace(base, **changes[0]), sweep.TrialRun(0, out, told.append))
        return []

    monkeypatch.setattr(sweep, "run_sweep", listen)
    assert main([*quick, "--epochs", "2", "--grid", "seed=1"]) == 0
    assert [(step.number, step.total) for step in told] == [(1, 2), (2, 2)]
    assert all(step.metrics["Set3"] > 5 and step.metrics["loss"] > 0 for step in told)


def test_reconstruction_is_not_drawn_from(quick, error_line):
    assert main([*quick, "--reconstruction", "--samples", "2"]) == 2
    assert "leave out --samples" in error_line()


@pytest.mark.soak
def test_asha_stops_trainings_on_a_cluster(quick, tmp_path, monkeypatch):
    """Run folders are as here; of what was stopped, the row has the last epoch's numbers."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    command = [*quick, "--epochs", "4", "--grid", "learning_rate=1e-2,1e-8,1e-9"]
    # One after another.
    asha = ["--cluster", "auto", "--scheduler", "asha", "--trial-cpus", str(os.cpu_count())]
    assert main([*command, *asha]) == 0
    rows = table(tmp_path)
    assert [row["stopped_at"] for row in rows] == ["", "1", "1"]
    folders = [tmp_path / "out" / f"trial-00{number}" for number in range(3)]
    assert [(folder / "card.json").exists() for folder in folders] == [True, False, False]
    with open(folders[1] / "history.csv", newline="") as lines:
        (epoch,) = csv.DictReader(lines)
    assert rows[1]["Set3"] == epoch["psnr_Set3"]
    assert float(rows[0]["Set3"]) > float(rows[1]["Set3"])
    assert not (tmp_path / "out" / "trial-001.png").exists()
    assert load_image(tmp_path / "out" / "contact_sheet.png").shape[1] < 2 * 320, "of one"
