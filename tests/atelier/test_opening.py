"""Bounds on pictures of unknown origin: each is lowered here, and met by a small ordinary file."""

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageFile, PngImagePlugin

from atelier.errors import ImageError
from atelier.media import images, opening
from atelier.media.images import BYTES_A_PIXEL, load_image
from atelier.media.opening import FORMATS, hush_pillow, open_image
from detection.annotations import FaultError
from detection.annotations.places import picture_size
from superres.compression import read_header

ROOT = Path(__file__).parent.parent.parent

WIDE = Image.new("RGB", (4, 2), (200, 0, 0))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refusal(function, *arguments, **options) -> str:
    """The one line with which a picture is refused."""
    with pytest.raises(ImageError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), repr(text)
    return text


@pytest.fixture
def exif() -> Image.Exif:
    """An orientation that turns a picture by 90°, and a description of 100 letters."""
    data = Image.Exif()
    data[ExifTags.Base.Orientation] = 6
    data[ExifTags.Base.ImageDescription] = "x" * 100
    return data


# === Files and formats ===


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_formats_on_the_list_are_read_whatever_their_suffix(tmp_path, kind):
    (tmp_path / "x.txt").write_bytes(encode(WIDE, kind))
    assert load_image(tmp_path / "x.txt").shape == (2, 4, 3)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "JPEG2000", "PCX", "TGA"])
def test_formats_that_are_not_on_the_list_are_refused(tmp_path, kind):
    data = encode(Image.new("RGB", (16, 16)), kind)
    (tmp_path / "x.png").write_bytes(data)
    said = refusal(load_image, tmp_path / "x.png")
    assert said.endswith("not a picture in a format that can be read")
    assert read_header(data) is None
    with pytest.raises(FaultError):
        picture_size(data)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "cannot be read" in refusal(load_image, tmp_path / "pipe.png")


def test_bytes_of_a_file_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "file_bound", lambda max_pixels: 10)
    (tmp_path / "x.png").write_bytes(bytes(20))
    assert "larger than 10 bytes" in refusal(load_image, tmp_path / "x.png")


@pytest.mark.parametrize(("name", "bound"), [("_HEAD_READS", 5), ("_MORE_READS", -10)])
def test_reads_of_a_file_are_bounded(monkeypatch, name, bound):
    texts = PngImagePlugin.PngInfo()
    for number in range(10):
        texts.add_text("Comment", f"number {number}")
    data = encode(WIDE, "PNG", pnginfo=texts)
    assert load_image(data).shape == (2, 4, 3)
    monkeypatch.setattr(opening, name, bound)
    assert "it is in too many pieces" in refusal(load_image, data)


# === Pixels ===


def test_pixels_are_counted_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    said = refusal(load_image, encode(WIDE, "PNG"), max_pixels=7)
    assert said == "picture: 4×2 is more than 7 pixels"


def test_scans_of_a_jpeg_are_bounded(monkeypatch):
    data = encode(WIDE, "JPEG", progressive=True)
    assert load_image(data).shape == (2, 4, 3)
    monkeypatch.setattr(images, "MAX_SCANS", 2)
    assert "scans, more than 2" in refusal(load_image, data)


def test_tiles_of_a_tiff_are_bounded_like_pictures():
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((9, 9, 3), np.uint8), tile=(16, 16), photometric="rgb")
    assert load_image(file.getvalue(), max_pixels=256).shape == (9, 9, 3)
    said = refusal(load_image, file.getvalue(), max_pixels=100)
    assert said.endswith("tiles of 16×16 are too large")


# === EXIF and tags ===


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_data_is_bounded(exif, monkeypatch, kind):
    data = encode(WIDE, kind, exif=exif)
    assert load_image(data).shape == picture_size(data) + (3,) == (4, 2, 3)
    monkeypatch.setattr(opening, "_EXIF_BYTES", 64)
    assert load_image(data).shape == picture_size(data) + (3,) == (2, 4, 3)


def test_exif_data_in_text_of_a_png_is_bounded(exif, monkeypatch):
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\n\n\n" + exif.tobytes().hex())
    data = encode(WIDE, "PNG", pnginfo=text)
    assert load_image(data).shape == (4, 2, 3)
    monkeypatch.setattr(opening, "_EXIF_BYTES", 64)
    assert load_image(data).shape == (2, 4, 3)


def test_exif_data_of_all_segments_of_a_jpeg_together_is_bounded(exif, monkeypatch):
    plain, once = encode(WIDE, "JPEG"), encode(WIDE, "JPEG", exif=exif)
    size = len(once) - len(plain)
    segment = once[once.index(b"\xff\xe1") :][:size]
    twice = once.replace(segment, segment * 2)

    def kept(data: bytes) -> int:
        with open_image(data) as image:
            return len(image.info["exif"])

    assert kept(twice) > kept(once)
    monkeypatch.setattr(opening, "_EXIF_BYTES", size)
    assert kept(twice) == kept(once)


def test_exif_data_of_an_avif_is_not_read(exif):
    """Its orientation is a property of its own, which counts."""
    data = encode(WIDE, "AVIF", exif=exif)
    assert b"x" * 100 in data
    with open_image(data) as image:
        assert b"x" * 100 not in image.info["exif"]
    assert load_image(data).shape == (4, 2, 3)


