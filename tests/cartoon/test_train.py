"""Training: a run from photos to a network, and going on after a kill."""

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import cartoon.train as module
from atelier.errors import SettingsError
from cartoon.judge import main as judge
from cartoon.judge import mean_iou
from cartoon.people.person import PersonNetwork
from cartoon.train import TrainConfig, main, train
from cartoon.training import data


@pytest.fixture(scope="module")
def tiny(people) -> TrainConfig:
    return TrainConfig(data=people, epochs=3, steps=4, batch=2, side=64, learning_rate=2e-3)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A finished run: its folder and what `train` returned."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, train(dataclasses.replace(tiny, out=out))


def rows(folder) -> list[dict]:
    with open(folder / "history.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def flags(config: TrainConfig) -> list[str]:
    words = ("--data", config.data, "--out", config.out, "--epochs", config.epochs)
    words += ("--steps", config.steps, "--batch", config.batch, "--side", config.side)
    return [str(word) for word in (*words, "--learning-rate", config.learning_rate)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"side": 8}, "--side must be at least 64"),
        ({"side": 65}, "--side is a multiple of 16"),
        ({"learning_rate": -1.0}, "--learning-rate must not be negative"),
        ({"weight_decay": float("nan")}, "--weight-decay must not be negative"),
        ({"seed": -1}, "--seed must be"),
        ({"photos": (Path("photos"),)}, "--photos needs --teachers"),
    ],
)
def test_senseless_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError, match=words):
        TrainConfig(**settings)


def test_run_folder_is_complete(run, tiny):
    out, network = run
    assert {file.name for file in out.iterdir()} == {
        *("config.json", "history.csv", "checkpoint", "model.keras", "card.json")
    }
    assert [row["epoch"] for row in rows(out)] == ["1", "2", "3"]
    card = json.loads((out / "card.json").read_text())
    assert card == network.card
    assert "--steps 4" in card["command"]
    assert str(tiny.data) not in card["command"]
    assert card["held_back"] == 2
    assert card["data"] == "10 photos with masks"


def test_the_card_is_honest(run, tiny):
    out, network = run
    _, held_back = data.split(data.find_pairs(tiny.data))
    again = PersonNetwork.load(out)
    scores = mean_iou({"it": again.probability}, held_back)
    assert network.card["mean_iou"]["person, not refined"] == pytest.approx(scores["it"], abs=1e-4)


def test_a_finished_run_is_left_as_it_is(run, tiny, monkeypatch):
    out, network = run
    monkeypatch.setattr(module, "trainee", None)
    again = train(dataclasses.replace(tiny, out=out))
    for one, other in zip(network.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_held_back_photos_are_not_trained_on(tiny, monkeypatch, tmp_path):
    seen = []

    def spy(pairs):
        seen.extend(image.stem for image, _ in pairs)
        raise InterruptedError("enough was seen")

    monkeypatch.setattr(data, "read_for_training", spy)
    with pytest.raises(InterruptedError):
        train(dataclasses.replace(tiny, out=tmp_path / "run"))
    assert seen == [f"{n:02d}" for n in range(12) if n not in (5, 11)]


def test_it_learns_red_ellipses(people, tmp_path):
    """Sixty steps from random weights are enough to tell red from stripes."""
    config = TrainConfig(
        data=people, epochs=1, steps=60, batch=4, side=64, learning_rate=1e-2, out=tmp_path / "run"
    )
    keras.utils.set_random_seed(0)
    assert train(config).card["mean_iou"]["person, not refined"] > 0.6


def test_commands_mistakes_are_one_line(run, tiny, tmp_path, error_line):
    assert main(["--data", str(tmp_path / "none")]) == 2
    assert "must hold the folders images/ and masks/" in error_line()
    out, _ = run
    assert main(flags(dataclasses.replace(tiny, out=out, steps=5))) == 2
    assert "holds a run with other settings (steps)" in error_line()
    config = dataclasses.replace(tiny, out=tmp_path / "new")
    assert main([*flags(config), "--teachers", str(tmp_path)]) == 2
    assert "selfie_segmentation.tflite" in error_line()


def test_judge_measures_side_by_side(run, tiny, capsys):
    out, network = run
    command = ["--data", str(tiny.data), "--run", str(out)]
    assert judge([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"photos": 2, "mean_iou": network.card["mean_iou"]}
    assert judge([*command, "--all"]) == 0
    said = capsys.readouterr().out
    assert "12 photos" in said
    assert "| person, not refined |" in said
