"""The project's own paintings: drawn anew, and as they were committed."""

import numpy as np
import pytest
from PIL import Image

from atelier.media.images import load_image
from nst import styles
from tools.paintings import ASPECTS, PAINTINGS, paint
from tools.paintings.__main__ import encode_png, main

SLOW = {"impasto", "pointillist"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.soak) if n in SLOW else n for n in PAINTINGS]
)
def test_painting_is_a_picture_and_the_same_again(name):
    picture = paint(name, 64)
    aspect = ASPECTS[name]
    assert picture.dtype == np.uint8
    assert picture.shape == (round(64 / max(1, aspect)), round(64 * min(1, aspect)), 3)
    assert picture.std() > 20
    assert np.ptp(picture.reshape(-1, 3), axis=0).min() > 60
    np.testing.assert_array_equal(picture, paint(name, 64))


def test_seed_changes_the_painting():
    first, other = paint("woodcut", 96), paint("woodcut", 96, seed=1)
    assert np.abs(np.int16(first) - other).mean() > 1


def test_unknown_painting_lists_those_that_are():
    with pytest.raises(ValueError, match="unknown painting 'fresco'; choose from impasto"):
        paint("fresco")


def test_size_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 64 pixels, not 63"):
        paint("ink", 63)


@pytest.mark.soak
def test_committed_painting_is_what_the_program_draws(tmp_path):
    assert main(["--names", "woodcut", "--out", str(tmp_path)]) == 0
    drawn, committed = load_image(tmp_path / "woodcut.png"), styles.open_style("woodcut")
    assert drawn.shape == committed.shape
    # Other versions of the libraries may round differently, here and there.
    assert np.mean(np.abs(np.int16(drawn) - committed).max(axis=2) <= 2) > 0.99


def test_png_keeps_to_its_limit_and_near_the_picture():
    picture = paint("woodcut", 128)
    generous, tight = encode_png(picture, 300_000), encode_png(picture, 9_000)
    assert len(tight) <= 9_000 < len(generous) <= 300_000
    errors = [np.abs(np.int16(load_image(data)) - picture).mean() for data in (generous, tight)]
    assert errors[0] < 2
    assert errors[0] < errors[1] < 20


def test_png_that_cannot_fit_is_the_smallest(rng):
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    data = encode_png(noise, 100)
    assert len(data) < len(encode_png(noise, 10**6))
    assert load_image(data).shape == noise.shape


def test_command_draws_and_overwrites_only_when_asked(tmp_path, capsys):
    arguments = ["--names", "woodcut", "--size", "64", "--out", str(tmp_path)]
    assert main(arguments) == 0
    with Image.open(tmp_path / "woodcut.png") as image:
        assert image.size == (64, 49)
    assert main(arguments) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--names", "fresco"), "unknown painting 'fresco'"), (("--size", "10"), "at least 64")],
)
def test_command_names_what_it_cannot_draw(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--out", str(tmp_path / "out")]) != 0
    said = capsys.readouterr().err
    assert said.startswith("error:")
    assert message in said
    assert not (tmp_path / "out").exists()