@pytest.mark.parametrize("name", ["_TIFF_NUMBERS", "_TIFF_RATIONALS"])
@pytest.mark.parametrize("options", [{}, {"big_tiff": True}], ids=["TIFF", "BigTIFF"])
def test_values_of_a_tiffs_directory_are_bounded(monkeypatch, name, options):
    data = encode(WIDE, "TIFF", dpi=(72, 72), **options)
    assert load_image(data).shape == picture_size(data) + (3,) == (2, 4, 3)
    monkeypatch.setattr(opening, name, 1)
    assert "its directory has too many values" in refusal(load_image, data)
    assert read_header(data) is None
    with pytest.raises(FaultError, match="too many values"):
        picture_size(data)


def test_values_of_a_tiff_larger_than_the_file_together_are_refused():
    tags = {40001: b"x" * 200, 40002: b"y" * 4}
    data = bytearray(encode(WIDE, "TIFF", tiffinfo=tags))
    assert load_image(bytes(data)).shape == (2, 4, 3)
    first, second = (data.index(tag.to_bytes(2, "little") + b"\1\0") for tag in tags)
    data[second + 4 : second + 12] = data[first + 4 : first + 12]  # The same 200 bytes.
    assert len(data) < 400
    assert "its parts overlap" in refusal(load_image, bytes(data))


@pytest.mark.parametrize(
    "garbage", [b"x", b"II", b"II*\0\x08\0\0\0", b"II*\0\x08\0\0\0\1\0", b"?" * 40]
)
def test_damaged_exif_data_and_profiles_are_passed_over(garbage):
    for data in (
        encode(WIDE, "PNG", exif=garbage, icc_profile=garbage),
        encode(WIDE, "JPEG", exif=b"Exif\0\0" + garbage, icc_profile=garbage),
        encode(WIDE, "WEBP", exif=garbage, icc_profile=garbage),
    ):
        assert load_image(data).shape == picture_size(data) + (3,) == (2, 4, 3)


# === Memory ===

MEASURE = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[2])
from atelier.media.images import load_image

def held(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

grown = {}
for times in range(2):  # The first reading of a kind also loads what reads it.
    for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
        load_image(file, alpha="keep")
        grown[file.name] = held("VmHWM") - before
print(json.dumps(grown))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such /proc")
def test_memory_is_within_the_stated_bound(tmp_path, exif):
    side = 1000
    y, x = np.mgrid[:side, :side]
    picture = np.uint8(np.stack([x // 8, y // 8, (x * y) // 999, x + y], axis=-1) % 256)
    image, grey = Image.fromarray(picture), Image.fromarray(picture[..., 0])
    allowed = {}
    for name, kept, kind, options in (
        ("jpeg", image.convert("RGB"), "JPEG", {"progressive": True, "subsampling": 0}),
        ("cmyk", image.convert("CMYK"), "JPEG", {}),
        ("png", image, "PNG", {"compress_level": 1}),
        ("palette", image.convert("RGB").quantize(16), "PNG", {"transparency": 2}),
        ("webp", image, "WEBP", {"method": 0}),
        ("avif", image, "AVIF", {"speed": 10}),
        ("tiff", image, "TIFF", {"compression": "tiff_deflate"}),
        ("float", grey.convert("F"), "TIFF", {}),
    ):
        kept.save(tmp_path / name, kind, exif=exif, **options)
        # Of 8 bits it is half as much; and 4 MB for what the allocator keeps between pictures.
        allowed[name] = 2 * (tmp_path / name).stat().st_size + BYTES_A_PIXEL // 2 * side**2 + 2**22
    dark = (picture.astype(np.uint16) << 4)[..., [2, 1, 0, 3]]
    (tmp_path / "dark").write_bytes(cv2.imencode(".png", dark)[1].tobytes())
    for name, dtype, compression in (("planes", "u2", None), ("doubles", "f8", "zlib")):
        values = picture[..., :3].astype(dtype)
        values = np.moveaxis(values, -1, 0) if name == "planes" else values
        layout = {"planarconfig": "separate"} if name == "planes" else {}
        options = {"photometric": "rgb", "compression": compression, **layout}
        tifffile.imwrite(tmp_path / name, values, **options)
    for name in ("dark", "planes", "doubles"):
        allowed[name] = 2 * (tmp_path / name).stat().st_size + BYTES_A_PIXEL * side**2 + 2**22
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert {name: grown[name] for name in allowed if grown[name] > allowed[name]} == {}


def test_pillows_warnings_are_passed_over_in_all_threads_and_filters_stay():
    def warn(module: str) -> None:
        warnings.warn_explicit("odd", UserWarning, "x.py", 1, module=module)

    before = list(warnings.filters)
    first, second = hush_pillow(), hush_pillow()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # The first of two threads ends first.
    warn("PIL.Image")
    with pytest.raises(UserWarning, match="odd"):
        warn("atelier.media.images")
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="odd"):
        warn("PIL.Image")


def test_scans_are_those_of_the_picture_alone(photo):
    """Not what looks like one in a profile, in EXIF data, or behind the picture."""
    options = {
        "progressive": True,
        "icc_profile": b"\xff\xda" * 40,
        "exif": b"Exif\0\0" + b"\xff\xda" * 40,
    }
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", **options)
    data = file.getvalue() + b"\xff\xda" * 60
    assert images.count_scans(data) == 10
    assert load_image(data).shape == photo.shape
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=100)
    assert images.count_scans(file.getvalue()) == 1


def test_segments_of_a_progressive_jpeg_are_bounded(monkeypatch):
    data = encode(WIDE, "JPEG", progressive=True)
    monkeypatch.setattr(images, "MAX_SEGMENTS", 3)
    assert "it is in too many pieces" in refusal(load_image, data)
