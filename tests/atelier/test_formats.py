"""HEIC and JPEG XL, which the extra `formats` brings."""

import importlib
import io

import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError, OutputError
from atelier.media import opening
from atelier.media.formats.metadata import Metadata
from atelier.media.images import load_image, load_picture, save_image
from atelier.media.opening import OPTIONAL, register

SUFFIXES = {".heic": "HEIF", ".jxl": "JXL"}


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    pytest.importorskip(OPTIONAL[SUFFIXES[request.param]][0])
    return request.param


@pytest.fixture
def exif() -> bytes:
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Acme", 1
    return tags.tobytes()


def encode(image: Image.Image, suffix: str, **options) -> bytes:
    register(SUFFIXES[suffix])
    file = io.BytesIO()
    image.save(file, SUFFIXES[suffix], **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [None, 3, 4])
def test_pictures_are_written_and_read(tmp_path, photo, suffix, channels):
    image = {None: photo[..., 0], 3: photo, 4: np.dstack([photo, photo[..., 1]])}[channels]
    save_image(tmp_path / f"x{suffix}", image)
    picture = load_picture(tmp_path / f"x{suffix}", alpha="keep", grey="keep")
    assert picture.metadata.notes == ()
    loaded = picture.image
    assert loaded.shape == image.shape
    assert np.abs(loaded.astype(int) - image).mean() < 4


def test_what_their_files_say_is_kept(tmp_path, photo, suffix, exif):
    block = exif.removeprefix(b"Exif\0\0")
    save_image(tmp_path / f"x{suffix}", photo, metadata=Metadata(exif=block))
    tags = Image.Exif()
    tags.load(load_picture(tmp_path / f"x{suffix}").metadata.exif)
    assert tags[0x010F] == "Acme"


def test_a_picture_is_turned_once_at_most(photo):
    pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    tags = Image.Exif()
    tags[0x0112] = 6
    stored, width = Image.fromarray(photo[:64]), photo.shape[1]
    # The writer of HEIC makes it a turn of the file's own; in JPEG XL, EXIF's does not count.
    heic = encode(stored, ".heic", exif=tags.tobytes())
    assert load_image(heic).shape == (width, 64, 3)
    assert load_image(encode(stored, ".jxl", exif=tags.tobytes())).shape == (64, width, 3)


def test_too_many_pixels_are_refused_by_name(tmp_path, photo, suffix):
    save_image(tmp_path / f"x{suffix}", photo)
    height, width = photo.shape[:2]
    with pytest.raises(ImageError, match=rf"x\{suffix}: {width}×{height} is more than 99 pixels"):
        load_image(tmp_path / f"x{suffix}", max_pixels=99)


def test_files_cut_anywhere_are_one_line(photo, suffix):
    whole = encode(Image.fromarray(photo[:48, :64]), suffix)
    for length in range(1, len(whole) * 3 // 4, 97):
        with pytest.raises(ImageError) as caught:
            load_image(whole[:length])
        assert "\n" not in str(caught.value)


def test_without_the_package_one_line_names_the_extra(tmp_path, photo, suffix, monkeypatch):
    whole = encode(Image.fromarray(photo), suffix)

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    words = r"is missing: pip install 'atelier-vision\[formats\]'"
    with pytest.raises(ImageError, match=f"^picture: pillow-[a-z-]+ {words}"):
        load_image(whole)
    with pytest.raises(OutputError, match=f"cannot write .*: pillow-[a-z-]+ {words}"):
        save_image(tmp_path / f"x{suffix}", photo)


@pytest.mark.parametrize("size", [(8, 8), (300, 200), (1920, 1080), (3000, 2), (33, 600)])
@pytest.mark.parametrize("exif", [None, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"])
def test_the_size_of_a_jpeg_xl_file_is_read_from_its_head(size, exif):
    pytest.importorskip("pillow_jxl")
    options = {"exif": exif} if exif else {}
    whole = encode(Image.new("L", size), ".jxl", **options)
    assert opening._jxl_size(whole) == size


def test_the_head_of_a_jpeg_xl_file_is_bounded(monkeypatch, photo):
    pytest.importorskip("pillow_jxl")
    whole = encode(Image.fromarray(photo), ".jxl", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    monkeypatch.setattr(opening, "_JXL_HEAD", 12)
    with pytest.raises(ImageError, match="its size is not found"):
        load_image(whole)
