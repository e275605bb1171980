"""Training: a run from pictures to a network, an honest card, and going on after a kill."""

import csv
import dataclasses
import json
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from atelier import cli
from atelier.errors import SettingsError
from atelier.nets import precision
from atelier.nets.precision import dtype_policy
from classify import calibration
from classify import train as module
from classify.data import Cifar10, Split
from classify.evaluate import evaluate
from classify.networks import Network
from classify.train import (
    PRESETS,
    TrainArguments,
    TrainConfig,
    main,
    precision_of,
    train,
    trainee,
)


def rows(folder) -> list[dict]:
    with open(folder / "history.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def assert_same_weights(one: keras.Model, other: keras.Model, tolerance: float = 1e-4) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# === Settings ===


@pytest.mark.parametrize("preset", PRESETS)
def test_command_takes_every_preset_and_single_flags(preset):
    arguments = cli.parse(
        TrainArguments, ["--preset", preset, "--batch", "5", "--data", "a"], presets=PRESETS
    )
    expected = dataclasses.replace(PRESETS[preset], batch=5, data=Path("a"))
    assert cli.settings(TrainConfig, arguments) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *[({name: 0}, f"--{name} must be at least 1") for name in ("epochs", "batch")],
        *[
            ({name: value}, f"--{name.replace('_', '-')} must be positive")
            for name in ("learning_rate", "bias_rate", "head_rate")
            for value in (0.0, -1.0, np.nan, np.inf)
        ],
        *[
            ({name: value}, f"--{name.replace('_', '-')} must be in [0, 1)")
            for name in ("momentum", "label_smoothing")
            for value in (-0.1, 1.0, np.nan)
        ],
        *[({"translate": value}, "--translate is from 0 to 16") for value in (-1, 17)],
        *[({"cutout": value}, "--cutout is from 0 to 32") for value in (-1, 33)],
        ({"held_back": -1}, "--held-back is from 0"),
        *[({"seed": value}, "--seed") for value in (-1, 2**31)],
        ({"precision": "bfloat16"}, "the report's network is trained in float32"),
        ({"depth": 0}, "--depth"),
        ({"widths": ()}, "--widths"),
    ],
)
def test_senseless_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError) as caught:
        TrainConfig(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_network_of_the_settings_is_their_shape_alone(tiny):
    assert dataclasses.asdict(tiny.network_config) == {
        "network": "strong",
        "widths": (8, 16),
        "depth": 2,
        "activation": "gelu",
    }


def test_rates_are_those_of_the_settings(tiny, drawn):
    """Gradients are means over a batch, and the rates are for sums."""
    muon = trainee(dataclasses.replace(tiny, bias_rate=0.02, head_rate=0.5), drawn.train).optimizer
    assert (muon.momentum, muon.other_rate, muon.head_rate) == (0.6, 0.02 * 25, 0.5 * 25)
    schedule = muon._learning_rate
    # 300 pictures are 12 steps an epoch, for 5 epochs: then the rate is zero.
    found = [float(schedule(step)) for step in (0, 30, 60)]
    assert found == pytest.approx([0.24, 0.12, 0])


def test_patches_of_the_pictures_come_out_white(tiny, drawn):
    model = trainee(tiny, drawn.train)
    whitened = keras.Model(model.inputs, model.get_layer("whitening").output)
    outputs = whitened.predict_on_batch(drawn.train.images[:200] / np.float32(255))
    patches = outputs[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(patches.T @ patches / len(patches), np.eye(12), atol=0.05)


def test_seed_decides_weights_and_order(tiny, drawn):
    same, again, other = (
        trainee(dataclasses.replace(tiny, seed=s), drawn.train) for s in (1, 1, 2)
    )
    for a, b in zip(same.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    head = "head"
    assert (same.get_layer(head).get_weights()[0] != other.get_layer(head).get_weights()[0]).any()
    first, second = (
        module.batches(dataclasses.replace(tiny, seed=s), drawn.train)[0][0] for s in (1, 2)
    )
    assert (first != second).any()


# === A run ===


def test_run_folder_is_complete(run, tiny):
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "history.csv", "checkpoint", "model.keras", "card.json")
    }
    assert json.loads((run / "config.json").read_text())["widths"] == [8, 16]
    history = rows(run)
    assert [row["epoch"] for row in history] == [str(n) for n in range(1, tiny.epochs + 1)]
    for row in history:
        fields = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
        assert row.keys() == fields
        assert all(np.isfinite(float(value)) for value in row.values())


def test_tiny_network_learns_ten_colours(run):
    """Chance is one in ten."""
    losses = [float(row["loss"]) for row in rows(run)]
    assert losses[-1] < 0.8 * losses[0]
    assert Network.load(run).card["accuracy"] > 0.7


def test_card_says_what_was_done(run, tiny, drawn):
    card = json.loads((run / "card.json").read_text())
    assert card["network"] == "strong"
    assert card["parameters"] == Network.load(run).model.count_params()
    assert card["shape"] == json.loads(json.dumps(dataclasses.asdict(tiny.network_config)))
    assert card["pictures"] == 250, "those held back are not trained on"
    assert (card["epochs"], card["seed"], card["views"]) == (tiny.epochs, 0, 6)
    assert card["precision"] == "float32"
    assert card["data"] == "CIFAR-10, drawn"
    assert str(run.parent) not in json.dumps(card), "whose disk it was is nobody's business"
    program = "python -m classify.train "
    assert card["command"].startswith(program)
    words = card["command"].removeprefix(program).split()
    again = cli.settings(TrainConfig, cli.parse(TrainArguments, words, presets=PRESETS))
    assert again == dataclasses.replace(tiny, out=Path(run.name))


def test_card_is_honest(run, network, drawn):
    """What it says is what can be measured again, of the network as it was stored."""
    card, measured = network.card, evaluate(network, drawn.test)
    assert card["accuracy"] == pytest.approx(measured.accuracy, abs=1e-4)
    held_back = drawn.train[250:]
    for views in (1, 2, 6):
        logits = network.logits(held_back.images, views)
        fitted = calibration.fit_temperature(logits, held_back.labels)
        assert card["temperature"][str(views)] == pytest.approx(fitted, abs=1e-3)
        known = evaluate(network, held_back, views).energies >= network.threshold_of(views)
        assert known.mean() == pytest.approx(0.95, abs=0.03)
    assert len({1, *card["temperature"].values()}) == 4
    assert len(set(card["threshold"].values())) == 3


def test_validation_sees_the_test_pictures(run, network, drawn):
    """The last row of the history is of one view, and of what was stored."""
    logits = network.logits(drawn.test.images, views=1)
    accuracy = (logits.argmax(axis=1) == drawn.test.labels).mean()
    assert float(rows(run)[-1]["val_accuracy"]) == pytest.approx(accuracy, abs=0.011)


def test_pictures_held_back_are_not_trained_on(network, tiny, drawn, rng, tmp_path):
    """Others in their place: the same network, but for temperature and threshold.

    Nor does it matter which pictures it is tested on: here, those that six views see otherwise
    than one does.
    """
    images = drawn.train.images.copy()
    images[250:] = 255 - images[250:]
    candidates = rng.normal(128, 60, (2000, 1, 1, 3)) + rng.normal(0, 40, (2000, 32, 32, 3))
    candidates = np.clip(candidates, 0, 255).astype(np.uint8)
    one, six = (network.logits(candidates, views).argmax(axis=1) for views in (1, 6))
    test = Split(candidates, six)[one != six]
    assert len(test) > 0
    data = Cifar10(Split(images, drawn.train.labels), test, "other pictures")
    other = train(dataclasses.replace(tiny, out=tmp_path), data=data)
    assert_same_weights(network.model, other.model)
    assert network.temperature != other.temperature
    assert network.threshold != other.threshold
    assert other.card["accuracy"] == 1, "of as many views as the card says"
    assert float(rows(tmp_path)[-1]["val_accuracy"]) < 0.5, "of one"


def test_nothing_held_back_sets_no_threshold(tiny, drawn, tmp_path):
    config = dataclasses.replace(tiny, epochs=1, held_back=0, views=1, out=tmp_path)
    network = train(config, data=drawn)
    assert (network.temperature, network.threshold, network.views) == (1, None, 1)
    assert network.card["pictures"] == 300


def test_finished_run_is_left_as_it_is(run, tiny, drawn):
    before = {name: (run / name).read_bytes() for name in ("history.csv", "card.json")}
    network = train(dataclasses.replace(tiny, out=run), data=drawn)
    assert_same_weights(network.model, Network.load(run).model, 0)
    assert {name: (run / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_auto_trains_in_what_was_measured_to_be_faster(tiny, drawn, monkeypatch, faster):
    times = {"float32": 0.02, "bfloat16": 0.01 if faster == "bfloat16" else 0.03}
    monkeypatch.setattr(precision, "measured", lambda work, machine: times)
    config = dataclasses.replace(tiny, precision="auto")
    assert precision_of(config).precision == faster
    assert "float32 20.0 ms, bfloat16" in precision_of(config).reason
    policies = {layer.compute_dtype for layer in trainee(config, drawn.train).layers}
    assert policies == {"float32", faster}


def test_the_reports_network_measures_nothing(monkeypatch):
    monkeypatch.setattr(precision, "measured", None)
    assert precision_of(TrainConfig(precision="auto")).policy == "float32"


def test_bfloat16_trains_too_and_is_stored_in_float32(tiny, drawn, tmp_path):
    config = dataclasses.replace(tiny, precision="bfloat16", out=tmp_path)
    policies = {layer.compute_dtype for layer in trainee(config, drawn.train).layers}
    assert policies == {"bfloat16", "float32"}
    network = train(config, data=drawn)
    assert network.card["precision"] == dtype_policy("bfloat16") == "mixed_bfloat16"
    assert network.card["precision_reason"] == "as asked"
    assert {layer.compute_dtype for layer in Network.load(tmp_path).model.layers} == {"float32"}
    assert network.card["accuracy"] > 0.7
    assert network.card["accuracy"] == pytest.approx(
        evaluate(Network.load(tmp_path), drawn.test).accuracy, abs=1e-4
    )


def test_residual_cutout_and_sgd_train_too(tiny, drawn, tmp_path):
    config = dataclasses.replace(
        tiny, depth=3, widths=(8,), cutout=6, flip="random", activation="silu", optimizer="sgd"
    )
    config = dataclasses.replace(config, learning_rate=0.05, momentum=0.9, out=tmp_path)
    train(config, data=drawn)
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    assert losses[-1] < 0.9 * losses[0]


# === Going on ===


class Stopped(Exception):
    pass


@pytest.fixture
def few_steps() -> TrainConfig:
    """The report's network and optimizer, with two steps an epoch."""
    return TrainConfig(held_back=236, epochs=2, learning_rate=0.05)


def test_stopped_run_goes_on_to_the_same_weights(few_steps, drawn, monkeypatch, tmp_path):
    """With momentum, a decaying rate and dropout: all of it goes on."""
    whole = train(dataclasses.replace(few_steps, out=tmp_path / "whole"), data=drawn)
    config = dataclasses.replace(few_steps, out=tmp_path / "broken")

    class StoppedRun(module.KeepRun):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(module, "KeepRun", StoppedRun)
        with pytest.raises(Stopped):
            train(config, data=drawn)
    assert len(rows(config.out)) == 1
    assert not (config.out / "model.keras").exists()
    resumed = train(config, data=drawn)
    assert [row["epoch"] for row in rows(config.out)] == ["1", "2"]
    assert_same_weights(whole.model, resumed.model)
    for name in ("accuracy", "temperature"):
        assert resumed.card[name] == pytest.approx(whole.card[name], abs=0.011)


def as_words(*words) -> list[str]:
    return [str(word) for word in words]


def flags(config: TrainConfig, data) -> list[str]:
    """The command line of `config` on other data."""
    return [*cli.as_flags(dataclasses.replace(config, out=TrainConfig().out)).split()] + as_words(
        "--data", data, "--out", config.out
    )


def test_ctrl_c_keeps_the_last_checkpoint(tiny, official, tmp_path, monkeypatch, error_line):
    config = dataclasses.replace(tiny, epochs=3, out=tmp_path / "run")

    class Pressed(module.KeepRun):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(module, "KeepRun", Pressed)
            assert main(flags(config, official)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "kept" in error_line()
    assert [row["epoch"] for row in rows(config.out)] == ["1"]
    assert [file.name for file in (config.out / "checkpoint").iterdir()] == ["epoch-000001.npz"]
    assert main(flags(config, official)) == 0
    assert [row["epoch"] for row in rows(config.out)] == ["1", "2", "3"]


# === The command ===


@pytest.fixture
def fresh(tiny, tmp_path) -> TrainConfig:
    return dataclasses.replace(tiny, epochs=1, widths=(4,), out=tmp_path / "run")


def test_command_trains_and_says_where(fresh, official, capsys):
    assert main(flags(fresh, official)) == 0
    said = capsys.readouterr()
    assert said.out == "", "progress is no result of a command"
    network = Network.load(fresh.out)
    accuracy = network.card["accuracy"]
    assert f"trained: {fresh.out / 'model.keras'}, accuracy {accuracy:.2%}" in said.err
    assert network.card["shape"]["widths"] == [4]
    assert network.card["data"] == "CIFAR-10, official python version"


def test_other_settings_in_the_same_folder_are_one_line(run, tiny, official, error_line):
    before = (run / "card.json").read_bytes()
    config = dataclasses.replace(tiny, out=run, activation="relu")
    assert main(flags(config, official)) == 2
    line = error_line()
    assert "activation" in line
    assert "another --out" in line
    assert (run / "card.json").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--data", "{empty}"), "holds no CIFAR-10: looked for data_batch_1"),
        (("--data", "{empty}/nowhere"), "no such folder"),
        (("--batch", 251), "--batch 251 is more than the 300 pictures without the 50 held back"),
        (("--held-back", 300), "more than the 300 pictures"),
        (("--held-back", 400), "more than the 300 pictures"),
        (("--epochs", 0), "--epochs"),
        (("--widths", 0), "--widths"),
        (("--network", "resnet"), "resnet"),
        (("--flip", "up"), "up"),
        (("--views", 3), "--views"),
        (("--preset", "fast"), "no preset 'fast'"),
        (("--network", "report", "--precision", "bfloat16"), "trained in float32"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_mistake_is_one_line_and_claims_no_folder(
    fresh, official, tmp_path, error_line, more, words
):
    (tmp_path / "empty").mkdir()
    more = [str(word).format(empty=tmp_path / "empty") for word in more]
    assert main([*flags(fresh, official), *more]) == 2
    assert words in error_line()
    assert not fresh.out.exists()


def test_output_that_cannot_be_written_is_one_line(fresh, official, error_line):
    fresh.out.write_text("a file")
    assert main(flags(fresh, official)) == 2
    assert "cannot write" in error_line()


def test_damaged_checkpoint_is_one_line(fresh, official, error_line):
    checkpoint = fresh.out / "checkpoint" / "epoch-000001.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK broken")
    assert main(flags(fresh, official)) == 2
    line = error_line()
    assert str(checkpoint) in line
    assert "delete it to train anew" in line
