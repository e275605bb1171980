"""Colours by what a picture's file states."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from atelier.media.animations import open_animation
from atelier.media.formats import cicp, colour
from atelier.media.formats.cicp import coding, convert, to_bt709
from atelier.media.images import load_image, load_picture

P3_200_100_100 = (215, 92, 96)
"""Display P3 in sRGB, by hand: sRGB's curve, the matrix (1.2249, -0.2247, 0), (-0.0420, 1.0419, 0),
(-0.0196, -0.0786, 1.0979), and the curve back."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(image: Image.Image, *chunks: bytes, **options) -> bytes:
    """A PNG with further chunks behind its head."""
    whole = encode(image, "PNG", **options)
    return whole[:33] + b"".join(chunks) + whole[33:]


def cicp_chunk(primaries: int, transfer: int, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, full]))


def with_nclx(whole: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF file with other numbers in its nclx box."""
    place = whole.index(b"colrnclx") + 8
    return whole[:place] + struct.pack(">HH", primaries, transfer) + whole[place + 4 :]


def grey_profile(gamma: float) -> bytes:
    """A minimal ICC profile of grey with a power for its curve."""
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    white = b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in D50)
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"wtpt": white, b"desc": text + bytes(-len(text) % 4), b"kTRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 128 + len(table + body)
    head = struct.pack(">I4sI4s4s4s", size, b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + white[8:]
    return head.ljust(128, b"\0") + table + body


D50 = (0.9642, 1.0, 0.8249)
GREY_100 = 118
"""255 × sRGB's curve of (100 / 255)^1.8, by hand: 0.1854 of light."""


# === Grey with a profile ===


@pytest.mark.parametrize("grey", ["keep", "rgb"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_profile_of_grey_is_converted(kind, grey):
    options = {"quality": 100} if kind == "JPEG" else {}
    icc = grey_profile(1.8)
    whole = encode(Image.new("L", (16, 16), 100), kind, icc_profile=icc, **options)
    picture = load_picture(whole, grey=grey)
    assert picture.image.shape == ((16, 16) if grey == "keep" else (16, 16, 3))
    np.testing.assert_allclose(picture.image, GREY_100, atol=1)
    assert picture.metadata.notes == ("colours are sRGB now, no longer grey",)


@pytest.mark.parametrize("grey", ["keep", "rgb"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_profile_of_16_bit_grey_is_converted(kind, grey):
    values = np.full((4, 4), 100 * 257, np.uint16)
    whole = encode(Image.fromarray(values), kind, icc_profile=grey_profile(1.8))
    np.testing.assert_allclose(load_image(whole, grey=grey), GREY_100, atol=1)


def test_a_profile_of_grey_with_opacity_is_converted_and_opacity_stays():
    whole = encode(Image.new("LA", (2, 2), (100, 77)), "PNG", icc_profile=grey_profile(1.8))
    loaded = load_image(whole, alpha="keep")
    np.testing.assert_allclose(loaded[0, 0], [GREY_100] * 3 + [77], atol=1)
    key = encode(Image.new("L", (2, 2), 100), "PNG", icc_profile=grey_profile(1.8), transparency=9)
    np.testing.assert_allclose(load_image(key, alpha="keep")[0, 0, :3], GREY_100, atol=1)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_of_grey_counts_where_the_format_knows_rgb_alone(mode):
    picture = Image.new(mode, (4, 4), (100, 77)[: len(mode)])
    whole = encode(picture, "WEBP", lossless=True, icc_profile=grey_profile(1.8))
    loaded = load_image(whole, alpha="keep")
    np.testing.assert_allclose(loaded[0, 0], [GREY_100] * 3 + [77] * (mode == "LA"), atol=1)


def test_a_profile_of_grey_on_a_picture_in_colour_is_passed_over():
    for mode, pixel in (("RGB", (100, 50, 20)), ("RGBA", (100, 50, 20, 255))):
        picture = Image.new(mode, (2, 2), pixel)
        whole = encode(picture, "PNG", icc_profile=grey_profile(1.8))
        assert load_image(whole)[0, 0].tolist() == [100, 50, 20]


# === Numbers of H.273 ===


def test_display_p3_of_png_and_avif_is_converted():
    photo = Image.new("RGB", (16, 16), (200, 100, 100))
    avif = encode(photo, "AVIF", quality=100, subsampling="4:4:4")
    plain = load_image(avif)[8, 8].astype(int)
    for whole in (png(photo, cicp_chunk(12, 13)), with_nclx(avif, 12, 13)):
        picture = load_picture(whole)
        np.testing.assert_allclose(picture.image[8, 8], P3_200_100_100, atol=3)
        assert picture.metadata.notes == ("colours are sRGB now, no longer Display P3",)
    np.testing.assert_allclose(plain, (200, 100, 100), atol=2)


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_all_frames_of_an_animation_are_converted(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in [(200, 100, 100), (100, 100, 200)]]
    options = {"save_all": True, "append_images": frames[1:], "duration": 100}
    if kind == "PNG":
        whole = png(frames[0], cicp_chunk(12, 13), **options)
    else:
        whole = encode(frames[0], kind, quality=100, subsampling="4:4:4", **options)
        whole = with_nclx(whole, 12, 13)
    first, second = (frame.image[8, 8] for frame in open_animation(whole).frames())
    np.testing.assert_allclose(first, P3_200_100_100, atol=3)
    assert second[2] > 204


def test_opacity_stays_and_grey_stays_grey():
    rgba = png(Image.new("RGBA", (1, 1), (200, 100, 100, 77)), cicp_chunk(12, 13))
    loaded = load_image(rgba, alpha="keep")[0, 0]
    np.testing.assert_allclose(loaded, (*P3_200_100_100, 77), atol=1)
    grey = png(Image.new("L", (1, 1), 128), cicp_chunk(1, 8))
    # Linear light of a half is sRGB's level 188.
    assert load_image(grey, grey="keep").tolist() == [[188]]
    assert load_image(grey).tolist() == [[[188] * 3]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([200, 100, 100])
    in_palette = load_image(png(palette, cicp_chunk(12, 13)))
    np.testing.assert_allclose(in_palette[0, 0], P3_200_100_100, atol=1)


def test_cicp_counts_before_a_profile():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = png(Image.new("RGB", (1, 1), (200, 100, 100)), cicp_chunk(12, 13), icc_profile=icc)
    np.testing.assert_allclose(load_image(whole)[0, 0], P3_200_100_100, atol=1)


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (2, 2), (1, 1), (1, 6)])
def test_srgb_and_what_is_shown_like_it_stay_as_they_are(primaries, transfer, photo):
    picture = load_picture(png(Image.fromarray(photo), cicp_chunk(primaries, transfer)))
    np.testing.assert_array_equal(picture.image, photo)
    assert picture.metadata.notes == ()


def test_numbers_that_are_not_understood_are_named(photo):
    picture = load_picture(png(Image.fromarray(photo), cicp_chunk(1, 9)))
    np.testing.assert_array_equal(picture.image, photo)
    assert picture.metadata.notes == (
        "its colours (1/9 by H.273) are not understood: taken for sRGB",
    )


def test_a_narrow_range_is_widened():
    whole = png(Image.new("RGB", (1, 1), (16, 235, 126)), cicp_chunk(1, 13, full=0))
    assert load_image(whole)[0, 0].tolist() == [0, 255, 128]


def test_matrices_are_those_of_the_literature():
    # Display P3 (CSS Color 4, section 18) and BT.2020 (ITU-R BT.2087, inverse) to sRGB.
    p3 = [[1.2249, -0.2249, 0], [-0.0421, 1.0421, 0], [-0.0196, -0.0786, 1.0983]]
    bt2020 = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(to_bt709(cicp.PRIMARIES[12][1]), p3, atol=1e-3)
    np.testing.assert_allclose(to_bt709(cicp.PRIMARIES[9][1]), bt2020, atol=1e-3)


@pytest.mark.parametrize("primaries", cicp.PRIMARIES)
@pytest.mark.parametrize("transfer", sorted(cicp.TRANSFERS))
def test_grey_stays_grey_and_ascends(primaries, transfer):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    result = convert(ramp, coding(primaries, transfer)).astype(int)
    assert np.ptp(result, axis=2).max() <= 1
    assert (np.diff(result[0, :, 1]) >= 0).all()
    assert result[0, 0, 1] == 0
    assert result[0, -1, 1] >= 254


def test_pq_keeps_what_is_dark_and_brings_what_is_bright_below_white():
    # ST 2084: 26 nits are 0.375 and 1,000 nits 0.7518 of the range; white is 203 nits (0.5807).
    levels = np.rint(255 * np.array([0.375, 0.5807, 0.7518])).astype(np.uint8)
    alone = convert(np.repeat(levels[None, :2, None], 3, axis=2), coding(1, 16))
    # 25.6 of 203 nits is 0.126 of white, sRGB's level 99.
    np.testing.assert_allclose(alone[0, :, 0], [99, 255], atol=2)
    bright = convert(np.repeat(levels[None, :, None], 3, axis=2), coding(1, 16))[0, :, 0]
    assert bright[0] == alone[0, 0, 0]
    assert alone[0, 0, 0] < bright[1] < bright[2]
    assert bright[2] >= 254


def test_hlg_has_its_white_at_three_quarters():
    # BT.2408: 75 % of HLG is 203 nits on a display of 1,000, which is white before it is bent.
    signal = np.full((1, 1, 3), round(0.75 * 255), np.uint8)
    table = cicp._linear_table(coding(9, 18))[signal]
    np.testing.assert_allclose(table * cicp._hlg_gain(table), 1, atol=0.02)


# === Other statements ===


def test_gamma_of_png_is_heeded_and_that_of_srgb_is_not_worth_a_word():
    dark = Image.new("RGB", (1, 1), (100, 100, 100))
    linear = load_picture(png(dark, chunk(b"gAMA", struct.pack(">I", 100_000))))
    # 100/255 of light is sRGB's level 168.
    np.testing.assert_allclose(linear.image, 168, atol=1)
    assert linear.metadata.notes == ("colours are sRGB now, no longer gamma 1",)
    for chunks in (
        [chunk(b"gAMA", struct.pack(">I", 45_455))],
        [chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")],
        [chunk(b"gAMA", struct.pack(">I", 0))],
    ):
        plain = load_picture(png(dark, *chunks))
        assert plain.image.max() == 100
        assert plain.metadata.notes == ()


def test_primaries_of_png_are_heeded():
    numbers = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]
    chunks = [
        chunk(b"gAMA", struct.pack(">I", 45_455)),
        chunk(b"cHRM", struct.pack(">8I", *numbers)),
    ]
    loaded = load_image(png(Image.new("RGB", (1, 1), (200, 100, 100)), *chunks))
    np.testing.assert_allclose(loaded[0, 0], P3_200_100_100, atol=2)


def test_adobe_rgb_as_cameras_state_it_is_converted():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    photo = Image.new("RGB", (16, 16), (100, 200, 100))
    picture = load_picture(encode(photo, "JPEG", quality=100, exif=exif))
    # By hand: to the power 2.2, the matrix (1.3984, -0.3984, 0), (0, 1, 0), (0, -0.0429, 1.0429).
    np.testing.assert_allclose(picture.image[8, 8], (0, 200, 95), atol=3)
    assert picture.metadata.notes == ("colours are sRGB now, no longer Adobe RGB",)
    exif.get_ifd(0x8769)[0xA001] = 1
    plain = load_image(encode(photo, "JPEG", quality=100, exif=exif))
    np.testing.assert_allclose(plain[8, 8], (100, 200, 100), atol=2)


def test_lab_is_converted():
    lab = encode(Image.merge("LAB", [Image.new("L", (2, 2), v) for v in (137, 128, 128)]), "TIFF")
    # L* of 53.7 is the grey 128 of sRGB.
    np.testing.assert_allclose(load_image(lab), 128, atol=2)


def test_chunks_and_boxes_are_bounded(monkeypatch):
    photo = Image.new("RGB", (8, 8), (200, 100, 100))
    files = png(photo, cicp_chunk(12, 13)), with_nclx(encode(photo, "AVIF"), 12, 13)
    monkeypatch.setattr(colour, "MAX_CHUNKS", 1)
    for whole in files:
        assert load_picture(whole).metadata.notes == ()
