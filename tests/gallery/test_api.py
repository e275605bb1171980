"""The REST interface, as docs/web.md shows it: by `gradio_client`, and by plain requests."""

import json

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from atelier.media.images import load_image, resize, sample, save_image
from detection import DetectConfig

MODEL = DetectConfig().model


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    return Client(server.url, verbose=False, analytics_enabled=False, download_files=folder)


@pytest.fixture(scope="module")
def small_photo(tmp_path_factory):
    """The file of a small picture of a person."""
    path = tmp_path_factory.mktemp("photos") / "my photo.png"
    save_image(path, resize(load_image(sample("astronaut.png")), (96, 128)))
    return str(path)


def test_classify(client, small_photo):
    answer, bars, picture, facts, command = client.predict(
        handle_file(small_photo), "squeeze", api_name="/classify"
    )
    assert len(bars["confidences"]) == 10
    assert sum(bar["confidence"] for bar in bars["confidences"]) == pytest.approx(1, abs=1e-3)
    assert load_image(picture).shape == (96, 128, 3)
    assert command.startswith("python -m classify.run")
    assert bars["label"] in answer.lower() or "none of the ten" in answer.lower()
    assert "network" in facts


def test_stylize(client, small_photo):
    job = client.submit(
        photo=handle_file(small_photo),
        painting="mosaic",
        own_painting=None,
        size=128,
        style_weight=1,
        preserve_color="none",
        steps=10,
        api_name="/stylize",
    )
    picture, _, command = job.result(timeout=280)
    assert max(load_image(picture).shape[:2]) == 128
    assert "--size 128" in command


def test_cartoonize(client, small_photo):
    _, picture, _, command = client.predict(
        handle_file(small_photo), "fine", "color", "#ff0000", None, api_name="/cartoonize"
    )
    assert load_image(picture).shape == (96, 128, 3)
    assert command.startswith("python -m cartoon.run")


def test_upscale(client, small_photo):
    result, *_ = client.predict(handle_file(small_photo), 2, "clean", api_name="/upscale")
    assert load_image(result).shape == (192, 256, 3)


def test_detect(client, small_photo):
    _, picture, table, *_ = client.predict(
        handle_file(small_photo), MODEL, 0.05, api_name="/detect"
    )
    assert load_image(picture).shape == (96, 128, 3)
    assert table["headers"][:2] == ["object", "score"]


def test_a_file_that_is_no_picture_is_refused_by_name_everywhere(client, tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture")
    for endpoint, settings in {
        "/classify": ["squeeze"],
        "/upscale": [2, "clean"],
        "/detect": [MODEL, 0.5],
        "/cartoonize": ["fine", "transparent", "white", None],
        "/stylize": ["mosaic", None, 128, 1, "none", 10],
    }.items():
        with pytest.raises(AppError, match=r"^notes\.jpg: not a picture in a format"):
            client.predict(handle_file(str(path)), *settings, api_name=endpoint)


def test_text_that_names_a_file_reads_none(server, client, small_photo, tmp_path):
    """Settings that are files on the command line are none here."""
    secret = tmp_path / "secret.png"
    Image.fromarray(np.full((4, 4, 3), 77, np.uint8)).save(secret)
    photo = handle_file(small_photo)
    for endpoint, settings in (
        ("/cartoonize", ["fine", "color", str(secret), None]),
        ("/cartoonize", ["fine", str(secret), "white", None]),
        ("/cartoonize", [str(secret), "transparent", "white", None]),
        ("/stylize", [str(secret), None, 128, 1, "none", 10]),
        ("/detect", [str(tmp_path), 0.5]),
        ("/upscale", [2, str(tmp_path)]),
        ("/classify", [str(tmp_path)]),
    ):
        with pytest.raises(AppError):
            client.predict(photo, *settings, api_name=endpoint)


def test_settings_out_of_their_range_are_refused(client, small_photo):
    with pytest.raises(AppError):
        client.predict(
            handle_file(small_photo), "mosaic", None, 100_000, 1, "none", 10, api_name="/stylize"
        )


def test_by_plain_requests(server, small_photo):
    with open(small_photo, "rb") as file:
        status, answer = server.upload(file.read(), "photo.png")
    assert status == 200
    photo = {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}
    event, data = server.call("detect", photo, MODEL, 0.5)
    assert event == "complete"
    assert data[1]["path"].endswith(".png")


def test_its_folder_does_not_grow_with_requests_that_repeat(server, small_photo):
    with open(small_photo, "rb") as file:
        content = file.read()
    for _ in range(3):
        assert server.upload(content)[0] == 200
    own = next(server.folder.glob("atelier-*"))
    assert len([path for path in own.rglob("photo.png") if path.read_bytes() == content]) == 1
