"""SIGTERM, as a scheduler or a machine that shuts down sends it: a soon end, and nothing half."""

import signal

import pytest

TASKS = ("classify", "superres", "cartoon", "detection", "nst")
VIDEO_TASKS = ("superres", "cartoon", "detection")


def some(tasks, default=()):
    """The tasks as parameters, all but those of `default` left to `make soak`."""
    return [t if t in default else pytest.param(t, marks=pytest.mark.soak) for t in tasks]


def terminate(running, ready, look, out) -> None:
    """Sends SIGTERM once `ready()`, and checks how the command then ends."""
    running.wait_until(ready)
    running.process.send_signal(signal.SIGTERM)
    done = running.end()
    assert done.code == 143
    assert done.error == "error: stopped; what was finished is kept"
    assert not look.temporaries(out)
    assert not list(out.rglob(".lock"))


@pytest.mark.parametrize("task", some(TASKS))
def test_terminated_training_keeps_its_checkpoint(task, training, launch, look, tmp_path):
    out = tmp_path / "out"
    running = launch(training(task, out))
    terminate(running, lambda: list(out.glob("checkpoint/epoch-*.npz")), look, out)
    assert look.rows(out / "history.csv")
    assert len(list(out.glob("checkpoint/epoch-*.npz"))) >= 1
    assert not (out / "card.json").exists()


@pytest.mark.parametrize("task", some(TASKS))
def test_terminated_sweep_keeps_its_trials(task, sweep, launch, look, tmp_path):
    out = tmp_path / "out"
    terminate(launch(sweep(task, out)), (out / "trials.csv").exists, look, out)
    assert look.rows(out / "trials.csv")
    assert (out / "trial-000.png").exists()


@pytest.mark.parametrize("task", some(TASKS))
def test_terminated_batch_keeps_its_pictures(task, batch, things, launch, look, tmp_path):
    out, ending = tmp_path / "out", ".gradcam.png" if task == "classify" else ".png"
    many = tmp_path / "many"
    for number in range(200):
        source = things("pictures") / f"{number % 6}.png"
        (many / f"{number:03d}.png").parent.mkdir(exist_ok=True)
        (many / f"{number:03d}.png").symlink_to(source)
    running = launch([*batch(task, out, many), *(["--csv"] if task == "classify" else [])])
    terminate(running, lambda: list(out.glob(f"[!.]*{ending}")), look, out)
    assert 1 <= len(list(out.glob(f"*{ending}"))) < 200
    if task == "classify":
        assert look.rows(out / "classes.csv")


@pytest.mark.parametrize("task", some(VIDEO_TASKS, default=["cartoon"]))
def test_terminated_video_leaves_nothing_half_written(task, video, launch, look, tmp_path):
    out = tmp_path / "out"
    terminate(launch(video(task, out)), lambda: look.temporaries(out), look, out)
    assert look.tree(out) == {}
