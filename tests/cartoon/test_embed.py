"""A finished training as embedded weights."""

import json

import numpy as np
import pytest

from atelier.nets.weights import load_embedded
from atelier.training.runs import RunFolder
from cartoon.embed import main
from cartoon.people.model import build_person_segmenter
from cartoon.train import TrainConfig


@pytest.fixture
def run(tmp_path, rng):
    model = build_person_segmenter()
    model.set_weights([np.float16(rng.normal(size=w.shape)) for w in model.get_weights()])
    folder = RunFolder(tmp_path / "run", TrainConfig())
    folder.finish(model, {"network": "person", "command": "python -m cartoon.train"})
    return tmp_path / "run", model


def test_weights_and_card_are_written(run, tmp_path, error_line):
    folder, model = run
    out = tmp_path / "weights"
    command = [str(folder), "--out", str(out), "--data-licence", "CC0"]
    assert main(command) == 0
    twin = build_person_segmenter()
    load_embedded(twin, "person", out)
    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    card = json.loads((out / "person.json").read_text())
    assert card["data_licence"] == "CC0"
    assert card["command"] == "python -m cartoon.train"
    assert main(command) == 2
    assert "exists" in error_line()
    assert main([*command, "--overwrite"]) == 0


def test_a_folder_without_a_finished_run_is_one_line(tmp_path, error_line):
    assert main([str(tmp_path)]) == 2
    assert "holds no finished run" in error_line()
