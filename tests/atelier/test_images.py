"""Pictures of every kind in, and out again."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from atelier.errors import ImageError, OutputError
from atelier.media import decoding, images
from atelier.media.images import (
    READABLE,
    find_pictures,
    fit_size,
    load_image,
    others_below,
    resize,
    sample,
    save_image,
)
from atelier.media.opening import OPTIONAL, OPTIONAL_SUFFIXES

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    """A picture as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, *, bits: int, colour: int) -> bytes:
    """A PNG of given scan lines: kinds that Pillow reads and does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png16(pixels: list, colour: int) -> bytes:
    """A 16-bit PNG of one row; each pixel a tuple of channels."""
    row = b"\0" + np.asarray(pixels, ">u2").tobytes()
    return png(len(pixels), 1, row, bits=16, colour=colour)


def refusal(source, **options) -> str:
    """The one line with which a picture is refused."""
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def colours(image: np.ndarray) -> list:
    return image.reshape(-1, image.shape[-1]).tolist()


# === Sources ===


def test_every_source_gives_the_same_pixels(tmp_path, photo):
    file = tmp_path / "photo.png"
    Image.fromarray(photo).save(file)
    for source in (str(file), file, file.read_bytes(), Image.fromarray(photo), photo):
        loaded = load_image(source)
        assert loaded.dtype == np.uint8
        np.testing.assert_array_equal(loaded, photo)


def test_bytes_of_all_kinds_and_open_files_are_sources(tmp_path, photo):
    data = encode(Image.fromarray(photo), "PNG")
    (tmp_path / "x.png").write_bytes(data)
    for source in (bytearray(data), memoryview(data), io.BytesIO(data)):
        np.testing.assert_array_equal(load_image(source), photo)
    with open(tmp_path / "x.png", "rb") as file:
        np.testing.assert_array_equal(load_image(file), photo)
        assert not file.closed


@pytest.mark.parametrize("source", [0, 1.5, None, [1, 2], {"a": 1}, object()])
def test_what_is_no_source_is_a_type_error_that_says_what_is(source):
    with pytest.raises(TypeError, match=f"a picture is a path, .* not {type(source).__name__}"):
        load_image(source)


def test_the_number_of_an_open_file_is_no_source():
    number = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(TypeError):
        load_image(number)
    os.close(number)  # Fails if it has been closed.


def test_a_file_that_is_open_for_text_is_a_type_error(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with open(tmp_path / "x.txt") as file, pytest.raises(TypeError, match="opened for bytes"):
        load_image(file)


def test_an_open_file_is_read_up_to_the_bound(monkeypatch):
    monkeypatch.setattr(images, "file_bound", lambda max_pixels=None: 20)
    assert "more than 20 bytes" in refusal(io.BytesIO(bytes(30)))


def test_a_fault_of_our_own_is_not_called_damage(monkeypatch, photo):
    def fails(image, *_):
        raise KeyError("ours")

    monkeypatch.setattr(decoding, "to_srgb", fails)
    with pytest.raises(KeyError, match="ours"):
        load_image(encode(Image.fromarray(photo), "PNG"))


@pytest.mark.parametrize("keep", ["flatten", "keep"])
def test_a_result_never_shares_memory_with_its_source(photo, keep):
    rgba = np.dstack([photo, photo[..., 0]])
    for array in (photo, rgba):
        for source in (array, Image.fromarray(array)):
            loaded = load_image(source, alpha=keep)
            loaded[:] = 0  # Fails if it is read-only.
            assert array.any()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays_become_rgb(shape):
    grey = np.arange(6, dtype=np.uint8).reshape(shape)
    loaded = load_image(grey)
    assert loaded.shape == (2, 3, 3)
    assert loaded[1, 2].tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((2, 2, 3), 2.0), "floats must be in [0, 1], not from 2 to 2"),
        (np.full((2, 2, 3), np.nan), "floats must be in [0, 1], not from nan to nan"),
        (np.zeros((2, 2, 3), bool), "must be uint8, uint16 or floats in [0, 1], not bool"),
        (np.zeros((2, 2, 3), np.int64), "not int64"),
        (np.zeros((2, 2, 2), np.uint8), r"not (2, 2, 2)"),
        (np.zeros((1, 2, 2, 3), np.uint8), "not (1, 2, 2, 3)"),
        (np.zeros(4, np.uint8), "not (4,)"),
        (np.zeros((0, 2, 3), np.uint8), "no pixels"),
        (np.zeros((2, 0), np.uint8), "no pixels"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array, reason):
    assert reason in refusal(array)


def test_one_pixel_is_a_picture(tmp_path):
    save_image(tmp_path / "dot.png", np.full((1, 1, 3), 7, np.uint8))
    assert colours(load_image(tmp_path / "dot.png")) == [[7, 7, 7]]


# === Files that are no pictures ===


def test_an_empty_file_is_refused_by_name(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert refusal(tmp_path / "empty.jpg") == f"{tmp_path / 'empty.jpg'}: the file is empty"
    assert refusal(b"") == "picture: the file is empty"


def test_text_renamed_to_jpg_is_refused_by_name(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture at all")
    assert refusal(tmp_path / "text.jpg").endswith(
        "text.jpg: not a picture in a format that can be read"
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_truncated_file_is_refused_by_name(tmp_path, photo, kind):
    whole = encode(Image.fromarray(photo), kind)
    file = tmp_path / "cut"
    file.write_bytes(whole[: len(whole) // 2])
    assert refusal(file).startswith(f"{file}: ")


def test_a_truncated_jpeg_is_called_so(tmp_path, photo):
    file = tmp_path / "cut.jpg"
    file.write_bytes(encode(Image.fromarray(photo), "JPEG")[:-100])
    assert f"{file}: damaged or truncated (" in refusal(file)


def test_a_truncated_picture_that_pillow_opened_is_refused_too(tmp_path, photo):
    file = tmp_path / "cut.jpg"
    file.write_bytes(encode(Image.fromarray(photo), "JPEG")[:-100])
    with Image.open(file) as lazy:
        assert refusal(lazy).startswith("picture: damaged or truncated (")


def test_missing_files_folders_and_impossible_names_are_told_apart(tmp_path):
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "none.jpg") == f"{tmp_path / 'none.jpg'}: no such file"
    assert refusal(tmp_path) == f"{tmp_path}: a folder, not a picture"
    assert "cannot be read" in refusal(tmp_path / "file" / "below.jpg")
    assert "cannot be read" in refusal(str(tmp_path / "x\0y.jpg"))
    assert "cannot be read" in refusal(tmp_path / ("x" * 300 + ".jpg"))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc")
def test_a_file_that_cannot_be_read_is_one_line():
    assert refusal("/proc/self/mem").startswith("/proc/self/mem: cannot be read (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_line(tmp_path):
    (tmp_path / "secret.png").touch(mode=0)
    assert "cannot be read" in refusal(tmp_path / "secret.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "PPM"])
def test_files_cut_anywhere_are_one_line(photo, kind):
    whole = encode(Image.fromarray(photo[:24, :32]), kind)
    assert load_image(whole).shape == (24, 32, 3)
    for length in range(0, len(whole) - 40, 37):
        assert "picture: " in refusal(whole[:length])


# === Too large ===


def test_the_bound_is_on_width_times_height():
    assert "4×3 is more than 11 pixels" in refusal(np.zeros((3, 4), np.uint8), max_pixels=11)
    assert load_image(np.zeros((3, 4), np.uint8), max_pixels=12).shape == (3, 4, 3)
    header = png(4, 3, b"", bits=8, colour=2)  # It is refused before its pixels are looked for.
    assert refusal(header, max_pixels=11) == "picture: 4×3 is more than 11 pixels"


def test_a_bound_beyond_pillows_names_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    picture = encode(Image.new("L", (7, 3)), "PNG")
    assert refusal(picture, max_pixels=1000) == "picture: more than 20 pixels"


# === Kinds of pictures ===


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_grey_files_become_rgb(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load_image(encode(Image.new("L", (8, 8), 90), kind, **options), alpha="keep")
    assert loaded.shape == (8, 8, 3)
    assert set(loaded.ravel().tolist()) == {90}


def test_black_and_white_become_0_and_255():
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    assert colours(load_image(encode(picture, "PNG"))) == [[0, 0, 0], [255, 255, 255]]


def palette_picture() -> Image.Image:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((1, 0), 1)
    return picture


def test_palette_files_become_rgb():
    assert colours(load_image(encode(palette_picture(), "PNG"), alpha="keep")) == [
        [*RED],
        [*BLUE],
    ]


def test_a_palettes_transparent_entry_is_transparent():
    picture = encode(palette_picture(), "PNG", transparency=1)
    assert colours(load_image(picture, alpha="keep")) == [[*RED, 255], [*BLUE, 0]]
    assert colours(load_image(picture)) == [[*RED], [255, 255, 255]]


def test_a_colour_that_stands_for_transparency_is_transparent():
    picture = Image.new("RGB", (2, 1), RED)
    picture.putpixel((1, 0), GREEN)
    loaded = load_image(encode(picture, "PNG", transparency=GREEN), alpha="keep")
    assert loaded[0, :, 3].tolist() == [255, 0]


def test_alpha_is_laid_on_the_background_or_kept():
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 51], [200, 100, 0, 0]]], np.uint8)
    for source in (rgba, encode(Image.fromarray(rgba), "PNG")):
        np.testing.assert_array_equal(load_image(source, alpha="keep"), rgba)
        # 51 / 255 = 0.2: 0.2 * 200 + 0.8 * 255 = 244, and so on.
        assert colours(load_image(source)) == [[200, 100, 0], [244, 224, 204], [255, 255, 255]]
        on_black = load_image(source, background=(0, 10, 20))
        assert colours(on_black) == [[200, 100, 0], [40, 28, 16], [0, 10, 20]]


def test_grey_with_alpha_becomes_rgba():
    picture = Image.new("LA", (2, 1), (80, 255))
    picture.putpixel((1, 0), (80, 0))
    loaded = load_image(encode(picture, "PNG"), alpha="keep")
    assert colours(loaded) == [[80, 80, 80, 255], [80, 80, 80, 0]]


def test_cmyk_jpeg_becomes_rgb():
    # Cyan absorbs red; all black ink is black.
    for ink, colour in (((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))):
        loaded = load_image(encode(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100))
        np.testing.assert_allclose(loaded[8, 8], colour, atol=2)


def test_16_bits_are_divided_by_257():
    values = [0, 257, 0x8080, 65535]
    expected = [0, 1, 128, 255]
    for colour, channels in ((0, 1), (2, 3)):
        loaded = load_image(png16([(v,) * channels for v in values], colour), alpha="keep")
        assert colours(loaded) == [[v] * 3 for v in expected], colour
    for colour, channels in ((4, 2), (6, 4)):
        loaded = load_image(png16([(v,) * channels for v in values], colour), alpha="keep")
        assert colours(loaded) == [[v] * 4 for v in expected], colour


def test_16_bit_tiff_of_both_byte_orders():
    values = np.array([[0, 257, 514, 65535]], np.uint16)
    little = encode(Image.fromarray(values), "TIFF")
    header = struct.pack(">2sHI", b"MM", 42, 8)
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (277, 3, 1)]
    tags += [(273, 4, 8 + 2 + 8 * 12 + 4), (278, 3, 1), (279, 4, 8)]
    tags = sorted(tags)
    start = 8 + 2 + len(tags) * 12 + 4
    big = header + struct.pack(">H", len(tags))
    for tag, kind, value in tags:
        value = start if tag == 273 else value
        packed = struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        big += struct.pack(">HHI", tag, kind, 1) + packed
    big += struct.pack(">I", 0) + values.astype(">u2").tobytes()
    for file in (little, big):
        assert colours(load_image(file)) == [[0] * 3, [1] * 3, [2] * 3, [255] * 3]


def test_32_bit_integers_have_the_bits_that_are_used():
    def loaded(values):
        return load_image(Image.fromarray(np.array([values], np.int32)))[0, :, 0].tolist()

    assert loaded([0, 100, 255]) == [0, 100, 255]
    assert loaded([0, 257, 65535]) == [0, 1, 255]
    assert loaded([-5, 65535, 2**20 - 1]) == [0, 16, 255]
    assert loaded([-100, 0, 100]) == [0, 128, 255]


def test_float_tiff_is_0_to_1_or_0_to_255_by_its_largest():
    def loaded(values):
        picture = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
        return load_image(picture)[0, :, 0].tolist()

    assert loaded([0, 0.2, 1]) == [0, 51, 255]
    assert loaded([0, 51, 255]) == [0, 51, 255]
    assert loaded([-1, 0, 300]) == [0, 0, 255]
    assert loaded([0, 1, np.nan, np.inf]) == [0, 255, 0, 255]


def floats(values) -> list[int]:
    """A float TIFF of one row, as it is read."""
    picture = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
    return load_image(picture)[0, :, 0].tolist()


def test_floats_that_overshoot_1_are_not_black():
    assert floats([0, 0.5, 1.01]) == [0, 128, 255]
    assert floats([-0.02, 0.2, 1, 1.9]) == [0, 51, 255, 255]


def test_some_highlights_among_floats_do_not_darken_the_rest():
    assert floats([*[0.5] * 999, 40.0])[::999] == [128, 255]


def test_floats_of_16_bits_are_not_white():
    assert floats([0, 257, 32896, 65535]) == [0, 1, 128, 255]


def transparent_png(pixels: list, colour: int, value: bytes) -> bytes:
    """A 16-bit PNG of one row, of which one value is transparent."""
    whole = png16(pixels, colour)
    place = whole.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(value)) + b"tRNS" + value
    return whole[:place] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + whole[place:]


def test_the_transparent_value_of_16_bit_grey_is_transparent():
    values = [(0x8080,), (0x8081,), (65535,)]
    file = transparent_png(values, 0, struct.pack(">H", 0x8081))
    loaded = load_image(file, alpha="keep")
    assert colours(loaded) == [[128] * 3 + [255], [128] * 3 + [0], [255] * 4]
    assert colours(load_image(file)) == [[128] * 3, [255] * 3, [255] * 3]
    assert load_image(file, grey="keep").shape == (1, 3, 3)


def test_the_transparent_colour_of_16_bits_is_transparent():
    values = [(0x4100,) * 3, (0x2041,) * 3]
    file = transparent_png(values, 2, struct.pack(">HHH", *values[1]))
    assert load_image(file, alpha="keep")[0, :, 3].tolist() == [255, 0]


def test_of_an_animation_the_first_frame_is_taken():
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    for kind in ("GIF", "PNG"):
        picture = encode(first, kind, save_all=True, append_images=[second], duration=50)
        loaded = load_image(picture)
        assert loaded.shape == (4, 4, 3)
        assert loaded[2, 2].tolist() == [*RED]


# === Grey that stays grey ===


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays_may_be_kept(shape):
    grey = np.arange(6, dtype=np.uint8).reshape(shape)
    loaded = load_image(grey, grey="keep")
    assert loaded.tolist() == [[0, 1, 2], [3, 4, 5]]
    loaded[:] = 9
    assert grey.max() == 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "PPM"])
def test_grey_files_may_be_kept(kind):
    values = np.tile(np.arange(0, 240, 15, dtype=np.uint8), (16, 1))
    options = {"quality": 100} if kind == "JPEG" else {}
    loaded = load_image(encode(Image.fromarray(values), kind, **options), grey="keep")
    assert loaded.shape == (16, 16)
    assert loaded.dtype == np.uint8
    np.testing.assert_allclose(loaded.astype(int), values, atol=1 if kind == "JPEG" else 0)
    assert load_image(Image.fromarray(values), grey="keep").shape == (16, 16)


def test_grey_of_1_16_and_32_bits_may_be_kept():
    bits = encode(Image.fromarray(np.array([[True, False]])), "PNG")
    assert load_image(bits, grey="keep").tolist() == [[255, 0]]
    assert load_image(png16([(0,), (257,), (65535,)], 0), grey="keep").tolist() == [[0, 1, 255]]
    floats = encode(Image.fromarray(np.array([[0, 0.2, 1]], np.float32)), "TIFF")
    assert load_image(floats, grey="keep").tolist() == [[0, 51, 255]]


def test_what_is_not_grey_is_not_made_grey():
    rgb = Image.new("RGB", (3, 2), (80, 80, 80))
    palette = Image.new("P", (3, 2))
    palette.putpalette([80, 80, 80])
    for picture in (rgb, palette):
        assert load_image(encode(picture, "PNG"), grey="keep").shape == (2, 3, 3)
    cmyk = encode(Image.new("CMYK", (3, 2), (0, 0, 0, 90)), "JPEG")
    assert load_image(cmyk, grey="keep").shape == (2, 3, 3)
    assert load_image(np.full((2, 3, 3), 80, np.uint8), grey="keep").shape == (2, 3, 3)


def test_grey_with_transparency_is_laid_on_its_background_in_rgb():
    half = encode(Image.new("LA", (2, 1), (80, 51)), "PNG")
    # 51 / 255 = 0.2: 0.2 * 80 + 0.8 * (255, 0, 0).
    loaded = load_image(half, grey="keep", background=RED)
    assert colours(loaded) == [[220, 16, 16]] * 2
    assert load_image(half, grey="keep", alpha="keep").shape == (1, 2, 4)
    key = encode(Image.new("L", (2, 1), 80), "PNG", transparency=80)
    assert load_image(key, grey="keep").shape == (1, 2, 3)


def test_kept_grey_is_turned_upright_and_bounded():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(np.uint8([[1, 2, 3], [4, 5, 6]]))))
    picture = encode(stored, "PNG", exif=exif)
    assert load_image(picture, grey="keep").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert "more than 5 pixels" in refusal(picture, grey="keep", max_pixels=5)


# === EXIF ===

UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {  # How a camera stores the upright picture with each value of the tag.
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),
    7: np.rot90(UPRIGHT, 2).T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    loaded = load_image(encode(picture.convert("RGB"), kind, exif=exif, **options))
    np.testing.assert_array_equal(loaded[..., 0], UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_of_a_jpeg_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.kron(STORED[orientation], np.ones((16, 16), np.uint8))  # JPEG blurs pixels.
    loaded = load_image(encode(Image.fromarray(blocks), "JPEG", quality=100, exif=exif))
    np.testing.assert_allclose(loaded[8::16, 8::16, 0], UPRIGHT, atol=2)


def test_orientation_holds_for_16_bits_and_for_pictures_in_memory():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(STORED[6]).astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_image(encode(stored, "PNG", exif=exif))[..., 0], UPRIGHT)
    stored = Image.fromarray(np.ascontiguousarray(STORED[6]))
    stored.getexif()[0x0112] = 6
    np.testing.assert_array_equal(load_image(stored)[..., 0], UPRIGHT)


def test_a_broken_exif_block_is_no_reason_to_refuse(photo):
    picture = encode(Image.fromarray(photo), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff broken")
    assert load_image(picture).shape == photo.shape


# === Colour profiles ===


def profile(red=(0.64, 0.33), green=(0.30, 0.60), blue=(0.15, 0.06), gamma=2.2) -> bytes:
    """A minimal ICC profile of given primaries (CIE xy) with white D65, adapted to D50."""
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    d65, d50 = np.array([0.95047, 1, 1.08883]), np.array([0.96422, 1, 0.82521])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ d65)) @ bradford
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    columns = adapt @ (primaries * np.linalg.solve(primaries, d65))

    def fixed(values) -> bytes:
        return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)

    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(d50), b"desc": text + bytes(-len(text) % 4)}
    for letter, column in zip(b"rgb", columns.T, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(column)
        tags[bytes([letter]) + b"TRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4sI4s4s4s", 128 + len(table + body), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + fixed(d50)
    return header.ljust(128, b"\0") + table + body


DISPLAY_P3 = {"red": (0.680, 0.320), "green": (0.265, 0.690), "blue": (0.150, 0.060)}
P3_200_100_100 = (216, 93, 97)
"""By hand: to the power 2.2, times P3's matrix to sRGB, whose rows are (1.2249, -0.2247, 0),
(-0.0420, 1.0419, 0) and (-0.0197, -0.0786, 1.0979), and sRGB's curve."""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_wide_gamut_profile_is_converted_to_srgb(kind):
    icc = profile(**DISPLAY_P3)
    options = {"PNG": {}, "TIFF": {}}.get(kind, {"quality": 100})
    picture = Image.new("RGB", (16, 16), (200, 100, 100))
    loaded = load_image(encode(picture, kind, icc_profile=icc, **options))
    np.testing.assert_allclose(loaded[8, 8], P3_200_100_100, atol=2)
    plain = load_image(encode(picture, kind, **options))
    np.testing.assert_allclose(plain[8, 8], (200, 100, 100), atol=2)


