"""Training on several devices: the curves of one, with batch statistics, Muon and augmentation."""

import dataclasses
import sys
from pathlib import Path

import pytest

from atelier import cli
from atelier.errors import SettingsError
from atelier.training.runs import load_run
from atelier.training.strategy import Devices
from classify.train import TrainConfig, train

TOLERANCE = 1e-4
"""Of losses, over 20 steps of Muon at a low rate; at a high one rounding soon grows beyond it."""


@pytest.fixture(scope="module")
def slow(tiny) -> TrainConfig:
    """Two epochs of ten steps; `out` is to be replaced."""
    return dataclasses.replace(tiny, epochs=2, learning_rate=0.02)


@pytest.fixture(scope="module")
def run(slow, drawn, tmp_path_factory) -> Path:
    """The folder of a run on one device. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    train(dataclasses.replace(slow, out=folder), data=drawn)
    return folder


@pytest.fixture
def command(slow, official):
    """Gives the command of the run `run`, in another folder, with further flags."""

    def words(folder: Path, *flags) -> list[str]:
        settings = cli.as_flags(dataclasses.replace(slow, out=TrainConfig().out)).split()
        program = [sys.executable, "-m", "classify.train", *settings]
        return [*program, "--data", str(official), "--out", str(folder), *flags]

    return words


@pytest.mark.soak
def test_mirrored_is_one_device(run, command, on_workers, tmp_path, assert_same_run):
    """Batches of 25 are shares of 12 and 13."""
    folder = tmp_path / "run"
    flags = ("--strategy", "mirrored", "--devices", "2")
    (said,) = on_workers(command(folder, *flags), alone=True).finish()
    assert "trained: " in said
    assert_same_run(run, folder, TOLERANCE)
    (model, card), (_, expected) = load_run(folder), load_run(run)
    assert card["machine"].endswith(", 2 devices")
    assert "--strategy" not in card["command"], "the strategy is no setting of a run"
    assert abs(card["accuracy"] - expected["accuracy"]) <= 0.011
    norms = [layer for layer in model.layers if hasattr(layer, "synchronized")]
    assert norms
    assert not any(layer.synchronized for layer in norms), "what is stored is for one device"


@pytest.mark.soak
def test_workers_are_one_device_also_when_begun_again(
    run, command, on_workers, tmp_path, assert_same_run
):
    """With bad luck twice: killed after an epoch, and then finished by all workers anew."""
    flags = ("--strategy", "multiworker")
    places = [tmp_path / name for name in ("chief", "other")]
    group = on_workers(lambda place: command(places[place], *flags))
    group.wait_for(lambda: (places[0] / "checkpoint").exists())
    group.kill()
    assert not (places[0] / "card.json").exists()
    said = on_workers(lambda place: command(places[place], *flags)).finish()
    assert_same_run(run, places[0], TOLERANCE)
    assert not places[1].exists()
    assert "trained: " in said[0]
    assert "trained: " not in said[1]
    # A finished run stays as it is, and all workers end well.
    before = (places[0] / "card.json").read_bytes()
    on_workers(lambda place: command(places[place], *flags)).finish()
    assert (places[0] / "card.json").read_bytes() == before


@pytest.mark.parametrize(
    ("batch", "words"), [(249, "leaves 1 of 250"), (2, "one example for each")]
)
def test_devices_without_a_picture_are_refused_before_the_run_folder(
    batch, words, slow, drawn, tmp_path
):
    several = type("Several", (Devices,), {"count": 3, "__str__": lambda self: "3 devices"})()
    config = dataclasses.replace(slow, batch=batch, out=tmp_path / "run")
    with pytest.raises(SettingsError, match=words):
        train(config, data=drawn, devices=several)
    assert not config.out.exists()


@pytest.mark.soak
def test_batch_of_fewer_pictures_than_devices_is_refused(command, on_workers, tmp_path):
    flags = ("--strategy", "mirrored", "--devices", "2", "--batch", "1")
    group = on_workers(command(tmp_path / "run", *flags), alone=True)
    said = group.processes[0].communicate(timeout=300)[0]
    assert group.processes[0].returncode == 2
    assert "error: --batch 1 has less than one example for each of 2 devices" in said
    assert not (tmp_path / "run").exists()
