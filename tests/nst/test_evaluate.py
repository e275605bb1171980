"""The losses of finished pictures, and their command."""

import dataclasses
import json

import numpy as np
import pytest

import nst
from atelier.errors import ImageError, SettingsError
from atelier.media.images import save_image
from nst.evaluate import evaluate, main

CONFIG = nst.StyleTransferConfig(
    size=64, coarsest=0, margin=0, style_scale=1.0, tv_weight=0.0, precision="float32"
)


def test_own_content_has_no_content_loss(network, photo, painting):
    loss = evaluate(photo, photo, painting, CONFIG, network=network)
    assert loss.content == 0
    assert loss.style > 0


def test_own_style_has_no_style_loss(network, photo, painting):
    square = painting[:80, :80]
    loss = evaluate(square, photo, square, CONFIG, network=network)
    assert loss.style == pytest.approx(0, abs=1e-9)
    assert loss.content > 0


def test_losses_are_those_of_the_run(network, photo, painting):
    """But for rounding to grey levels: no margin, one level, the same size."""
    config = dataclasses.replace(CONFIG, iterations=6)
    result = nst.stylize(photo, painting, config, network=network)
    loss = evaluate(result.image, photo, painting, config, network=network)
    assert loss.style == pytest.approx(result.loss.style, rel=0.05)
    assert loss.content == pytest.approx(result.loss.content, rel=0.05)


def test_stylized_picture_is_better_than_the_photo(network, photo, painting):
    result = nst.stylize(photo, painting, dataclasses.replace(CONFIG, size=96), network=network)
    before, after = (
        evaluate(image, photo, painting, CONFIG, network=network) for image in (photo, result.image)
    )
    assert after.total < before.total


def test_settings_that_shape_the_run_alone_change_nothing(network, photo, painting):
    plain = evaluate(photo, photo, painting, CONFIG, network=network)
    for settings in ({"margin": 16}, {"size": 300}, {"preserve_color": "luminance"}):
        config = dataclasses.replace(CONFIG, **settings)
        assert evaluate(photo, photo, painting, config, network=network) == plain


def test_weights_and_layers_count(network, photo, painting):
    single = evaluate(photo, photo, painting, CONFIG, network=network)
    config = dataclasses.replace(CONFIG, style_weight=2 * CONFIG.style_weight)
    double = evaluate(photo, photo, painting, config, network=network)
    assert double.style == pytest.approx(2 * single.style, rel=1e-5)


def test_alpha_is_flattened(network, photo, painting):
    opaque = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    found = [evaluate(image, photo, painting, CONFIG, network=network) for image in (photo, opaque)]
    assert found[0] == found[1]


def test_picture_of_another_shape_is_refused(network, photo, painting):
    with pytest.raises(SettingsError, match="the picture is"):
        evaluate(photo[:60], photo, painting, CONFIG, network=network)


@pytest.mark.parametrize("side", [1, 20])
def test_picture_too_small_is_refused(network, painting, side):
    image = np.zeros((side, side, 3), np.uint8)
    with pytest.raises(SettingsError):
        evaluate(image, image, painting, CONFIG, network=network)


def test_missing_picture_is_named(network, photo):
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        evaluate("gone.png", photo, "ink", CONFIG, network=network)


# === The command ===


def run(files, *arguments):
    options = ("--content", str(files / "photo.png"), "--styles", str(files / "painting.png"))
    return main([*map(str, arguments), *options])


def test_command_prints_one_object_a_picture(tiny_features, files, capsys, photo):
    save_image(files / "other.png", 255 - photo)
    assert run(files, files / "photo.png", files / "other.png") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first.keys() == {"input", "features", "loss", "content", "style", "variation"}
    assert first["input"] == str(files / "photo.png")
    assert first["content"] == 0 < second["content"]
    assert first["loss"] == pytest.approx(
        sum(first[name] for name in ("content", "style", "variation"))
    )


def test_command_goes_on_after_a_broken_picture(tiny_features, files, capsys, error_line):
    (files / "broken.png").write_bytes(b"")
    assert run(files, files / "broken.png", files / "photo.png") == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "broken.png: the file is empty" in said.err


@pytest.mark.parametrize("arguments", [[], ["a.png"], ["a.png", "--content", "b.png"]])
def test_command_without_its_pictures_says_how(error_line, arguments):
    assert main(arguments) == 2
    assert "PICTURE… --content PHOTO --styles PAINTING…" in error_line()


def test_preset_report_is_not_normalized(tiny_features, files, capsys):
    assert run(files, files / "photo.png", "--preset", "report") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["features"] == "vgg19"
    assert record["style"] > 100
