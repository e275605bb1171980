"""TIFF files that Pillow reads wrongly, to fewer bits, or not at all."""

import struct

import numpy as np
import pytest
import tifffile

from atelier.errors import ImageError
from atelier.media.formats import tiff
from atelier.media.images import load_image, load_picture

Y, X = np.mgrid[0:40, 0:56]
PHOTO = np.stack([X / 55, Y / 39, (X + Y) / 94], axis=-1)
GREY = PHOTO[..., 2]


def levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255)


def written(tmp_path, values: np.ndarray, **options) -> str:
    tifffile.imwrite(tmp_path / "x.tif", values, **options)
    return tmp_path / "x.tif"


def of_type(values: np.ndarray, dtype: str) -> np.ndarray:
    most = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (values * most).round(0 if most > 1 else 9).astype(dtype)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("dtype", ["u2", ">u2", "u4", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_colours_of_every_type_are_read(tmp_path, dtype, planes, tile):
    values = of_type(PHOTO, dtype)
    if planes:
        values = np.moveaxis(values, -1, 0)
    options = {"planarconfig": "separate" if planes else "contig", "tile": tile}
    options["byteorder"] = ">" if dtype[0] == ">" else "<"
    file = written(tmp_path, values, photometric="rgb", **options)
    np.testing.assert_allclose(load_image(file), levels(PHOTO), atol=1)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
@pytest.mark.parametrize("white", [False, True])
def test_grey_is_no_negative(tmp_path, dtype, white):
    values = of_type(1 - GREY if white else GREY, dtype)
    file = written(tmp_path, values, photometric="miniswhite" if white else "minisblack")
    np.testing.assert_allclose(load_image(file, grey="keep"), levels(GREY), atol=1)


def test_colours_and_grey_of_16_bits_keep_their_opacity(tmp_path):
    opacity = of_type(PHOTO[..., 0], "u2")
    rgba = np.dstack([of_type(PHOTO, "u2"), opacity])
    for values, options in (
        (rgba, {}),
        (np.moveaxis(rgba, -1, 0), {"planarconfig": "separate"}),
        (np.dstack([of_type(GREY, "u2"), opacity]), {"photometric": "minisblack"}),
    ):
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"], **options}
        loaded = load_image(written(tmp_path, values, **options), alpha="keep")
        np.testing.assert_allclose(loaded[..., 3], levels(PHOTO[..., 0]), atol=1)
        np.testing.assert_allclose(loaded[..., 2], levels(GREY), atol=1)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_are_unpacked(bits):
    values = np.rint(PHOTO[:5, :7] * (2**bits - 1)).astype(int)
    rows = ["".join(f"{value:0{bits}b}" for value in row.ravel()) for row in values]
    packed = [row.ljust(-(-len(row) // 8) * 8, "0") for row in rows]
    row = len(packed[0]) // 8
    data = int("".join(packed), 2).to_bytes(5 * row, "big")
    found = [
        tiff._block(data[i * row : (i + 1) * row], 1, row, 21, bits, np.dtype("u2"), True)
        for i in range(5)
    ]
    np.testing.assert_array_equal(np.concatenate(found), values.reshape(5, 21))


@pytest.mark.parametrize("compression", ["zlib"])
@pytest.mark.parametrize("white", [False, True])
def test_compressed_grey_of_12_bits_in_16(tmp_path, compression, white):
    values = np.rint(GREY * 4095).astype(np.uint16)
    options = {"photometric": "miniswhite" if white else "minisblack", "compression": compression}
    picture = load_picture(written(tmp_path, values, **options), grey="keep")
    np.testing.assert_allclose(picture.image, levels(1 - GREY if white else GREY), atol=1)
    assert picture.metadata.notes == ("its values end at 4,095: taken for 12 bits in 16",)


def test_compressed_colours_of_floats(tmp_path):
    file = written(tmp_path, PHOTO.astype("f4"), photometric="rgb", compression="zlib")
    np.testing.assert_allclose(load_image(file), levels(PHOTO), atol=1)


def test_compressed_planes_are_read(tmp_path):
    values = np.moveaxis(of_type(PHOTO, "u2"), -1, 0)
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"}
    np.testing.assert_allclose(
        load_image(written(tmp_path, values, **options)), levels(PHOTO), atol=1
    )


def test_what_cannot_be_read_is_named(tmp_path):
    five = np.zeros((8, 8, 5), np.uint16)
    file = written(tmp_path, five, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match=r"x\.tif: a TIFF file of 5 × 16 bits, photometric 1"):
        load_image(file)


def with_preview(tmp_path, main: np.ndarray, **options) -> str:
    small = np.zeros((10, 14, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(small, photometric="rgb", subfiletype=1, subifds=1)
        writer.write(main, subfiletype=0, **options)
    return tmp_path / "x.tif"


def test_a_raw_photo_is_refused_by_name_and_its_preview_not_taken_for_it(tmp_path):
    pattern = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes([0, 1, 1, 2]), True)]
    file = with_preview(
        tmp_path, np.zeros((40, 56), np.uint16), photometric="cfa", extratags=pattern
    )
    with pytest.raises(ImageError) as caught:
        load_image(file)
    words = "a raw photo of 56×40, before which a preview of 14×10 stands: raw photos are not"
    assert str(caught.value).startswith(f"{file}: {words}")


@pytest.mark.parametrize("kind", [0, 1])
def test_a_raw_photo_below_any_first_picture_is_found(tmp_path, kind):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(
            np.zeros((10, 14, 3), np.uint8), photometric="rgb", subfiletype=kind, subifds=1
        )
        writer.write(np.zeros((40, 56), np.uint16), photometric="cfa")
    with pytest.raises(ImageError, match="a raw photo of 56×40, before which a preview"):
        load_image(tmp_path / "x.tif")


def test_a_raw_photo_of_canon_is_refused_by_name(tmp_path):
    whole = written(tmp_path, np.zeros((10, 14, 3), np.uint8), photometric="rgb").read_bytes()
    moved = len(whole) + len(whole) % 2
    (start,) = struct.unpack_from("<I", whole, 4)
    # The directory goes to the end, and its first bytes make room for Canon's letters.
    count = struct.unpack_from("<H", whole, start)[0]
    directory = whole[start : start + 2 + 12 * count + 4]
    canon = whole[:4] + struct.pack("<I", moved) + b"CR" + whole[10:]
    canon = canon.ljust(moved, b"\0") + directory
    with pytest.raises(ImageError, match="a raw photo that begins with a preview of 14×10"):
        load_image(canon)


def test_pages_that_are_no_raw_photos_are_below_an_ordinary_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(of_type(PHOTO, "u1"), photometric="rgb", subfiletype=0, subifds=1)
        writer.write(np.zeros((10, 14, 3), np.uint8), photometric="rgb", subfiletype=1)
    np.testing.assert_allclose(load_image(tmp_path / "x.tif"), levels(PHOTO), atol=1)


def test_behind_a_preview_the_main_picture_is_read(tmp_path):
    file = with_preview(tmp_path, of_type(PHOTO, "u2"), photometric="rgb")
    np.testing.assert_allclose(load_image(file), levels(PHOTO), atol=1)
    with pytest.raises(ImageError, match="56×40 is more than 1,000 pixels"):
        load_image(file, max_pixels=1000)


def test_directories_are_bounded(tmp_path, monkeypatch):
    file = with_preview(tmp_path, of_type(PHOTO, "u2"), photometric="rgb")
    monkeypatch.setattr(tiff, "MAX_DIRECTORIES", 0)
    assert load_image(file).shape == (10, 14, 3)


def test_parts_are_bounded(tmp_path, monkeypatch):
    file = written(tmp_path, of_type(PHOTO, "u2"), photometric="rgb", rowsperstrip=1)
    monkeypatch.setattr(tiff, "MAX_PARTS", 39)
    with pytest.raises(ImageError, match="its strips are not all there"):
        load_image(file)


@pytest.mark.parametrize("options", [{}, {"planarconfig": "separate"}, {"tile": (16, 16)}])
def test_files_cut_anywhere_are_one_line(tmp_path, options):
    values = of_type(PHOTO, "u2")
    values = np.moveaxis(values, -1, 0) if "planarconfig" in options else values
    whole = written(tmp_path, values, photometric="rgb", **options).read_bytes()
    for length in range(1, len(whole) * 2 // 3, 331):
        with pytest.raises(ImageError) as caught:
            load_image(whole[:length])
        assert "\n" not in str(caught.value)


def test_orientation_and_profile_hold_for_what_pillow_cannot_read(tmp_path):
    turned = of_type(np.rot90(PHOTO), "f4")
    tags = [(274, "H", 1, 6, True)]
    file = written(tmp_path, turned, photometric="rgb", extratags=tags)
    np.testing.assert_allclose(load_image(file), levels(PHOTO), atol=1)
