"""Judging a student by use."""

import json

import keras
import numpy as np
import pytest

import nst
from atelier.nets import weights as stored
from atelier.nets.vgg import VGG
from nst import judge

PROJECTIONS = dict.fromkeys(judge.SCALES, 5)


@pytest.fixture
def student():
    keras.utils.set_random_seed(2)
    return VGG((4, 4, 6, 6, 6), (1, 1, 1, 1, 2), padding="edge", projections=PROJECTIONS)


def test_scaling_changes_the_projections_alone(student, rng):
    image = rng.uniform(-100, 100, (1, 32, 32, 3)).astype(np.float32)
    before = {name: np.array(value) for name, value in student(image).items()}
    weights = {layer.name: layer.get_weights() for layer in student.layers}
    judge.scale_projections(student, judge.SCALES)
    for name, value in student(image).items():
        np.testing.assert_allclose(value, judge.SCALES[name] * before[name], rtol=1e-4, atol=1e-3)
    for layer in student.layers:
        if layer.name not in PROJECTIONS:
            for a, b in zip(layer.get_weights(), weights[layer.name], strict=True):
                np.testing.assert_array_equal(a, b)


def test_all_the_reports_layers_are_scaled():
    wanted = (*nst.REPORT.style_layers, *nst.REPORT.content_layers)
    assert set(judge.SCALES) == set(wanted)


def test_comparison_gives_the_ratio_of_the_teachers_losses(student, network, files):
    config = nst.StyleTransferConfig(size=48, coarsest=0, iterations=3, precision="float32")
    pair = str(files / "photo.png"), str(files / "painting.png")
    (row,) = judge.compare(student, network, [pair], config)
    assert (row["content"], row["style"]) == ("photo.png", "painting.png")
    assert row["ratio"] == pytest.approx(row["student_loss"] / row["teacher_loss"], abs=1e-2)
    assert row["student_loss"] != row["teacher_loss"]
    (same,) = judge.compare(network, network, [pair], config)
    assert same["ratio"] == 1
    assert same["teacher_loss"] == pytest.approx(row["teacher_loss"], rel=1e-5)


def test_command_prints_a_row_a_pair_and_embeds(student, files, teacher_file, monkeypatch, capsys):
    run = files / "run"
    run.mkdir()
    student.save(run / "model.keras")
    (run / "card.json").write_text('{"network": "vgg19-lite"}')
    kept = []
    monkeypatch.setattr(
        stored, "save_embedded", lambda model, name, card: kept.append((name, card)) or files
    )
    short = nst.StyleTransferConfig(iterations=1, coarsest=0)
    monkeypatch.setattr(
        judge,
        "StyleTransferConfig",
        lambda size, precision: nst.StyleTransferConfig(
            size=size, precision=precision, iterations=short.iterations, coarsest=0
        ),
    )
    pairs = ["--contents", str(files / "photo.png"), "--styles", str(files / "painting.png")]
    arguments = [str(run), "--teacher", str(teacher_file), *pairs, "--size", "48", "--embed"]
    assert judge.main(arguments) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["ratio"] > 0
    ((name, card),) = kept
    assert name == "vgg19_lite"
    assert card["network"] == "vgg19-lite"
    assert card["use"]["pairs"] == [row]


def test_run_that_is_not_finished_is_one_line(files, teacher_file, error_line):
    pairs = ["--contents", "a.png", "--styles", "b.png"]
    assert judge.main([str(files), "--teacher", str(teacher_file), *pairs]) == 2
    assert "no finished run" in error_line()


def test_photos_and_paintings_must_be_equally_many(files, error_line):
    pairs = ["--contents", "a.png", "--styles", "b.png", "c.png"]
    assert judge.main([str(files), "--teacher", "vgg19", *pairs]) == 2
    assert "equally many" in error_line()
