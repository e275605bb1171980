"""Training on several devices: the same samples, the same losses, the same steps as on one."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import detection.train as module
from detection import losses
from detection.sampler import sample

STRATEGIES = {
    "mirrored": ("--strategy", "mirrored", "--devices", "2"),
    "multiworker": ("--strategy", "multiworker"),
}


def test_pictures_get_the_samples_of_their_place_in_the_whole_batch(rng):
    labels = rng.integers(-1, 3, (5, 300))
    whole = sample(labels, (3, 4), 64)
    parts = [sample(labels[a:b], (3, 4), 64, place=tf.constant(a)) for a, b in ((0, 3), (3, 5))]
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(one, tf.concat(several, axis=0))


def test_parts_of_a_batch_have_losses_that_add_up_to_the_whole(rng):
    logits = rng.normal(size=(4, 6, 3)).astype(np.float32)
    deltas, targets = (rng.normal(size=(4, 6, *n, 4)).astype(np.float32) for n in ((3,), ()))
    labels, valid = rng.integers(0, 3, (4, 6)), rng.random((4, 6)) < 0.7
    whole = losses.head_losses(logits, deltas, labels, targets, valid)
    count = losses.sample_count(valid)
    parts = [
        losses.head_losses(*(a[rows] for a in (logits, deltas, labels, targets, valid)),
                           normalizer=count)
        for rows in (slice(0, 3), slice(3, 4))
    ]  # fmt: skip
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-5)


@pytest.fixture
def command(shapes):
    """Gives the flags of a small training; its batches of 3 are shares of 1 and 2."""

    def words(out, *flags) -> list[str]:
        numbers = {"epochs": 4, "batch": 3, "side": 128, "min-size": 96, "validate-every": 4}
        settings = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        return ["--data", str(shapes), "--out", str(out), *settings, *flags]

    return words


@pytest.mark.soak
@pytest.mark.parametrize(
    ("strategy", "scheme"),
    [("mirrored", "approximate"), ("mirrored", "alternating"), ("multiworker", "approximate")],
)
def test_several_devices_are_one(strategy, scheme, command, on_workers, tmp_path, assert_same_run):
    one, several = tmp_path / "one", tmp_path / "several"
    flags = ("--scheme", scheme)
    assert module.main(command(one, *flags)) == 0
    words = [
        sys.executable,
        "-m",
        "detection.train",
        *command(several, *flags, *STRATEGIES[strategy]),
    ]
    said = on_workers(words, alone=strategy == "mirrored").finish()
    assert "trained: " in said[0]
    assert_same_run(one, several, 1e-4)
    assert len(list((several / "samples").iterdir())) == 1
