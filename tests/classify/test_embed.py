"""Making a finished training part of the package."""

import shutil

import numpy as np
import pytest

from classify import networks
from classify.embed import EmbedArguments, main
from classify.networks import load_network


def embed(run, out, *more) -> int:
    return main([str(run), "tiny", "--out", str(out), *more])


def test_run_is_embedded_to_half_precision(run, network, weights, drawn, capsys):
    assert embed(run, weights) == 0
    said = capsys.readouterr().err
    assert f"{weights / 'tiny.npz'}: {(weights / 'tiny.npz').stat().st_size:,} bytes" in said
    found = load_network("tiny")
    for weight, twin in zip(found.model.weights, network.model.weights, strict=True):
        np.testing.assert_array_equal(weight, np.float16(twin))
    np.testing.assert_allclose(
        found.logits(drawn.test.images), network.logits(drawn.test.images), atol=0.05
    )
    assert {**found.card, "data_licence": None} == {**network.card, "data_licence": None}
    assert "CIFAR-10" in found.card["data_licence"]
    assert (weights / "tiny.csv").read_bytes() == (run / "history.csv").read_bytes()


def test_card_and_history_alone(run, weights, network):
    assert embed(run, weights, "--card-only") == 0
    assert sorted(file.name for file in weights.iterdir()) == ["tiny.csv", "tiny.json"]
    with pytest.raises(networks.WeightsError, match="just their card"):
        load_network("tiny")


@pytest.mark.parametrize("more", [(), ("--card-only",)])
def test_existing_weights_are_kept(run, weights, error_line, more):
    assert embed(run, weights) == 0
    before = {file.name: file.read_bytes() for file in weights.iterdir()}
    assert embed(run, weights, *more) == 2
    assert "--overwrite" in error_line()
    assert {file.name: file.read_bytes() for file in weights.iterdir()} == before
    assert embed(run, weights, "--overwrite") == 0


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_unfinished_run_is_one_line(tmp_path, weights, error_line, folder):
    (tmp_path / "empty").mkdir()
    assert embed(tmp_path / folder, weights) == 2
    assert "holds no finished run" in error_line()
    assert list(weights.iterdir()) == []


def test_run_without_its_history_is_one_line(run, weights, tmp_path, error_line):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "history.csv").unlink()
    assert embed(copy, weights) == 2
    assert "history.csv" in error_line()
    assert list(weights.iterdir()) == []


def test_by_default_it_goes_where_networks_are_looked_for():
    assert EmbedArguments.__dataclass_fields__["out"].default == networks.WEIGHTS
