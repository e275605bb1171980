"""Run folders: what a training leaves behind, and that it goes on after any stop."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError, TrainingError, WeightsError
from atelier.training.runs import KeepRun, RunFolder, is_finished, load_run, machine

EPOCHS = 4


@dataclasses.dataclass(frozen=True)
class Config:
    """A training's settings."""

    rate: float = 0.01
    sizes: tuple[int, ...] = (8, 1)
    data: Path = Path("a/b")
    more: tuple[Path, ...] = ()
    out: Path = Path("run")
    note: str | None = None


@keras.saving.register_keras_serializable("tests")
class Tracked(keras.Sequential):
    """A network with a metric of its own, which has variables only when it is used."""

    late = None

    def train_step(self, data):
        if self.late is None:
            self.late = keras.metrics.Mean(name="late")
        return super().train_step(data)


def build(units: int = 8) -> keras.Model:
    """A tiny network with all that keeps state: Adam, batch statistics, dropout's seed."""
    keras.utils.set_random_seed(7)
    model = Tracked(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    return model


def fit(model: keras.Model, run: RunFolder, epochs: int = EPOCHS) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3)).astype(np.float32)
    model.fit(
        x,
        x.sum(axis=1),
        batch_size=8,
        shuffle=False,
        initial_epoch=run.restore(model),
        epochs=epochs,
        callbacks=[KeepRun(run)],
        verbose=0,
    )