def test_an_srgb_profile_changes_nothing(photo):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = load_image(encode(Image.fromarray(photo), "PNG", icc_profile=icc))
    np.testing.assert_allclose(loaded.astype(int), photo, atol=1)


def test_a_palettes_profile_is_converted_as_its_colours_would_be():
    icc = profile(**DISPLAY_P3)
    picture = Image.new("P", (1, 1))
    picture.putpalette([200, 100, 100])
    in_colour = load_image(encode(picture.convert("RGB"), "PNG", icc_profile=icc))
    assert in_colour.tolist() != [[[200, 100, 100]]]
    in_palette = load_image(encode(picture, "PNG", icc_profile=icc))
    np.testing.assert_array_equal(in_palette, in_colour)


def test_alpha_goes_through_a_profile_unchanged():
    picture = Image.new("RGBA", (1, 1), (200, 100, 100, 77))
    loaded = load_image(encode(picture, "PNG", icc_profile=profile(**DISPLAY_P3)), alpha="keep")
    np.testing.assert_allclose(loaded[0, 0], (*P3_200_100_100, 77), atol=2)
    assert loaded[0, 0, 3] == 77


@pytest.mark.parametrize(
    "icc", [b"broken", profile()[:100], profile()[:200]], ids=["text", "half a header", "cut"]
)
def test_a_broken_profile_is_no_reason_to_refuse(photo, icc):
    for kind in ("PNG", "JPEG"):
        broken = load_image(encode(Image.fromarray(photo), kind, icc_profile=icc))
        np.testing.assert_array_equal(broken, load_image(encode(Image.fromarray(photo), kind)))


