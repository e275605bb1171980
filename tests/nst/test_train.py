"""Distillation: a run from photos to a network, and going on after a stop."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import SettingsError
from atelier.media.images import save_image
from atelier.nets.vgg import VGG, preprocess
from nst import train
from nst.distillation.teacher import TAPS, SmallTeacher
from nst.train import SEMANTIC, DistillConfig, Distiller, distill, inherit, main, similarity_loss

TINY = {
    "widths": (4, 4, 6, 6, 6),
    "depths": (2, 1, 1, 1, 2),
    "padding": "edge",
    "projections": dict.fromkeys((*TAPS, SEMANTIC), 5),
}


@pytest.fixture
def config(tmp_path, monkeypatch, teacher_file, photo, painting):
    """Two epochs of three steps of a tiny student."""
    monkeypatch.setattr(train, "VGG19_LITE", TINY)
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos" / "a.png", photo)
    save_image(tmp_path / "photos" / "b.png", painting)
    return DistillConfig(
        data=(tmp_path / "photos",),
        teacher=str(teacher_file),
        out=tmp_path / "run",
        epochs=2,
        steps=3,
        batch=3,
        crop=48,
        learning_rate=1e-3,
        improvised=3,
    )


def rows(folder):
    with open(folder / "history.csv", newline="") as lines:
        return list(csv.DictReader(lines))


class Stopped(Exception):
    pass


def stop_after_an_epoch(monkeypatch):
    class StoppedRun(train.KeepRun):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise Stopped

    monkeypatch.setattr(train, "KeepRun", StoppedRun)


# === Similarity ===


def test_similarity_loss_by_hand():
    taught, learnt = np.float32([[1, 0], [0, 2]]), np.float32([[1], [1]])
    # Inner products [[1, 0], [0, 4]] and [[1, 1], [1, 1]]: errors 0, 1, 1, 3 against 1 + 16.
    assert float(similarity_loss(taught, learnt)) == pytest.approx(11 / 17)


def test_similarity_loss_of_a_teacher_that_sees_nothing_is_0(rng):
    learnt = keras.Variable(rng.normal(size=(4, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = similarity_loss(np.zeros((4, 5), np.float32), learnt.value)
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, learnt.value), np.zeros((4, 3)))


def test_similarity_loss_does_not_see_rotations(rng):
    taught = rng.normal(size=(30, 8)).astype(np.float32)
    turned = taught @ np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    assert float(similarity_loss(taught, turned)) < 1e-10
    assert float(similarity_loss(taught, 2 * taught)) == pytest.approx(9, rel=1e-5)


def test_student_as_wide_as_its_teacher_inherits_it(teacher_file, photo):
    """Untrained, its features have the teacher's inner products: pruning takes nothing away, and
    where the teacher's predictors stay above zero, a linear projection says the same."""
    with np.load(teacher_file) as arrays:
        arrays = dict(arrays)
    for block in range(1, 6):
        arrays[f"conv{block}1_aux.bias"] += 20
    linear = teacher_file.with_name("linear.npz")
    np.savez(linear, **arrays)
    teacher = SmallTeacher(linear)
    keras.utils.set_random_seed(0)
    student = VGG(
        widths=teacher.trunk.widths,
        depths=(2, 2, 4, 4, 2),
        padding="reflect",
        projections=dict.fromkeys((*TAPS, SEMANTIC), 7),
    )
    model = Distiller(student, teacher)
    images = np.stack([preprocess(photo), preprocess(photo[::-1, ::-1])])
    errors = {tracker.name: tracker for tracker in model.trackers}
    model.compute_loss(images, y_pred=model(images))
    before = {name: float(errors[name].result()) for name in TAPS}
    for tracker in model.trackers:
        tracker.reset_state()
    inherit(student, teacher.trunk, model.teacher, images)
    model.compute_loss(images, y_pred=model(images))
    for name in TAPS:
        assert float(errors[name].result()) < 0.1, name
        assert before[name] > 0.9, name


def test_narrow_student_inherits_the_most_active_channels(teacher_file, photo):
    teacher = SmallTeacher(teacher_file)
    student = VGG(**TINY)
    model = Distiller(student, teacher)
    images = preprocess(photo)[None]
    inherit(student, teacher.trunk, model.teacher, images)
    activity = np.mean(teacher.trunk(images)["block1_conv1"], axis=(0, 1, 2))
    kept = np.sort(np.argsort(-activity, kind="stable")[:4])
    kernel = teacher.trunk.get_layer("block1_conv1").get_weights()[0]
    found = student.get_layer("block1_conv1_relu").get_weights()[0]
    np.testing.assert_array_equal(found, kernel[..., kept])


# === A run ===


