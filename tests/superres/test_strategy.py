"""Training on several devices: the curves of one, with a mean of weights and in fixed point."""

import dataclasses
import sys
from pathlib import Path

import pytest

from superres.networks import Network
from superres.train import train

pytestmark = pytest.mark.soak

STRATEGIES = {
    "mirrored": ("--strategy", "mirrored", "--devices", "2"),
    "multiworker": ("--strategy", "multiworker"),
}


def command(config, *flags) -> list[str]:
    words = ["--widths", *config.widths, "--kernels", *config.kernels, "--residuals"]
    words += ["--data", *config.data, "--validation", *config.validation, "--out", config.out]
    for name in ("crop", "batch", "steps", "epochs", "ema", "learning_rate"):
        words += [f"--{name.replace('_', '-')}", getattr(config, name)]
    return [sys.executable, "-m", "superres.train", *map(str, words), *flags]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_several_devices_are_one(strategy, tiny, on_workers, tmp_path, assert_same_run):
    """Batches of 3 are shares of 1 and 2."""
    config = dataclasses.replace(tiny, batch=3, ema=0.9, out=tmp_path / "one")
    train(config)
    several = dataclasses.replace(config, out=tmp_path / "several")
    group = on_workers(command(several, *STRATEGIES[strategy]), alone=strategy == "mirrored")
    group.finish()
    assert_same_run(config.out, several.out)
    assert (
        Network.load(several.out)
        .card["machine"]
        .endswith(", 2 devices" if strategy == "mirrored" else ", 2 devices of 2 workers")
    )


def test_fixed_point_on_several_devices_is_that_of_one(
    run, tiny, on_workers, tmp_path, assert_same_run
):
    config = dataclasses.replace(
        tiny, start=run, weight_bits=10, activation_bits=14, out=tmp_path / "one"
    )
    train(config)
    several = dataclasses.replace(config, out=tmp_path / "several")
    flags = ("--start", str(run), "--weight-bits", "10", "--activation-bits", "14")
    on_workers(command(several, *flags, *STRATEGIES["mirrored"]), alone=True).finish()
    # A weight that rounds to the other side is 2^-9 away, and so are the losses that follow.
    assert_same_run(config.out, several.out, 1e-3)


def test_comparison_network_is_stored_for_one_device(tiny, on_workers, tmp_path):
    config = dataclasses.replace(tiny, epochs=1, out=tmp_path / "run")
    words = command(config, "--network", "fsrcnn-s", *STRATEGIES["mirrored"])
    on_workers(words, alone=True).finish()
    assert Path(config.out / "model.keras").exists()
    assert Network.load(config.out).model.count_params() > 0
