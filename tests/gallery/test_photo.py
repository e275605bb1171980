import io
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from gallery.web import limits
from gallery.web.limits import Limits
from gallery.web.photo import Photo, save_result

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
GREYS = [Image.fromarray(np.full((9, 8), value, np.uint8)) for value in (10, 200)]


@pytest.fixture
def upload(tmp_path):
    """Hands a file's bytes to a Photo, as an upload."""

    def hand(content: bytes, name: str = "photo.png"):
        path = tmp_path / name
        path.write_bytes(content)
        return Photo().preprocess(ImageData(path=str(path)))

    return hand


def test_what_is_no_picture_gives_one_line_without_its_place(upload, tmp_path, bad_file):
    name, content, reason = bad_file
    with pytest.raises(gr.Error) as raised:
        upload(content, name)
    assert raised.value.message.startswith(f"{name}: ")
    assert reason in raised.value.message
    assert str(tmp_path) not in raised.value.message
    assert not raised.value.print_exception


def test_pictures_come_as_arrays(upload, encode):
    np.testing.assert_array_equal(upload(encode(PHOTO)), PHOTO)
    clear = np.dstack([PHOTO, np.full((40, 60), 99, np.uint8)])
    np.testing.assert_array_equal(upload(encode(clear)), clear)


def test_exif_orientation_is_applied(upload, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upload(encode(PHOTO, "JPEG", exif=exif), "turned.jpg").shape == (60, 40, 3)


def test_of_an_animation_the_first_frame_is_taken(upload):
    file = io.BytesIO()
    GREYS[0].save(file, "GIF", save_all=True, append_images=GREYS[1:])
    np.testing.assert_array_equal(upload(file.getvalue(), "two.gif"), np.full((9, 8, 3), 10))


def test_the_bound_on_pixels_is_the_one_in_force(upload, encode, monkeypatch):
    monkeypatch.setattr(limits, "_limits", Limits(megapixels=0.002))
    with pytest.raises(gr.Error, match="60×40 is more than 2,000 pixels"):
        upload(encode(PHOTO))


def test_without_a_picture_the_handler_gets_none():
    assert Photo().preprocess(None) is None


def test_pictures_within_the_request_are_refused():
    for address in ("http://example.com/a.png", "data:image/png;base64,AAAA", "file:///a.png"):
        with pytest.raises(gr.Error, match="upload the picture first"):
            Photo().preprocess(ImageData(url=address))


def test_results_are_files_that_keep_every_pixel(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path = Path(save_result(PHOTO, "my photo, <drawn>.jpg"))
    assert path.name == "my-photo-drawn.png"
    assert path.is_relative_to(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), PHOTO)
    assert save_result(PHOTO, "../../..").endswith("/picture.png")


def test_arrays_are_shown_as_png(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    shown = Photo().postprocess(PHOTO)
    np.testing.assert_array_equal(np.asarray(Image.open(shown.path)), PHOTO)
    assert Photo().postprocess(shown.path).path == shown.path
    assert Photo().postprocess(None) is None


def test_to_the_browser_it_is_an_image_with_all_its_settings():
    photo = Photo(label="Your photo", height=200)
    assert photo.get_block_name() == "image"
    assert photo.get_config()["label"] == "Your photo"
    assert photo.get_config()["height"] == 200


def test_no_stub_is_written_beside_the_source():
    import gallery.web.photo

    assert not Path(gallery.web.photo.__file__).with_suffix(".pyi").exists()