def test_run_folder_is_complete(config):
    student = distill(config)
    assert {file.name for file in config.out.iterdir()} == {
        *("config.json", "history.csv", "checkpoint", "model.keras", "card.json")
    }
    assert json.loads((config.out / "config.json").read_text())["steps"] == 3
    history = rows(config.out)
    assert [row["epoch"] for row in history] == ["1", "2"]
    for row in history:
        assert all(np.isfinite(float(row[name])) for name in ("loss", "seconds", *TAPS, SEMANTIC))
    card = json.loads((config.out / "card.json").read_text())
    assert card["network"] == "vgg19-lite"
    assert card["data"] == ["photos: 2 photos"]
    assert card["epochs"] == 2
    assert set(card["similarity_error"]) == {*TAPS, SEMANTIC}
    assert "--epochs 2" in card["command"]
    assert str(config.out.parent) not in json.dumps(card), "whose disk it was is nobody's business"
    (checkpoint,) = (config.out / "checkpoint").iterdir()
    with np.load(checkpoint) as arrays:
        # Without the teacher.
        assert len([key for key in arrays.files if key.startswith("model/")]) == len(
            student.variables
        )
    loaded = keras.saving.load_model(config.out / "model.keras")
    for a, b in zip(student.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stopped_run_goes_on_to_the_same_weights(config, monkeypatch):
    whole = distill(config).get_weights()
    config = dataclasses.replace(config, out=config.out.with_name("broken"))
    with monkeypatch.context() as patch:
        stop_after_an_epoch(patch)
        with pytest.raises(Stopped):
            distill(config)
    assert len(rows(config.out)) == 1
    assert not (config.out / "model.keras").exists()
    resumed = distill(config).get_weights()
    assert len(rows(config.out)) == 2
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss(config):
    config = dataclasses.replace(config, epochs=3, steps=20, improvised=0, learning_rate=3e-3)
    distill(config)
    losses = [float(row["loss"]) for row in rows(config.out)]
    assert losses[-1] < losses[0]


def test_fewer_improvised_pictures_than_a_batch_are_enough(config):
    distill(dataclasses.replace(config, epochs=1, steps=1, improvised=1))
    assert (config.out / "model.keras").exists()


def test_improvised_pictures_are_pictures(photo):
    student = VGG(**TINY).features([*TAPS, SEMANTIC])
    batch = np.stack([preprocess(photo[:48, :48]), preprocess(photo[48:, 48:])])
    first, again, other = (train.improvise(student, [batch], [0, seed]) for seed in (1, 1, 2))
    assert first.shape == batch.shape
    np.testing.assert_allclose(first, again, atol=1e-2)
    assert np.abs(first - other).max() > 1
    assert np.abs(first - batch).mean() > 1
    assert (first >= preprocess(np.zeros(3))).all()
    assert (first <= preprocess(np.full(3, 255))).all()


# === The command ===


def test_command_trains_and_says_where(config, capsys):
    arguments = ["--data", str(config.data[0]), "--teacher", config.teacher]
    numbers = ["--epochs", "1", "--steps", "1", "--batch", "2", "--crop", "48", "--improvised", "0"]
    assert main([*arguments, *numbers, "--out", str(config.out)]) == 0
    assert str(config.out / "model.keras") in capsys.readouterr().err
    assert (config.out / "model.keras").exists()


def test_finished_training_needs_no_photos_and_no_teacher(config):
    config = dataclasses.replace(config, epochs=1, steps=1, improvised=0)
    student = distill(config)
    files = {file: file.stat().st_mtime_ns for file in config.out.rglob("*")}
    shutil.rmtree(config.data[0])
    again = distill(dataclasses.replace(config, teacher="/elsewhere/" + Path(config.teacher).name))
    for one, other in zip(student.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert files == {file: file.stat().st_mtime_ns for file in config.out.rglob("*")}


def test_folder_of_another_run_is_refused(config, error_line):
    config.out.mkdir()
    (config.out / "config.json").write_text('{"epochs": 99}')
    arguments = ["--data", str(config.data[0]), "--teacher", config.teacher]
    assert main([*arguments, "--out", str(config.out)]) == 2
    assert "another --out" in error_line()


def test_bad_teacher_is_one_line(config, tmp_path, error_line):
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 and no more")
    assert main(["--data", str(config.data[0]), "--teacher", str(bad)]) == 2
    assert "bad.npz" in error_line()


def test_teacher_narrower_than_what_is_learnt_is_one_line(config, monkeypatch, error_line):
    wide = TINY | {"projections": TINY["projections"] | {TAPS[2]: 10_000}}
    monkeypatch.setattr(train, "VGG19_LITE", wide)
    arguments = ["--data", str(config.data[0]), "--teacher", config.teacher]
    assert main([*arguments, "--out", str(config.out)]) == 2
    line = error_line()
    assert (
        "too narrow a teacher: 7 channels at block3_conv1, where the student learns 10,000" in line
    )
    assert not config.out.exists()


def test_no_photos_is_one_line(config, tmp_path, error_line):
    (tmp_path / "empty").mkdir()
    assert main(["--data", str(tmp_path / "empty"), "--teacher", config.teacher]) == 2
    assert "no pictures in" in error_line()


def test_data_is_asked_for(error_line):
    assert main([]) == 2
    assert "--data" in error_line()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epochs", 0), ("steps", 0), ("batch", 0), ("crop", 50), ("crop", 16)],
        *[("learning_rate", 0.0), ("learning_rate", float("nan")), ("improvised", -1)],
    ],
)
def test_senseless_setting_is_refused(tmp_path, name, value):
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        DistillConfig(data=(tmp_path,), **{name: value})
