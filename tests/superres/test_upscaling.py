"""`superres.upscale`: what it takes, what it gives, which network it chooses."""

import dataclasses
import importlib
import io

import numpy as np
import pytest
from PIL import Image, ImageFile

import superres
from atelier.errors import ImageError, SettingsError, WeightsError
from atelier.media.images import load_image, save_image
from superres.tiles import TiledNetwork
from superres.upscaling import UpscaleConfig, upscale


def jpeg(picture: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def test_it_is_the_network_on_every_tile(embedded, photo):
    result = superres.upscale(photo, model="clean")
    assert (result.image == TiledNetwork(embedded("clean"))(photo)).all()
    assert (result.model, result.reason, result.scale) == ("clean", "as asked", 2)
    assert (result.grey, result.image.shape, result.image.dtype) == (False, (192, 192, 3), "uint8")
    assert result.seconds > 0
    compressed = superres.upscale(photo, model="compressed")
    assert (compressed.image == TiledNetwork(embedded("compressed"))(photo)).all()
    assert (compressed.image != result.image).any()
    assert (superres.upscale(photo, model="clean", tile=32).image == result.image).all()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scales(embedded, photo, scale):
    result = upscale(photo[:20, :30], scale)
    assert (result.image.shape, result.scale) == ((20 * scale, 30 * scale, 3), scale)


def test_all_kinds_of_sources_give_the_same(embedded, photo, tmp_path):
    save_image(tmp_path / "photo.png", photo)
    expected = upscale(photo).image
    path = tmp_path / "photo.png"
    for source in (path, str(path), path.read_bytes(), Image.fromarray(photo)):
        assert (upscale(source).image == expected).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_kinds_of_pictures(embedded, photo, tmp_path, mode):
    path = tmp_path / "picture.tif"
    image = Image.fromarray(photo[:40])
    if mode == "I;16":
        image = Image.fromarray(np.uint16(photo[:40, :, 0]) * 257)
    (image if mode == "I;16" else image.convert(mode)).save(path)
    result = upscale(path)
    assert result.image.shape == (80, 192, 4 if mode in ("RGBA", "LA") else 3)
    assert result.grey == (mode in ("L", "1", "I;16"))
    if result.grey:
        grey = load_image(path, grey="keep")
        assert (result.image[..., 1] == TiledNetwork(embedded("clean"))(grey)).all()
        assert (result.image == result.image[..., :1]).all()


def test_exif_orientation_is_applied(embedded, photo, tmp_path):
    image = Image.fromarray(photo[:40])
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    assert (upscale(tmp_path / "x.png").image == upscale(np.rot90(photo[:40], -1)).image).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (1, 50, 4), (33, 1, 3)])
def test_the_smallest_pictures(embedded, shape):
    result = upscale(np.full(shape, 120, np.uint8))
    assert result.image.shape[:2] == (2 * shape[0], 2 * shape[1])


# === Which network ===


@pytest.mark.parametrize(
    ("source", "model", "reason"),
    [
        (lambda photo: photo, "clean", "no compression shows"),
        (lambda photo: jpeg(photo, quality=97), "clean", "no compression shows"),
        (lambda photo: jpeg(photo, quality=60), "compressed", "JPEG of quality 60"),
        (lambda photo: load_image(jpeg(photo, quality=30)), "compressed", "the 8×8 grid"),
        (lambda photo: jpeg(load_image(jpeg(photo, quality=30)), quality=98), "compressed", "grid"),
    ],
)
def test_auto_judges_the_file_and_the_pixels(embedded, photo, source, model, reason):
    result = upscale(source(photo))
    assert result.model == model
    assert reason in result.reason
    assert upscale(source(photo), model="clean").model == "clean"


def test_a_network_can_be_given(embedded, photo):
    network = embedded("compressed", 3)
    result = upscale(photo, 3, network=network)
    assert (result.model, result.reason) == ("given", "given")
    assert (result.image == TiledNetwork(network)(photo)).all()
    with pytest.raises(SettingsError, match="for scale 3, not 2"):
        upscale(photo, network=network)


def test_missing_weights_are_one_line(photo, monkeypatch, tmp_path):
    networks = importlib.import_module("superres.networks")
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    networks.load_network.cache_clear()
    with pytest.raises(WeightsError, match="clean-x4"):
        upscale(photo, 4, "clean")


# === Steps ===


def test_steps_are_told(embedded, photo):
    steps = []
    upscale(photo, tile=48, on_step=steps.append)
    assert [(step.number, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_step_can_end_the_run(embedded, photo):
    steps = []
    with pytest.raises(KeyboardInterrupt):
        upscale(photo, tile=48, on_step=lambda step: steps.append(step) or len(steps) == 2)
    assert len(steps) == 2


# === Mistakes ===


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 5}, "--scale is 2, 3 or 4, not 5"),
        ({"model": "best"}, "--model is auto, clean or compressed"),
        ({"tile": 31}, "--tile must be from 32 to 4096"),
        ({"tile": 5000}, "--tile must be from 32 to 4096"),
    ],
)
def test_settings_out_of_range(photo, settings, message):
    with pytest.raises(SettingsError, match=message):
        upscale(photo, **settings)
    with pytest.raises(SettingsError, match=message):
        dataclasses.replace(UpscaleConfig(), **settings)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "empty"),
        (b"text", "not a picture"),
        ("gone.png", "gone.png: no such file"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4, 3), np.int32), "must be uint8"),
        (np.zeros((4, 4, 2), np.uint8), "must be"),
        (np.zeros(4, np.uint8), "must be"),
    ],
)
def test_what_is_no_picture(embedded, source, message):
    with pytest.raises(ImageError, match=message):
        upscale(source)


def test_truncated_file(embedded, photo):
    with pytest.raises(ImageError, match="damaged or truncated"):
        upscale(jpeg(photo)[:-400])


@pytest.mark.parametrize(
    ("shape", "scale", "message"),
    [
        ((10, 11), 2, "11×10 is more than 100 pixels"),
        ((7, 10), 3, "at scale 3 is 30×21, more than 400 pixels"),
        ((5, 6), 4, "at scale 4 is 24×20, more than 400 pixels"),
    ],
)
def test_large_results_are_refused_before_they_are_decoded(
    tmp_path, monkeypatch, shape, scale, message
):
    module = importlib.import_module("superres.upscaling")
    monkeypatch.setattr("atelier.media.images.MAX_PIXELS", 100)
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    monkeypatch.setattr(module, "MAX_OUTPUT_PIXELS", 400)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    path = tmp_path / "large.png"
    Image.new("1", shape[::-1]).save(path)
    with pytest.raises(ImageError, match=message) as caught:
        upscale(path, scale)
    assert str(path) in str(caught.value)