def state(model: keras.Model) -> list[np.ndarray]:
    """Weights, the state of dropout, and the optimizer with its step counter."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]]


def assert_same_state(model: keras.Model, other: keras.Model) -> None:
    for one, two in zip(state(model), state(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)


def epochs_of(run: RunFolder) -> list[int]:
    return [int(row["epoch"]) for row in run.history()]


def checkpoints(run: RunFolder) -> list[str]:
    return sorted(os.listdir(run.path / "checkpoint"))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[keras.Model, RunFolder]:
    """A training that nothing stopped. Tests leave it as it is."""
    model, run = build(), RunFolder(tmp_path_factory.mktemp("runs") / "unbroken", Config())
    fit(model, run)
    return model, run


@pytest.fixture
def copy(unbroken, tmp_path) -> RunFolder:
    """The folder of the unbroken training, to be damaged."""
    shutil.copytree(unbroken[1].path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy", Config())


# === Settings ===


def test_settings_are_written_as_json(tmp_path):
    RunFolder(tmp_path / "a" / "run", Config())
    stored = json.loads((tmp_path / "a" / "run" / "config.json").read_text())
    assert stored == {"rate": 0.01, "sizes": [8, 1], "data": "a/b", "more": [], "note": None}


def test_the_same_settings_find_their_folder_again(tmp_path):
    for _ in range(2):
        assert RunFolder(tmp_path / "run", Config(note="é")).history() == []


def test_other_settings_are_refused_by_name(tmp_path):
    RunFolder(tmp_path, Config())
    other = Config(rate=0.02, sizes=(9, 1))
    with pytest.raises(SettingsError) as caught:
        RunFolder(tmp_path, other)
    assert str(caught.value) == (
        f"{tmp_path} holds a run with other settings (rate, sizes); choose another --out"
    )
    assert json.loads((tmp_path / "config.json").read_text())["rate"] == 0.01


def test_settings_that_came_or_went_are_other_settings(tmp_path):
    RunFolder(tmp_path, Config())
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stored, "old": 1}))
    with pytest.raises(SettingsError, match=r"\(old\)"):
        RunFolder(tmp_path, Config())


def test_a_run_folder_may_be_moved_and_so_may_its_data(tmp_path, monkeypatch):
    here = Config(data=Path("a/b"), more=(Path("x/c"), Path("d")), out=tmp_path / "run")
    RunFolder(here.out, here)
    (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    there = Config(data=Path("/else/b"), more=(Path("c"), Path("/y/d")), out=Path("moved"))
    assert RunFolder(there.out, there).history() == []
    for other, name in (
        (dataclasses.replace(there, data=Path("a/c")), "data"),
        (dataclasses.replace(there, more=(Path("c"),)), "more"),
        (dataclasses.replace(there, more=(Path("c"), Path("e"))), "more"),
    ):
        with pytest.raises(SettingsError, match=rf"\({name}\)"):
            RunFolder(other.out, other)


def test_data_in_the_current_folder_is_known_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    RunFolder(tmp_path / "run", Config(data=Path(".")))
    assert RunFolder(tmp_path / "run", Config(data=tmp_path / "photos")).history() == []


def test_a_folder_of_an_earlier_version_goes_on(tmp_path):
    run = RunFolder(tmp_path, Config())
    stored = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**stored, "out": "elsewhere"}))
    assert RunFolder(tmp_path, Config()).history() == []


@pytest.mark.parametrize("content", [b"", b'{"rate": 0.', b"[1]", b"null", b"3", b"\xff\xfe"])
def test_a_damaged_config_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(OutputError) as caught:
        RunFolder(tmp_path, Config())
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'config.json'} is no run's settings (")
    assert text.endswith("; choose another --out")
    assert "\n" not in text
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot write"):
            RunFolder(folder, Config())


# === A run from its start to its end ===


def test_a_fresh_folder_starts_at_epoch_0(tmp_path):
    model = build()
    assert RunFolder(tmp_path, Config()).restore(model) == 0
    assert_same_state(model, build())


def test_history_has_a_row_an_epoch(unbroken):
    _, run = unbroken
    assert epochs_of(run) == [1, 2, 3, 4]
    assert set(run.history()[0]) == {"epoch", "loss", "mae", "late", "seconds"}
    losses = [float(row["loss"]) for row in run.history()]
    assert losses[-1] < losses[0]
    assert all(float(row["seconds"]) >= 0 for row in run.history())


def test_only_the_newest_checkpoint_is_kept(unbroken):
    assert checkpoints(unbroken[1]) == ["epoch-000004.npz"]


def test_finish_writes_the_network_and_its_card(copy):
    model = build()
    copy.restore(model)
    copy.finish(model, {"epochs": 4})
    loaded = keras.saving.load_model(copy.path / "model.keras")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert json.loads((copy.path / "card.json").read_text()) == {"epochs": 4}
    assert sorted(os.listdir(copy.path)) == [
        *("card.json", "checkpoint", "config.json", "history.csv", "model.keras"),
    ]


def test_metrics_may_come_later(tmp_path):
    model, run = build(), RunFolder(tmp_path, Config())
    run.save(model, 1, {"loss": 3.0})
    run.save(model, 2, {"loss": 2.0, "accuracy": 0.5})
    assert run.history() == [
        {"epoch": "1", "loss": "3.0", "accuracy": ""},
        {"epoch": "2", "loss": "2.0", "accuracy": "0.5"},
    ]


# === Resuming ===


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_ends_as_an_unbroken_one(unbroken, tmp_path, stop):
    fit(build(), RunFolder(tmp_path, Config()), epochs=stop)
    model, run = build(), RunFolder(tmp_path, Config())
    fit(model, run)
    assert_same_state(model, unbroken[0])
    assert epochs_of(run) == [1, 2, 3, 4]
    for row, expected in zip(run.history(), unbroken[1].history(), strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), abs=1e-6)


def test_a_finished_run_has_nothing_to_do(copy, unbroken):
    before = (copy.path / "history.csv").read_bytes()
    model = build()
    assert copy.restore(model) == EPOCHS
    fit(model, copy)
    assert_same_state(model, unbroken[0])
    assert (copy.path / "history.csv").read_bytes() == before


def test_of_several_checkpoints_the_newest_counts(tmp_path):
    model, run = build(), RunFolder(tmp_path, Config())
    run.save(model, 9, {"loss": 1.0})
    older = tmp_path / "checkpoint" / "epoch-000002.npz"
    older.write_bytes(b"a kill came before this was removed")
    (tmp_path / "checkpoint" / ".tmp-x.npz").touch()
    (tmp_path / "checkpoint" / "notes.txt").touch()
    assert run.restore(build()) == 9
    run.save(model, 10, {"loss": 1.0})
    assert not older.exists()
    assert "epoch-000010.npz" in checkpoints(run)


def test_ctrl_c_while_saving_keeps_the_last_checkpoint(unbroken, tmp_path, monkeypatch):
    run = RunFolder(tmp_path, Config())
    fit(build(), run, epochs=2)

    def interrupted(path, **arrays):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(build(), run)
    assert checkpoints(run) == ["epoch-000002.npz"]  # And nothing half-written.
    assert epochs_of(run) == [1, 2, 3]  # One row more than the checkpoint.
    model = build()
    fit(model, run)
    assert_same_state(model, unbroken[0])
    assert epochs_of(run) == [1, 2, 3, 4]


def test_a_run_goes_on_after_kill_9(unbroken, tmp_path):
    """The process is killed within the third epoch's save, its checkpoint written by half."""
    program = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_runs as runs\n"
        "model, run = runs.build(), runs.RunFolder(sys.argv[2], runs.Config())\n"
        "savez = runs.np.savez\n"
        "def killed(path, **arrays):\n"
        "    savez(path, **arrays)\n"
        "    if len(run.history()) == 3:\n"
        "        os.truncate(path, os.stat(path).st_size // 2)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "runs.np.savez = killed\n"
        "runs.fit(model, run)\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program, here, str(tmp_path)], cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL
    run = RunFolder(tmp_path, Config())
    assert epochs_of(run) == [1, 2, 3]
    model = build()
    assert run.restore(model) == 2
    fit(model, run)
    assert_same_state(model, unbroken[0])
    assert epochs_of(run) == [1, 2, 3, 4]
    assert "epoch-000004.npz" in checkpoints(run)


