"""Pictures of strangers: damaged, lying, and made to take all memory or time."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atelier.image_files import FORMATS, open_image
from atelier.images import BYTES_A_PIXEL, HEAD_BYTES, MAX_SCANS, file_bound, load_image
from detection.annotations import FaultError, picture_size
from fuzz.readers import pictures
from superres.compression import read_header

SEEDS = pictures()

ROOT = Path(__file__).parent.parent.parent


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size=(4, 4), data: bytes | None = None) -> bytes:
    """A PNG, RGB, with chunks before its pixels."""
    rows = zlib.compress(bytes((1 + 3 * size[0]) * size[1])) if data is None else data
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    parts = (b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"".join(parts)


def tiff(*values: tuple[int, int, int, bytes | None]) -> bytes:
    """A TIFF, RGB of 4×4, with values, (tag, type, count, bytes); without bytes, the value is that
    of the one before."""
    whole = encode(Image.new("RGB", (4, 4)), "TIFF")
    (start,) = struct.unpack("<I", whole[4:8])
    (count,) = struct.unpack("<H", whole[start : start + 2])
    entries = {}
    for place in range(start + 2, start + 2 + 12 * count, 12):
        entries[struct.unpack("<H", whole[place : place + 2])[0]] = whole[place : place + 12]
    here = len(whole)
    for tag, kind, number, data in values:
        here = here if data is None else len(whole)
        entries[tag] = struct.pack("<HHII", tag, kind, number, here)
        whole += data or b""
    table = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + table + bytes(4)


def unfolding(size: int, tags: int) -> bytes:
    """EXIF data of about this size, of which `tags` values are each almost all of it."""
    entries = (struct.pack("<HHII", 40_000 + i, 7, size - 12 * tags, 8) for i in range(tags))
    exif = b"II*\0" + struct.pack("<I", size - 12 * tags) + bytes(size - 12 * tags - 8)
    return exif + struct.pack("<H", tags) + b"".join(entries) + bytes(4)


@st.composite
def damaged(draw, files):
    """A file with some bytes changed, left out or put in twice."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[place] = draw(st.integers(0, 255))
        elif kind == 1:
            data[place : place + 4] = draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f" * 4]))
        elif kind == 2:
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
        if not data:
            break
    return bytes(data)


@given(data=damaged(SEEDS))
def test_damage_gives_a_picture_or_one_line(survives, capfd, data):
    image = survives(load_image, data, alpha="keep", max_pixels=10**6)
    assert image is None or (image.dtype == np.uint8 and image.shape[2] in (3, 4))
    read_header(data)
    try:
        size = picture_size(data)
    except FaultError:
        return
    finally:
        capfd.readouterr()  # libtiff comments on damage, past Python.
    if image is not None:
        assert size == image.shape[:2]


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", *(seed[:16] for seed in SEEDS)]))
def test_any_bytes_give_a_picture_or_one_line(survives, start, data):
    survives(load_image, start + data, max_pixels=10**6)


def test_every_format_is_read():
    read = set()
    for seed in SEEDS:
        assert load_image(seed).ndim == 3
        with open_image(seed) as image:
            read.add(image.format)
    assert read == {*FORMATS, "MPO"}


# === Programs and other files ===


@pytest.mark.parametrize("suffix", ["jpg", "eps", "png"])
def test_no_program_is_run_on_a_postscript_file(tmp_path, monkeypatch, refusal, suffix):
    """Pillow would call Ghostscript."""
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=os.pathsep)
    file = tmp_path / f"photo.{suffix}"
    file.write_bytes(encode(Image.new("RGB", (4, 4)), "EPS"))
    assert refusal(load_image, file).endswith("not a picture in a format that can be read")
    assert read_header(file.read_bytes()) is None
    with pytest.raises(FaultError):
        picture_size(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["ICO", "JPEG2000", "PCX", "TGA", "PPM"])