def test_a_profile_of_another_kind_of_colour_is_ignored():
    for mode, colour in (("L", 90), ("CMYK", (0, 0, 0, 0))):
        picture = Image.new(mode, (8, 8), colour)
        icc = profile(**DISPLAY_P3)
        kind = "JPEG" if mode == "CMYK" else "PNG"
        with_profile = load_image(encode(picture, kind, icc_profile=icc))
        np.testing.assert_array_equal(with_profile, load_image(encode(picture, kind)))


# === save_image ===


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".PNG"])
def test_lossless_formats_keep_every_pixel(tmp_path, photo, suffix):
    save_image(tmp_path / f"x{suffix}", photo)
    np.testing.assert_array_equal(load_image(tmp_path / f"x{suffix}"), photo)


@pytest.mark.parametrize("suffix", READABLE)
def test_every_suffix_that_is_read_can_be_written(tmp_path, photo, suffix):
    if suffix in OPTIONAL_SUFFIXES:
        pytest.importorskip(OPTIONAL[OPTIONAL_SUFFIXES[suffix]][0])
    file = tmp_path / f"x{suffix}"
    save_image(file, photo[..., 0] if suffix == ".pgm" else photo)
    assert load_image(file).shape == photo.shape


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_is_heeded(tmp_path, photo, suffix):
    for quality in (20, 95):
        save_image(tmp_path / f"{quality}{suffix}", photo, quality=quality)
    low, high = (tmp_path / f"{quality}{suffix}" for quality in (20, 95))
    assert low.stat().st_size < high.stat().st_size / 2
    assert np.abs(load_image(high).astype(int) - photo).mean() < 4