# === Damage ===


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_one_line_that_says_what_to_do(copy, kept):
    (file,) = (copy.path / "checkpoint").iterdir()
    os.truncate(file, int(file.stat().st_size * kept))
    with pytest.raises(WeightsError) as caught:
        copy.restore(build())
    text = str(caught.value)
    assert text.startswith(f"{file} is damaged (")
    assert text.endswith("); delete it to train anew")
    assert "\n" not in text
    file.unlink()
    assert copy.restore(build()) == 0


def test_a_checkpoint_of_another_network_is_one_line(copy):
    with pytest.raises(WeightsError, match="holds the weights of another network; delete it"):
        copy.restore(build(units=5))


@pytest.mark.parametrize("content", [b"", b"loss\n0.5\n", b"epoch,loss\nx,1\n", b"\xff\xfe\0"])
def test_a_damaged_history_is_told_before_an_epoch_is_spent(copy, content):
    (copy.path / "history.csv").write_bytes(content)
    if content == b"":
        assert copy.restore(build()) == EPOCHS  # Nothing is known, and nothing is wrong.
        return
    with pytest.raises(OutputError, match=r"history\.csv is damaged; mend or delete it"):
        copy.restore(build())
    (copy.path / "history.csv").unlink()
    assert copy.restore(build()) == EPOCHS


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(tmp_path)], check=True)
        run = RunFolder(tmp_path, Config())
        run.save(build(), 1, {"loss": 1.0})
        large = build(units=20_000)
        with pytest.raises(OutputError, match=r"epoch-000002\.npz: No space left on device$"):
            run.save(large, 2, {"loss": 1.0})
        assert checkpoints(run) == ["epoch-000001.npz"]
        with pytest.raises(OutputError, match=r"model\.keras: No space left on device$"):
            run.finish(large, {})
        assert run.restore(build()) == 1
        assert not (tmp_path / "model.keras").exists()


def test_damage_within_a_checkpoint_is_noticed(copy):
    (file,) = (copy.path / "checkpoint").iterdir()
    whole = file.read_bytes()
    middle = whole.index(b"NUMPY") + 140  # Within an array's numbers.
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    model = build()
    with pytest.raises(WeightsError, match=r"is damaged .*CRC"):
        copy.restore(model)
    assert_same_state(model, build())