def test_formats_are_told_by_their_content(tmp_path, survives, kind):
    file = tmp_path / "x.png"
    file.write_bytes(encode(Image.new("RGB", (16, 16)), kind))
    assert (survives(load_image, file) is not None) == (kind in FORMATS)


def test_pipes_and_devices_are_not_waited_for(tmp_path, refusal):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", "/dev/tty"):
        assert "cannot be read" in refusal(load_image, path)


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path, refusal):
    file = tmp_path / "sparse.png"
    with open(file, "wb") as stream:
        stream.truncate(10**10)
    assert f"larger than {file_bound():,} bytes" in refusal(load_image, file)


# === Time ===

GIF = encode(Image.new("P", (4, 4)), "GIF")
HEAD = GIF[: GIF.index(b",\0\0\0\0")]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 20_000_000,
        b"\xff\xd8\xff\xe0\0\x02" + b"\1" * 20_000_000,
        HEAD + b"!\xfe" + (b"\xff" + b"c" * 255) * 80_000 + b"\0" + GIF[len(HEAD) :],
        HEAD + b"!\xfe\x01c\0" * 4_000_000 + GIF[len(HEAD) :],
        png(chunk(b"prVt", b"") * 1_000_000),
        png()[:-12] + chunk(b"prVt", b"") * 1_200_000 + png()[-12:],
    ],
    ids=["padding", "junk", "comment", "comments", "chunks before", "chunks after"],
)
def test_readers_do_not_creep_through_a_file(refusal, data):
    assert "it is in too many pieces" in refusal(load_image, data)


def test_exif_in_many_pieces_is_not_joined(survives):
    """Pillow would copy all that it has for each piece, and then read values from it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encode(Image.new("RGB", (4, 2)), "JPEG", exif=exif)
    piece = b"\xff\xe1" + struct.pack(">H", 4002) + b"Exif\0\0" + bytes(3994)
    bomb = whole[:-2].replace(b"\xff\xdb", piece * 1500 + b"\xff\xdb", 1) + whole[-2:]
    with open_image(bomb) as image:
        assert len(image.info["exif"]) < 70_000 + 8 * 1500
    assert survives(load_image, bomb).shape == (4, 2, 3)


@pytest.mark.parametrize("tag", [258, 273, 274, 282, 296, 320, 338, 34675])
@pytest.mark.parametrize("kind", [3, 4, 5, 12])
def test_a_tiff_of_a_million_values_is_refused(refusal, tag, kind):
    data = tiff((tag, kind, 2_000_000, struct.pack("<HH", 1, 2) * 4_000_000))
    assert "its directory has too many values" in refusal(load_image, data)
    assert read_header(data) is None
    with pytest.raises(FaultError, match="too many values"):
        picture_size(data)


def test_a_jpeg_of_endless_scans_is_refused(refusal):
    whole = encode(Image.new("L", (2000, 2000), 9), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    bomb = whole[:-2] + whole[last:-2] * 5000 + whole[-2:]
    assert f"scans, more than {MAX_SCANS}" in refusal(load_image, bomb)
    assert load_image(whole).shape == (2000, 2000, 3)


# === Memory ===

ZEROS = zlib.compress(bytes(60_000_000), 9)


SHARED = [(tag, 7, 2_000_000, None) for tag in range(40_001, 40_400)]
UNFOLDING = unfolding(1_000_000, 10_000)
ONE = Image.new("RGB", (4, 4))

BOMBS = {
    "tiff values": tiff((40_000, 7, 2_000_000, bytes(2_000_000)), *SHARED),
    "jpeg exif": encode(ONE, "JPEG", exif=b"Exif\0\0" + unfolding(60_000, 2_500)),
    "png exif": png(chunk(b"eXIf", UNFOLDING)),
    "png text": png(chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + UNFOLDING.hex().encode())),
    "webp exif": encode(ONE, "WEBP", exif=UNFOLDING),
    "avif exif": encode(ONE, "AVIF", exif=UNFOLDING),
    "zTXt": png(chunk(b"zTXt", b"k\0\0" + ZEROS)),
    "iTXt": png(chunk(b"iTXt", b"k\0\1\0\0\0" + ZEROS)),
    "iCCP": png(chunk(b"iCCP", b"k\0\0" + ZEROS)),
    "IDAT": png(data=ZEROS),
    "large": png(data=ZEROS, size=(30_000, 30_000)),
    "GIF": GIF.replace(b"\x04\0\x04\0", b"\xff\xff\xff\xff", 1),
    "PPM": b"P6 40000 40000 255 \n\0",
    "head": b"P6 1 1 255 " + b"\n" * 100_000,
}

MEASURE = """
import json, pathlib, sys, types
# Without TensorFlow, which takes more memory than pictures do.
package = types.ModuleType("atelier")
package.__path__ = [sys.argv[2] + "/atelier"]
sys.modules["atelier"] = package
from atelier.errors import ImageError
from atelier.images import load_image

