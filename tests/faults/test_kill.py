"""kill -9, then the same command again: all ends as in an unbroken run, and no rests stay."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from atelier.files import atomic_path

TASKS = ("classify", "superres", "cartoon", "detection", "nst")
VIDEO_TASKS = ("superres", "cartoon", "detection")


def some(tasks, default=()):
    """The tasks as parameters, all but those of `default` left to `make soak`."""
    return [t if t in default else pytest.param(t, marks=pytest.mark.soak) for t in tasks]


# === Training ===


@pytest.mark.parametrize("task", some(TASKS))
def test_killed_training_goes_on_to_the_same_result(task, training, launch, here, look, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert here(training(task, whole)).code == 0
    running = launch(training(task, broken))
    running.wait_until(lambda: list(broken.glob("checkpoint/epoch-*.npz")))
    running.kill()
    kept = look.rows(broken / "history.csv")
    assert len(look.rows(whole / "history.csv")) > len(kept) >= 1
    assert not (broken / "card.json").exists()
    assert here(training(task, broken)).code == 0
    tables = [look.rows(folder / "history.csv") for folder in (whole, broken)]
    # To the bit where that has been tried; the others within what was seen of their rounding.
    exact = task in ("detection", "superres")
    for row, other in zip(*tables, strict=True):
        for name, value in row.items():
            if exact and name != "seconds":
                assert other[name] == value, name
                continue
            expected = pytest.approx(float(value or 0), rel=0.02, abs=5e-3, nan_ok=True)
            assert float(other[name] or 0) == expected
    models = [keras.saving.load_model(f / "model.keras", compile=False) for f in (whole, broken)]
    for one, two in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=0 if exact else 2e-3)
    names = [{name for name in look.tree(folder)} for folder in (whole, broken)]
    assert names[0] == names[1]


# === Sweeps ===


@pytest.mark.parametrize("task", some(TASKS))
def test_killed_sweep_goes_on_to_the_same_table(task, sweep, launch, here, look, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert here(sweep(task, whole)).code == 0
    running = launch(sweep(task, broken))
    running.wait_until((broken / "trials.csv").exists)
    running.kill()
    done = tuple(f"trial-00{row['trial']}" for row in look.rows(broken / "trials.csv"))
    kept = {name: data for name, data in look.tree(broken).items() if name.startswith(done)}
    assert here(sweep(task, broken)).code == 0
    assert kept
    assert kept.items() <= look.tree(broken).items()
    expected, found = (look.rows(folder / "trials.csv") for folder in (whole, broken))
    for row, other in zip(expected, found, strict=True):
        assert row.keys() == other.keys()
        assert row["trial"] == other["trial"]
    assert len(found) == 4
    assert set(look.tree(whole)) == set(look.tree(broken))


# === Folders of pictures ===


@pytest.mark.parametrize("task", some(TASKS, default=["cartoon"]))
def test_killed_batch_keeps_what_is_done_and_does_the_rest(
    task, batch, launch, here, look, tmp_path
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    ending = ".gradcam.png" if task == "classify" else ".png"
    assert here(batch(task, whole)).code == 0
    running = launch(batch(task, broken))
    running.wait_until(lambda: len([*broken.glob(f"[!.]*{ending}")]) >= 2)
    running.kill()
    _leave_temporary(broken)
    kept = {name: data for name, data in look.tree(broken).items() if not name.startswith(".")}
    assert 2 <= len(kept) < len(look.tree(whole))
    done = here(batch(task, broken))
    assert done.code == 0
    # The last one may have been written and not yet recorded.
    known = re.search(r"^(\d) of 6 inputs are done already$", done.err, re.MULTILINE)
    assert int(known[1]) in (len(kept), len(kept) - 1)
    assert kept.items() <= look.tree(broken).items()
    assert set(look.tree(broken)) == set(look.tree(whole))


def _leave_temporary(folder: Path) -> None:
    """What a process that was killed as it wrote leaves: the kill above may come between files."""
    with atomic_path(folder.with_name("elsewhere") / "x.png") as path:
        (folder / path.name).touch()


# === Videos ===


@pytest.mark.parametrize("task", some(VIDEO_TASKS))
def test_killed_video_is_made_anew_and_its_rest_removed(task, video, launch, here, look, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert here(video(task, whole)).code == 0
    running = launch(video(task, broken))
    running.wait_until(lambda: look.temporaries(broken))
    running.kill()
    assert look.temporaries(broken)
    assert not (broken / "clip.mp4").exists()
    assert here(video(task, broken)).code == 0
    assert look.tree(broken) == look.tree(whole)