def test_jpeg_keeps_fine_colour(tmp_path):
    stripes = np.tile(np.array([RED, BLUE], np.uint8), (32, 16, 1))
    save_image(tmp_path / "x.jpg", stripes)
    # Chroma subsampling would mix neighbours into purple.
    assert np.abs(load_image(tmp_path / "x.jpg").astype(int) - stripes).mean() < 20


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_written_where_the_format_has_it(tmp_path, suffix):
    rgba = np.full((4, 4, 4), 128, np.uint8)
    save_image(tmp_path / f"x{suffix}", rgba)
    assert load_image(tmp_path / f"x{suffix}", alpha="keep").shape == (4, 4, 4)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".bmp", ".JPG"])
def test_alpha_is_laid_on_white_where_the_format_has_none(tmp_path, suffix):
    rgba = np.zeros((8, 8, 4), np.uint8)
    save_image(tmp_path / f"x{suffix}", rgba)
    assert (load_image(tmp_path / f"x{suffix}", alpha="keep") == 255).all()


@pytest.mark.parametrize("name", ["x", "x.xyz", "x.psd", "x.png.txt"])
def test_a_suffix_that_cannot_be_written_is_one_line(tmp_path, photo, name):
    with pytest.raises(OutputError, match=r"no picture format .* try \.png or \.jpg"):
        save_image(tmp_path / name, photo)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "side"), [("x.webp", 17_000), ("x.gif", 70_000)])