def held(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

grown = {}
for times in range(2):  # The first reading of a kind also loads what reads it.
    for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
        try:
            load_image(file, alpha="keep")
        except ImageError:
            pass
        grown[file.name] = held("VmHWM") - before
print(json.dumps(grown))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such /proc")
def test_memory_is_within_the_stated_bound(tmp_path):
    side = 1000
    y, x = np.mgrid[:side, :side]
    picture = np.uint8(np.stack([x // 8, y // 8, (x * y) // 999, x + y], axis=-1) % 256)
    exif = Image.Exif()
    exif[0x0112] = 6
    image, grey = Image.fromarray(picture), Image.fromarray(picture[..., 0])
    allowed = {}
    for name, data in BOMBS.items():
        (tmp_path / name).write_bytes(data)
        allowed[name] = 2 * len(data) + 2**22 + HEAD_BYTES * name.endswith("exif")
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
        allowed[name] = 2 * (tmp_path / name).stat().st_size + BYTES_A_PIXEL * side**2
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert {name: grown[name] for name in allowed if grown[name] > allowed[name]} == {}


def test_tiles_larger_than_the_picture_are_refused(refusal):
    whole = encode(Image.new("RGB", (64, 64)), "TIFF", compression="tiff_deflate", tile=(64, 64))
    with Image.open(io.BytesIO(whole)) as image:
        tiled = 322 in image.tag_v2
    if not tiled:
        whole = _tiled(whole)
    assert "are too large" in refusal(load_image, whole)


def _tiled(whole: bytes) -> bytes:
    """A TIFF whose strip is called a tile of 40,000×40,000."""
    (start,) = struct.unpack("<I", whole[4:8])
    (count,) = struct.unpack("<H", whole[start : start + 2])
    entries = [whole[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    changed = []
    for entry in entries:
        tag, kind, number, value = struct.unpack("<HHII", entry)
        if tag == 278:
            continue
        tag = {273: 324, 279: 325}.get(tag, tag)
        changed.append((tag, kind, number, value))
    changed += [(322, 4, 1, 40_000), (323, 4, 1, 40_000)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(changed))
    table = struct.pack("<H", len(changed)) + table + b"\0\0\0\0"
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + table


# === EXIF and profiles ===


@given(garbage=st.binary(max_size=60))
def test_damaged_exif_and_profiles_are_passed_over(garbage):
    image = Image.new("RGB", (3, 2), (200, 0, 0))
    for data in (
        png(chunk(b"eXIf", garbage), size=(3, 2)),
        encode(image, "JPEG", exif=b"Exif\0\0" + garbage),
        encode(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + garbage),
        encode(image, "PNG", icc_profile=garbage or b"x"),
        encode(image, "WEBP", exif=garbage or b"x", icc_profile=garbage or b"x"),
    ):
        shape = load_image(data).shape
        assert shape in ((2, 3, 3), (3, 2, 3))
        assert picture_size(data) == shape[:2]
