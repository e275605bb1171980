"""The benchmark of precisions: both sides, their ratio, and what `auto` makes of it."""

import json

import pytest

from atelier.nets import precision
from benchmarks import precision as module


def test_both_precisions_and_their_ratio(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(
        precision, "measured", lambda work, key: {"float32": 0.02, "bfloat16": 0.03}
    )
    monkeypatch.setattr(module, "probe", lambda work: {"float32": 0.02, "bfloat16": 0.04})
    asked = []

    def stylize(content, style, config):
        asked.append((config.precision, config.size, config.iterations))

    monkeypatch.setattr(module, "stylize", stylize)
    assert module.main(["--size", "64", "--iterations", "3", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert asked == [("float32", 64, 3), ("bfloat16", 64, 3)] * 2
    assert numbers["probe_features_ratio"] == numbers["probe_training_ratio"] == 0.5
    seconds = [numbers[f"stylize_{name}_seconds"] for name in ("float32", "bfloat16")]
    assert numbers["stylize_ratio"] == pytest.approx(seconds[0] / seconds[1])
    assert numbers["auto"] == "float32"
    assert "float32 20.0 ms, bfloat16 30.0 ms" in numbers["reason"]


def test_no_steps_are_refused_in_one_line(error_line):
    assert module.main(["--iterations", "0"]) == 2
    assert "--iterations must be at least 1" in error_line()
