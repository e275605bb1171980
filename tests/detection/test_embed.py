"""A finished training as embedded weights."""

import json

import numpy as np

from atelier.media.images import load_image
from detection import predict
from detection.embed import EmbedArguments, main
from detection.predict import embedded


def embed(run, out, *more) -> int:
    return main([str(run), "shapes", "--out", str(out), "--data-licence", "CC0", *more])


def test_a_run_is_embedded_to_half_precision(
    run, detector, shapes, small, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "weights"
    assert embed(run, out) == 0
    file = out / "shapes.npz"
    assert f"{file}: {file.stat().st_size:,} bytes" in capsys.readouterr().err
    assert file.stat().st_size < 2.1e6, "0.97 million weights of two bytes"
    monkeypatch.setattr(predict, "WEIGHTS", out)
    found = embedded("shapes")
    assert found.classes == detector.classes
    assert found.card == {**detector.card, "data_licence": "CC0"}
    assert json.loads((out / "shapes.json").read_text()) == found.card
    pairs = zip(found.model.weights, detector.model.weights, strict=True)
    for one, other in ((a, b) for a, b in pairs if "seed" not in a.path):
        np.testing.assert_array_equal(one, np.float16(other))
    image = load_image(shapes / "JPEGImages" / "0.png")
    one, other = found.detect(image), detector.detect(image)
    np.testing.assert_allclose(one.scores[:3], other.scores[:3], atol=0.01)
    np.testing.assert_allclose(one.boxes[0], other.boxes[0], atol=0.5)


def test_existing_weights_are_kept(run, tmp_path, error_line):
    (tmp_path / "shapes.npz").write_text("mine")
    assert embed(run, tmp_path) == 2
    assert "--overwrite" in error_line()
    assert (tmp_path / "shapes.npz").read_text() == "mine"
    assert embed(run, tmp_path, "--overwrite") == 0
    assert (tmp_path / "shapes.npz").read_bytes() != b"mine"


def test_an_unfinished_run_is_one_line(tmp_path, error_line):
    assert embed(tmp_path, tmp_path / "out") == 2
    assert "holds no finished run" in error_line()
    assert not (tmp_path / "out").exists()


def test_the_licence_must_be_said(run, tmp_path, error_line):
    assert main([str(run), "shapes", "--out", str(tmp_path)]) == 2
    assert "data-licence" in error_line()


def test_by_default_it_goes_where_detectors_are_looked_for():
    assert EmbedArguments.__dataclass_fields__["out"].default == predict.WEIGHTS
