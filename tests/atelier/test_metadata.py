"""What a picture's file says beside its pixels goes from what is read to what is written."""

import io
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from atelier.errors import ImageError
from atelier.media.formats import exif, metadata
from atelier.media.formats.metadata import Metadata
from atelier.media.images import Picture, load_image, load_picture, save_image, write_png

GPS = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
MAKER = b"Maker\0\1\2" + bytes(range(60))
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6">'
    b"<dc:title>A day</dc:title><xmp:Thumbnails>/9j/4AAQ</xmp:Thumbnails>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
SUFFIXES = (".jpg", ".png", ".webp", ".tif", ".avif")


def block(orientation: int = 6) -> bytes:
    """EXIF data as a camera writes it, without a thumbnail."""
    data = Image.Exif()
    data[ExifTags.Base.Make] = "Camera works"
    data[ExifTags.Base.Orientation] = orientation
    data[ExifTags.Base.DateTime] = "2026:05:01 10:00:00"
    data[ExifTags.Base.Copyright] = "A photographer"
    data.get_ifd(ExifTags.IFD.GPSInfo).update(GPS)
    inner = data.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight] = 60, 40
    inner[ExifTags.Base.FNumber] = TiffImagePlugin.IFDRational(28, 10)
    inner[ExifTags.Base.ColorSpace] = 65535
    inner[ExifTags.Base.MakerNote] = MAKER
    return data.tobytes().removeprefix(exif.PREFIX)


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """A little-endian block with a second directory, as cameras append it."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    data = bytearray(data + bytes(len(data) % 2))
    struct.pack_into(order + "I", data, start + 2 + 12 * count, len(data))
    place = len(data) + 2 + 2 * 12 + 4
    data += struct.pack(order + "H", 2)
    data += struct.pack(order + "HHII", 513, 4, 1, place)
    data += struct.pack(order + "HHII", 514, 4, 1, len(thumbnail))
    return bytes(data + bytes(4) + thumbnail)


def write(kind: str, *, size=(60, 40), data: bytes | None = None, packet=XMP, **options) -> bytes:
    """The bytes of a file with everything."""
    file = io.BytesIO()
    picture = Image.fromarray(
        np.uint8(np.arange(3 * size[0] * size[1]).reshape(size[1], size[0], 3))
    )
    options.setdefault("dpi", (300, 300))
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
    elif kind == "TIFF":
        tags = Image.Exif()
        tags.load(block() if data is None else data)
        tags[TiffImagePlugin.XMP] = packet
        picture.save(file, "TIFF", tiffinfo=tags, **options)
        return file.getvalue()
    else:
        options["xmp"] = packet
    picture.save(file, kind, exif=exif.PREFIX + (block() if data is None else data), **options)
    return file.getvalue()


def facts(file) -> dict:
    """What Pillow reads of a file."""
    with Image.open(file) as image:
        image.load()
        data = image.getexif()
        inner = data.get_ifd(ExifTags.IFD.Exif)
        return {
            "make": data.get(ExifTags.Base.Make),
            "orientation": data.get(ExifTags.Base.Orientation, 1),
            "copyright": data.get(ExifTags.Base.Copyright),
            "gps": {tag: value for tag, value in data.get_ifd(ExifTags.IFD.GPSInfo).items()},
            "size": (
                inner.get(ExifTags.Base.ExifImageWidth),
                inner.get(ExifTags.Base.ExifImageHeight),
            ),
            "f": float(inner.get(ExifTags.Base.FNumber, 0)),
            "maker": inner.get(ExifTags.Base.MakerNote),
            "thumbnail": bool(data.get_ifd(ExifTags.IFD.IFD1)),
            "xmp": image.info.get("xmp", b""),
            "dpi": image.info.get("dpi"),
            "pixels": image.size,
        }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_says_is_kept_and_upright(tmp_path, kind, suffix):
    picture = load_picture(write(kind))
    turned = kind != "AVIF"  # There it is a property of the picture, which Pillow writes.
    assert picture.image.shape == ((60, 40, 3) if turned else picture.image.shape)
    large = np.repeat(np.repeat(picture.image, 2, axis=0), 2, axis=1)
    assert save_image(tmp_path / f"x{suffix}", large, metadata=picture.metadata) == ()
    said = facts(tmp_path / f"x{suffix}")
    assert said["make"] == "Camera works"
    assert said["copyright"] == "A photographer"
    assert said["orientation"] == 1
    assert said["gps"] == GPS
    assert said["size"] == (large.shape[1], large.shape[0]) == said["pixels"]
    assert said["f"] == 2.8
    assert bytes(said["maker"]) == MAKER
    assert b"<dc:title>A day</dc:title>" in said["xmp"]
    assert b'tiff:Orientation="6"' not in said["xmp"]
    assert b"Thumbnails" not in said["xmp"]
    if suffix in (".jpg", ".png", ".tif") and kind in ("JPEG", "PNG", "TIFF"):
        assert said["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_stripped_tells_of_no_camera_and_no_place(tmp_path, suffix):
    picture = load_picture(write("JPEG"))
    assert (
        save_image(tmp_path / f"x{suffix}", picture.image, metadata=picture.metadata.stripped())
        == ()
    )
    said = facts(tmp_path / f"x{suffix}")
    assert (said["make"], said["gps"], said["xmp"], said["maker"]) == (None, {}, b"", None)
    for text in (b"Camera works", b"A day", b"photographer"):
        assert text not in (tmp_path / f"x{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_formats_without_a_resolution_say_it_in_exif(tmp_path, suffix):
    save_image(
        tmp_path / f"x{suffix}", np.zeros((8, 8, 3), np.uint8), metadata=Metadata(dpi=(300, 150))
    )
    with Image.open(tmp_path / f"x{suffix}") as image:
        said = image.getexif()
    assert (said[282], said[283], said[296]) == (300, 150, 2)


def test_formats_that_hold_nothing_say_so(tmp_path):
    picture = load_picture(write("JPEG"))
    notes = save_image(tmp_path / "x.bmp", picture.image, metadata=picture.metadata)
    assert notes == (
        "EXIF data is left out: BMP cannot hold it",
        "XMP data is left out: BMP cannot hold it",
    )
    with Image.open(tmp_path / "x.bmp") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert save_image(tmp_path / "y.bmp", picture.image, metadata=picture.metadata.stripped()) == ()


def test_standard_output_says_it_too():
    picture, stream = load_picture(write("JPEG")), io.BytesIO()
    assert write_png(stream, picture.image, picture.metadata) == ()
    assert facts(stream)["gps"] == GPS


def test_without_metadata_nothing_is_written(tmp_path):
    save_image(tmp_path / "x.jpg", load_image(write("JPEG")))
    assert b"Exif" not in (tmp_path / "x.jpg").read_bytes()


def test_a_picture_is_a_source_that_keeps_what_it_says():
    picture = load_picture(write("PNG"))
    again = load_picture(picture, grey="keep")
    assert isinstance(again, Picture)
    assert again.metadata == picture.metadata
    np.testing.assert_array_equal(again.image, picture.image)


# === The block ===


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_goes_and_all_else_stays_in_its_place(order):
    data = Image.Exif()
    data.load(block())
    data.endian = order
    whole = data.tobytes().removeprefix(exif.PREFIX)
    assert whole[:2] == (b"II" if order == "<" else b"MM")
    thumbnail = b"\xff\xd8" + b"face" * 50 + b"\xff\xd9"
    result = exif.upright(with_thumbnail(whole, thumbnail), srgb=False)
    assert b"face" not in result
    assert len(result) <= len(whole) + 1
    changed = [i for i, (a, b) in enumerate(zip(whole, result, strict=False)) if a != b]
    assert len(changed) == 1  # The orientation's byte.
    read = Image.Exif()
    read.load(result)
    assert read[ExifTags.Base.Orientation] == 1
    assert not read.get_ifd(ExifTags.IFD.IFD1)


def test_a_thumbnail_amid_the_block_is_blank_and_moves_nothing():
    whole = with_thumbnail(block(), b"face" * 20) + b"of a maker's own"
    result = exif.upright(whole, srgb=False)
    assert b"face" not in result
    assert len(result) == len(whole)
    assert result.endswith(b"of a maker's own")


def test_converted_colours_are_srgb_in_exif_too():
    def space(**options) -> int:
        read = Image.Exif()
        read.load(exif.upright(block(), **options))
        return read.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace]

    assert (space(srgb=True), space(srgb=False)) == (1, 65535)


@pytest.mark.parametrize("length", range(0, 300, 7))
def test_a_block_that_ends_too_early_is_left_out_and_named(tmp_path, length):
    file = write("PNG", data=block()[:length] or b"x")
    picture = load_picture(file)
    assert picture.image.shape[2] == 3
    if picture.metadata.exif:  # What is cut off may be of no use.
        return
    (note,) = picture.metadata.notes
    assert note.startswith("EXIF data is left out: ")
    assert save_image(tmp_path / "x.jpg", picture.image, metadata=picture.metadata) == (note,)
    assert facts(tmp_path / "x.jpg")["make"] is None


def test_damage_anywhere_in_a_block_costs_no_picture(tmp_path):
    draw, whole = np.random.default_rng(5), with_thumbnail(block(), b"face" * 20)
    kept = 0
    for number in range(150):
        bad = bytearray(whole)
        for place in draw.integers(0, len(bad), 2):
            bad[place] = draw.integers(256)
        picture = load_picture(write("PNG", data=bytes(bad), size=(6, 4)))
        suffix = (".jpg", ".png", ".tif", ".webp")[number % 4]
        notes = save_image(tmp_path / f"x{suffix}", picture.image, metadata=picture.metadata)
        kept += not notes
        assert load_image(tmp_path / f"x{suffix}").shape == picture.image.shape
    assert 50 < kept < 150


def test_what_the_writer_cannot_write_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "_tiff_tags", lambda *_: {270: object()})
    picture = load_picture(write("JPEG"))
    (note,) = save_image(tmp_path / "x.tif", picture.image, metadata=picture.metadata)
    assert note.startswith("EXIF and XMP data are left out: ")
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif"), picture.image)


def test_values_on_the_same_bytes_are_left_out():
    """Two entries of 40 bytes in a block of 70."""
    data = b"II*\0" + struct.pack("<IH", 8, 2)
    for tag in (271, 272):
        data += struct.pack("<HHII", tag, 2, 40, 38)
    data += bytes(4) + b"x" * 40
    with pytest.raises(ValueError, match="overlap"):
        exif.upright(data, srgb=False)


def test_more_than_the_bound_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(exif, "EXIF_BYTES", 100)
    monkeypatch.setattr(metadata, "XMP_BYTES", 100)
    for kind in KINDS:
        assert load_picture(write(kind)).metadata.notes == (
            "EXIF data is left out: it takes more than 100 bytes",
            "XMP data is left out: it takes more than 100 bytes",
        )


def test_xmp_beyond_a_jpeg_segment_is_left_out_of_jpeg_alone(tmp_path):
    packet = XMP.replace(b"A day", b"d" * 70_000)
    picture = load_picture(write("PNG", packet=packet))
    (note,) = save_image(tmp_path / "x.jpg", picture.image, metadata=picture.metadata)
    assert note == "XMP data is left out: a JPEG file holds 65,502 bytes of it"
    assert save_image(tmp_path / "x.webp", picture.image, metadata=picture.metadata) == ()


def test_exif_that_imagemagick_wrote_as_text_is_kept():
    text = "\nexif\n" + f"{len(block()) + 6:8d}\n" + (exif.PREFIX + block()).hex()
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type exif", text)
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, "PNG", pnginfo=chunks)
    kept = load_picture(file.getvalue()).metadata
    assert kept.notes == ()
    assert b"Camera works" in kept.exif


@pytest.mark.parametrize("dpi", [(0, 0), (300, 0)])
def test_a_resolution_of_nothing_is_none(dpi):
    assert load_picture(write("PNG", dpi=dpi)).metadata.dpi is None


# === Colours ===


def profile(name: str) -> bytes:
    """A profile of sRGB's colours under another name."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    old = "sRGB built-in".encode("utf-16-be")
    assert made.count(old) == 1
    return made.replace(old, name.ljust(13)[:13].encode("utf-16-be"))


def test_converted_colours_are_named_and_the_result_has_no_other_profile(tmp_path):
    picture = load_picture(write("JPEG", icc_profile=profile("Wide colours")))
    note = "colours are sRGB now, no longer Wide colours"
    assert picture.metadata.notes == (note,)
    assert save_image(tmp_path / "x.jpg", picture.image, metadata=picture.metadata) == (note,)
    with Image.open(tmp_path / "x.jpg") as image:
        assert "icc_profile" not in image.info
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] == 1
    assert save_image(tmp_path / "y.jpg", picture.image, metadata=picture.metadata.stripped()) == (
        note,
    )


def test_a_profile_of_srgb_is_not_worth_a_word():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert load_picture(write("JPEG", icc_profile=srgb)).metadata.notes == ()


def test_files_that_are_no_pictures_are_refused_as_ever(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        load_picture(tmp_path / "none.jpg")