def test_a_picture_that_is_too_large_for_its_format_is_one_line(tmp_path, name, side):
    with pytest.raises(OutputError, match=f"cannot write .*{name}"):
        save_image(tmp_path / name, np.zeros((1, side, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_wide_for_its_format_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        save_image(tmp_path / "x.jpg", np.zeros((1, 70_000), np.uint8))
    assert not list(tmp_path.iterdir())


def test_an_existing_picture_is_kept_without_overwrite(tmp_path, photo):
    save_image(tmp_path / "x.png", photo, overwrite=False)
    with pytest.raises(OutputError, match="--overwrite"):
        save_image(tmp_path / "x.png", 255 - photo, overwrite=False)
    np.testing.assert_array_equal(load_image(tmp_path / "x.png"), photo)


# === find_pictures ===


def test_pictures_are_found_below_folders_in_order(tmp_path):
    for name in ("b.PNG", "a/z.jpg", "a/b/c.webp", "notes.txt", "a/no.suffix", "a/._z.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = ["a/b/c.webp", "a/z.jpg", "b.PNG"]
    assert find_pictures([tmp_path]) == [tmp_path / name for name in names]
    found = find_pictures([str(tmp_path / "a" / "b"), tmp_path / "a"])
    assert {file.name for file in found} == {"c.webp", "z.jpg"}


def test_what_is_passed_over_in_a_folder_is_told_by_kinds(tmp_path):
    for name in ("a.png", "b.JXL", "c.txt", "deeper/d.TXT", "deeper/e.mp4", "f", ".hidden.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x.heic").touch()
    told = "4 other files are passed over: 2 .txt, 1 .mp4, 1 without a suffix"
    lines = others_below([tmp_path, tmp_path / "one"])
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path}: 4 other files are passed over: 2 .txt, 1 ")
    assert sorted(lines[0].split(", ")) == sorted(f"{tmp_path}: {told}".split(", "))


def test_folders_without_pictures_are_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    folders = [tmp_path, tmp_path / "nowhere"]
    with pytest.raises(ImageError) as caught:
        find_pictures(folders)
    assert f"no pictures in {folders[0]}, {folders[1]}: looked for" in str(caught.value)
    with pytest.raises(ImageError):
        find_pictures([])


# === resize, fit_size, sample ===


@pytest.mark.parametrize(
    ("dtype", "channels"),
    [(np.uint8, c) for c in [(), (3,), (4,)]] + [(np.float32, c) for c in [(), (1,), (3,), (7,)]],
)
def test_resize_keeps_dtype_channels_and_flat_colour(dtype, channels):
    resized = resize(np.full((6, 9, *channels), 100, dtype), (4, 5))
    assert resized.shape == (4, 5, *channels)
    assert resized.dtype == dtype
    np.testing.assert_allclose(resized, 100, atol=1 if dtype == np.uint8 else 1e-3)


def test_resize_treats_each_float_channel_alone():
    planes = np.stack([np.zeros((8, 8)), np.ones((8, 8)), -np.ones((8, 8))], -1).astype(np.float32)
    np.testing.assert_allclose(resize(planes, (3, 5))[1, 2], [0, 1, -1], atol=1e-5)


def test_resize_antialiases():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, (64, 16))
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() <= 3


def test_resize_to_the_same_size_changes_nothing(photo):
    assert resize(photo, photo.shape[:2]) is photo


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((100, 200, 3), 50, (25, 50)),
        ((200, 100), 50, (50, 25)),
        ((30, 30, 4), 60, (60, 60)),
        ((3, 1000), 100, (1, 100)),
        ((1, 10_000), 10, (1, 10)),
        ((667, 1000), 512, (342, 512)),
    ],
)
def test_fit_size(shape, longest, expected):
    assert fit_size(shape, longest) == expected


def test_samples_come_with_scikit_image():
    assert load_image(sample("astronaut.png")).shape == (512, 512, 3)
    assert images.MAX_PIXELS == 100_000_000
