"""Making a finished training part of the package."""

import dataclasses

import numpy as np
import pytest

from superres import networks
from superres.embed import main
from superres.networks import Network, load_stored
from superres.train import train


def test_fixed_point_run_is_embedded_without_loss(tiny, run, tmp_path, monkeypatch, luma, capsys):
    """Ten bits fit the eleven of a float16."""
    config = dataclasses.replace(
        tiny, start=run, weight_bits=10, activation_bits=14, epochs=1, steps=1, out=tmp_path / "q"
    )
    trained = train(config)
    out = tmp_path / "weights"
    assert main([str(config.out), "tiny", "--out", str(out)]) == 0
    assert f"{out / 'tiny-x2.npz'}: " in capsys.readouterr().err
    monkeypatch.setattr(networks, "WEIGHTS", out)
    found = load_stored("tiny-x2")
    assert found.card == Network.load(config.out).card
    assert found.bits == (10, 14)
    np.testing.assert_array_equal(found.model(luma), trained.model(luma))


def test_floats_are_embedded_to_half_precision(run, tmp_path, monkeypatch, luma):
    assert main([str(run), "tiny", "--out", str(tmp_path)]) == 0
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    found, trained = load_stored("tiny-x2"), Network.load(run)
    for weight, twin in zip(found.model.weights, trained.model.weights, strict=True):
        np.testing.assert_array_equal(weight, np.float16(twin))
    np.testing.assert_allclose(found.model(luma), trained.model(luma), atol=0.5 / 256)


def test_existing_weights_are_kept(run, tmp_path, error_line):
    assert main([str(run), "tiny", "--out", str(tmp_path)]) == 0
    before = (tmp_path / "tiny-x2.npz").read_bytes()
    assert main([str(run), "tiny", "--out", str(tmp_path)]) == 2
    assert "--overwrite" in error_line()
    assert (tmp_path / "tiny-x2.npz").read_bytes() == before
    assert main([str(run), "tiny", "--out", str(tmp_path), "--overwrite"]) == 0


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_unfinished_run_is_one_line(tmp_path, error_line, folder):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / folder), "tiny", "--out", str(tmp_path)]) == 2
    assert "holds no finished run" in error_line()
    assert not list(tmp_path.glob("*.npz"))