def test_bfloat16_states_come_back_exactly(tmp_path):
    def model():
        network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
        network.compile("adam", "mse")
        return network

    saved, restored, run = model(), model(), RunFolder(tmp_path, Config())
    run.save(saved, 1, {"loss": 1.0})
    assert run.restore(restored) == 1
    assert restored.layers[0].kernel.dtype == "bfloat16"
    for one, two in zip(saved.weights, restored.weights, strict=True):
        assert bool(keras.ops.all(one == two))


# === Divergence ===


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_whose_loss_is_no_number_stops_before_it_saves(tmp_path, epoch):
    run = RunFolder(tmp_path, Config())
    if epoch > 1:
        fit(build(), run, epochs=epoch - 1)
    model, before = build(), checkpoints(run) if epoch > 1 else []
    done = run.restore(model)
    x = np.full((8, 3), np.inf, np.float32)
    with pytest.raises(TrainingError) as caught:
        model.fit(x, x[:, 0], initial_epoch=done, epochs=9, callbacks=[KeepRun(run)], verbose=0)
    kept = "the checkpoint of epoch 2 is kept" if epoch > 1 else "there is no checkpoint yet"
    assert str(caught.value) == (
        f"{tmp_path}: the training has diverged: the loss of epoch {epoch} is nan; {kept}; "
        "lower --learning-rate and choose another --out"
    )
    assert epochs_of(run) == list(range(1, epoch))
    assert (checkpoints(run) if epoch > 1 else []) == before
    assert run.restore(build()) == epoch - 1


def test_a_weight_that_is_no_number_is_not_saved(tmp_path):
    model, run = build(), RunFolder(tmp_path, Config())
    run.save(model, 1, {"loss": 1.0, "other": float("nan")})
    model.layers[0].kernel.assign(np.full((3, 8), np.nan, np.float32))
    with pytest.raises(TrainingError, match=r"after epoch 2 a weight is not a finite number; the"):
        run.save(model, 2, {"loss": 1.0})
    assert checkpoints(run) == ["epoch-000001.npz"]


# === Finished runs ===


def test_whether_a_run_is_finished_is_seen_without_touching_it(tmp_path):
    run = RunFolder(tmp_path / "run", Config())
    assert not is_finished(run.path, Config(rate=1.0))
    assert not is_finished(tmp_path / "none", Config())
    assert not (tmp_path / "none").exists()
    run.finish(build(), {})
    assert is_finished(run.path, Config())
    with pytest.raises(SettingsError, match=r"\(rate\)"):
        is_finished(run.path, Config(rate=1.0))


# === machine ===


def test_the_machine_is_told_in_a_line():
    said = machine()
    assert "\n" not in said
    assert f"{os.cpu_count()} cores" in said
    assert said.endswith(f"Keras {keras.__version__}")


def test_the_machine_is_told_without_proc(monkeypatch):
    def missing(self, **options):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert f"{os.cpu_count()} cores" in machine()


# === What a finished run leaves ===


def test_finished_run_is_loaded_with_its_card(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    RunFolder(tmp_path, Config()).finish(model, {"network": "small"})
    found, card = load_run(tmp_path)
    assert card == {"network": "small"}
    for one, other in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_card_that_the_check_refuses_is_damaged(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    RunFolder(tmp_path, Config()).finish(model, {"network": "small"})
    with pytest.raises(WeightsError, match="is damaged"):
        load_run(tmp_path, lambda card: card["shape"])
    (tmp_path / "model.keras").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="is damaged"):
        load_run(tmp_path)


@pytest.mark.parametrize("part", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"null"])
def test_network_with_a_damaged_part_is_one_line(tmp_path, part, content):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    RunFolder(tmp_path, Config()).finish(model, {})
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, data in (parts | {part: content}).items():
            archive.writestr(name, data)
    with pytest.raises(WeightsError, match="is damaged"):
        load_run(tmp_path)


def test_network_with_code_of_its_own_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)])
    RunFolder(tmp_path, Config()).finish(model, {})
    with pytest.raises(WeightsError, match=r"is damaged .*Lambda"):
        load_run(tmp_path)


def test_unfinished_run_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no finished run"):
        load_run(tmp_path)
