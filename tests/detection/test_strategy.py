"""Training on several devices: the same samples, the same losses, the same steps as on one."""

import sys

import numpy as np
import pytest
import tensorflow as tf

import detection.train as module
from detection.network import losses
from detection.network.sampler import sample

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
def assert_several_are_one(on_workers, tmp_path, assert_same_run):
    """Trains on one device and on several, in batches of 3, which are shares of 1 and 2; fails
    unless losses and weights are the same, but for tolerances as of `assert_same_run`."""

    def check(data, strategy, *flags, **tolerances) -> None:
        one, several = tmp_path / "one", tmp_path / "several"

        def words(out, *more) -> list[str]:
            numbers = ("--batch", "3", "--side", "128", "--min-size", "96")
            return ["--data", str(data), "--out", str(out), *numbers, *flags, *more]

        assert module.main(words(one)) == 0
        command = [sys.executable, "-m", "detection.train"]
        command += words(several, *STRATEGIES[strategy])
        said = on_workers(command, alone=strategy == "mirrored").finish()
        assert "trained: " in said[0]
        assert_same_run(one, several, **tolerances)
        assert len(list((several / "samples").iterdir())) == 1

    return check


@pytest.mark.soak
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_on_several_devices_is_that_on_one(strategy, few_shapes, assert_several_are_one):
    assert_several_are_one(few_shapes, strategy, "--epochs", "1", tolerance=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("strategy", "scheme"),
    [("mirrored", "approximate"), ("mirrored", "alternating"), ("multiworker", "approximate")],
)
def test_several_devices_go_the_way_of_one(strategy, scheme, shapes, assert_several_are_one):
    flags = ("--scheme", scheme, "--epochs", "4", "--validate-every", "4")
    assert_several_are_one(shapes, strategy, *flags, tolerance=5e-2)
