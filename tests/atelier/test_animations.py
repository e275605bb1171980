"""Animations and many-page TIFFs: frames composed, times and loops kept, all frames written."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from atelier.errors import ImageError, OutputError, SettingsError
from atelier.media import animations
from atelier.media.animations import (
    animation_suffix,
    change_animation,
    first_only,
    is_animation_file,
    open_animation,
)
from atelier.media.images import load_image

DURATIONS = (100, 50, 30, 200)
GREEN, RED = (30, 160, 40), (220, 40, 30)
LOSSY = {".webp", ".avif"}


def pictures(alpha: bool = False, size=(48, 32)) -> list[Image.Image]:
    """A red square that moves over green, or over nothing."""
    made = []
    for number in range(len(DURATIONS)):
        picture = Image.new("RGBA", size, (*GREEN, 0 if alpha else 255))
        left = 8 * number
        ImageDraw.Draw(picture).rectangle([left, 8, left + 15, 23], fill=(*RED, 255))
        made.append(picture if alpha else picture.convert("RGB"))
    return made


def encode(format: str, alpha: bool = False, frames=None, **options) -> bytes:
    """A file of the frames, played three times where the format can say so."""
    first, *others = frames or pictures(alpha)
    file = io.BytesIO()
    if format != "TIFF":
        options = {"duration": list(DURATIONS), "loop": 3} | options
    if format == "GIF":
        options["disposal"] = 2 if alpha else 1
    if format == "AVIF":
        del options["loop"]
    if format == "WEBP":
        options["lossless"] = True
    first.save(file, format, save_all=True, append_images=others, **options)
    return file.getvalue()


def assert_frames(found, alpha: bool, *, tolerance: int = 0) -> None:
    """That they are `pictures`, whatever the colour of what is transparent."""
    expected = pictures(alpha)
    assert len(found) == len(expected)
    for image, picture in zip(found, expected, strict=True):
        wanted = np.asarray(picture).astype(int)
        assert image.shape == wanted.shape
        if alpha:
            np.testing.assert_array_equal(image[..., 3] > 127, wanted[..., 3] > 127)
            image, wanted = (part[..., :3] * (part[..., 3:] > 127) for part in (image, wanted))
        assert np.abs(image - wanted).mean() <= tolerance


FORMATS = [("GIF", ".gif"), ("PNG", ".png"), ("WEBP", ".webp"), ("AVIF", ".avif"), ("TIFF", ".tif")]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("format", "suffix"), FORMATS)
def test_frames_go_in_and_out_in_their_own_format(tmp_path, format, suffix, alpha):
    data = encode(format, alpha)
    assert animation_suffix(data) == suffix
    animation = open_animation(data)
    assert (animation.format, len(animation), animation.alpha) == (
        format,
        4,
        alpha and format != "TIFF",
    )
    tolerance = 6 if suffix in LOSSY else 0
    assert_frames([each.image for each in animation.frames()], alpha, tolerance=tolerance)
    out = tmp_path / f"out{suffix}"
    seen = []
    result = change_animation(
        animation, out, lambda picture: picture.image, on_step=lambda s: seen.append(s.number)
    )
    assert (result.width, result.height, result.frames, result.notes) == (48, 32, 4, ())
    assert seen == [1, 2, 3, 4]
    again = open_animation(out)
    assert again.format == format
    assert_frames([each.image for each in again.frames()], alpha, tolerance=tolerance)
    if format != "TIFF":
        assert (animation.durations, again.durations) == (DURATIONS, DURATIONS)
    plays = {"GIF": 4, "PNG": 3, "WEBP": 3}.get(format, 0)  # A GIF's loops come after the first.
    assert (animation.plays, again.plays) == (plays, plays)


@pytest.mark.parametrize(
    ("name", "plays"), list(itertools.product((".gif", ".png", ".webp"), (0, 1, 5)))
)
def test_how_often_it_is_played_survives_other_formats(tmp_path, name, plays):
    options = {"loop": plays and plays - 1} if plays != 1 else {}
    file = io.BytesIO()
    first, *others = pictures()
    first.save(file, "GIF", save_all=True, append_images=others, duration=50, **options)
    animation = open_animation(file.getvalue())
    assert animation.plays == plays
    change_animation(animation, tmp_path / f"out{name}", lambda picture: picture.image)
    assert open_animation(tmp_path / f"out{name}").plays == plays


@pytest.mark.parametrize("disposal", [1, 2, 3])
def test_frames_of_a_gif_are_composed_as_they_are_shown(disposal):
    """Frames that are parts of the picture, left, removed or undone before the next is drawn."""
    base = Image.new("RGB", (16, 16), GREEN).quantize(2)
    file = io.BytesIO()
    patches = []
    for left in (0, 8):
        patch = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
        patch.paste((*RED, 255), (left, 4, left + 8, 12))
        patches.append(patch)
    base.save(
        file, "GIF", save_all=True, append_images=patches, disposal=[1, disposal, 1], duration=50
    )
    with Image.open(io.BytesIO(file.getvalue())) as image:
        expected = []
        for number in range(image.n_frames):
            image.seek(number)
            expected.append(np.asarray(image.convert("RGBA")))
    frames = [picture.image for picture in open_animation(file.getvalue()).frames()]
    for frame, wanted in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(
            frame[..., :3][wanted[..., 3] > 0], wanted[wanted[..., 3] > 0][:, :3]
        )
    assert (frames[2][6, 12, :3] == RED).all()


def test_what_no_frame_of_a_webp_covers_is_transparent(tmp_path):
    """libwebp cuts frames down to what is opaque, and says then that there is no transparency."""
    file = io.BytesIO()
    first, *others = pictures(alpha=True)
    first.save(file, "WEBP", save_all=True, append_images=others, duration=list(DURATIONS))
    animation = open_animation(file.getvalue())
    assert animation.alpha
    assert_frames([picture.image for picture in animation.frames()], True, tolerance=6)
    change_animation(animation, tmp_path / "out.webp", lambda picture: picture.image)
    with Image.open(tmp_path / "out.webp") as image:
        assert image.mode == "RGBA"
        assert image.getpixel((40, 2))[3] == 0


def test_equal_frames_stay_as_many_frames(tmp_path):
    still = Image.new("RGB", (20, 10), RED)
    frames = [still.copy() for _ in range(3)]
    frames[1].putpixel((0, 0), (0, 0, 0))
    animation = open_animation(encode("PNG", frames=frames, duration=[40, 40, 40]))
    for suffix in (".gif", ".png"):
        out = tmp_path / f"out{suffix}"
        change_animation(animation, out, lambda picture: np.full((10, 20, 3), 90, np.uint8))
        again = open_animation(out)
        assert again.durations == (40, 40, 40)
        assert all((picture.image == 90).all() for picture in again.frames())


def test_the_still_picture_of_an_apng_is_no_frame(tmp_path):
    still = Image.new("RGB", (48, 32), (9, 9, 9))
    animation = open_animation(encode("PNG", frames=[still, *pictures()], default_image=True))
    assert animation.notes == ("the still picture beside the animation is its first frame now",)
    assert_frames([picture.image for picture in animation.frames()], False)
    result = change_animation(animation, tmp_path / "out.png", lambda picture: picture.image)
    assert result.notes == animation.notes
    np.testing.assert_array_equal(load_image(tmp_path / "out.png"), np.asarray(pictures()[0]))


def test_pages_keep_their_sizes_and_resolutions(tmp_path):
    file = io.BytesIO()
    sizes, dots = [(40, 30), (20, 50), (33, 21)], [(300, 300), (150, 150), (72, 72)]
    made = [Image.new("RGB", size, RED) for size in sizes]
    with_own = [
        dict(zip(("size", "dpi"), pair, strict=True)) for pair in zip(sizes, dots, strict=True)
    ]
    from PIL import TiffImagePlugin

    with TiffImagePlugin.AppendingTiffWriter(file, True) as writer:
        for picture, own in zip(made, with_own, strict=True):
            picture.save(writer, "TIFF", dpi=own["dpi"])
            writer.newFrame()
        data = file.getvalue()
    animation = open_animation(data)
    change_animation(animation, tmp_path / "out.tiff", lambda picture: picture.image.repeat(2, 0))
    with Image.open(tmp_path / "out.tiff") as image:
        for number, (width, height) in enumerate(sizes):
            image.seek(number)
            assert image.size == (width, 2 * height)
            assert image.info["dpi"] == dots[number]


def test_smaller_copies_in_a_tiff_file_are_no_pages():
    file = io.BytesIO()
    large, small = Image.new("RGB", (40, 30), RED), Image.new("RGB", (8, 6), RED)
    copy = Image.Exif()
    copy[254] = 1
    small.encoderinfo = {"tiffinfo": copy}
    large.save(file, "TIFF", save_all=True, append_images=[small])
    with Image.open(io.BytesIO(file.getvalue())) as image:
        image.seek(1)
        assert image.tag_v2.get(254) == 1
    assert animation_suffix(file.getvalue()) is None
    with pytest.raises(ImageError, match="picture: not an animation"):
        open_animation(file.getvalue())


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "JPEG", "BMP"])
def test_one_picture_is_no_animation(format):
    file = io.BytesIO()
    pictures()[0].save(file, format)
    assert animation_suffix(file.getvalue()) is None
    assert first_only(file.getvalue()) == ()


def test_an_apng_is_known_behind_much_that_is_no_pixel(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 3000)
    for number, frames in enumerate((pictures(), pictures()[:1])):
        data = encode("PNG", frames=frames, pnginfo=texts)
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        assert data.find(b"IDAT") > animations.HEAD
        assert animation_suffix(path) == animation_suffix(data) == (None if number else ".png")


def test_what_is_taken_of_several_is_said(tmp_path):
    assert first_only(encode("GIF")) == ("only the first frame is taken",)
    (tmp_path / "a.tif").write_bytes(encode("TIFF"))
    assert first_only(tmp_path / "a.tif") == ("only the first page is taken",)
    assert first_only(tmp_path / "missing.gif") == ()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("MAX_FRAMES", 3, "more than 3 frames"), ("MAX_ANIMATION_PIXELS", 6000, "4 frames have more")],
)
def test_too_many_frames_are_refused(monkeypatch, name, value, words):
    data = encode("GIF")
    monkeypatch.setattr(animations, name, value)
    with pytest.raises(ImageError, match=words):
        open_animation(data)
    monkeypatch.setattr(animations, "MAX_FRAMES", 3)
    with pytest.raises(ImageError, match="more than 3 pages"):
        open_animation(encode("TIFF"))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_truncated_file_is_refused_by_name(tmp_path, format):
    path = tmp_path / "in.bin"
    noise = np.random.default_rng(0).integers(0, 256, (4, 60, 60, 3), np.uint8)
    data = encode(format, frames=[Image.fromarray(frame) for frame in noise])
    path.write_bytes(data[: len(data) * 3 // 5])
    with pytest.raises(ImageError, match=r"in\.bin: "):
        list(open_animation(path).frames())


def test_what_formats_cannot_say_is_said(tmp_path):
    frames = pictures(alpha=True)
    frames[0].putpixel((0, 0), (10, 20, 30, 90))
    animation = open_animation(encode("PNG", frames=frames, duration=[33, 33, 33, 33]))
    result = change_animation(animation, tmp_path / "out.gif", lambda picture: picture.image)
    assert result.notes == (
        "pixels are transparent or opaque now, as GIF knows no other",
        "times are in hundredths of a second now",
    )
    result = change_animation(animation, tmp_path / "out.avif", lambda picture: picture.image)
    assert result.notes == ("it is played without end now",)


def test_what_ends_early_leaves_no_file(tmp_path):
    animation = open_animation(encode("GIF"))
    for suffix in (".gif", ".webp"):
        out = tmp_path / f"out{suffix}"
        with pytest.raises(KeyboardInterrupt):
            change_animation(animation, out, lambda p: p.image, on_step=lambda s: s.number == 2)
    with pytest.raises(SettingsError, match="animations are written as"):
        change_animation(animation, tmp_path / "out.jpg", lambda picture: picture.image)
    (tmp_path / "out.gif").write_text("here")
    with pytest.raises(OutputError, match="exists"):
        change_animation(animation, tmp_path / "out.gif", lambda p: p.image, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]
    assert is_animation_file("a.GIF")
    assert not is_animation_file("a.jpg")


def test_one_frame_is_held_at_a_time(tmp_path):
    """Each frame is made when the one before has been written."""
    for suffix in (".gif", ".png", ".tif", ".webp", ".avif"):
        order, animation = [], open_animation(encode("GIF"))

        def change(picture, order=order):
            order.append("read")
            return picture.image

        change_animation(
            animation, tmp_path / f"o{suffix}", change, on_step=lambda _, o=order: o.append("next")
        )
        assert order == ["read", "next"] * 4


def test_colours_of_a_gif_s_frames_are_their_own(tmp_path):
    """A ramp of 256 greys and one of 256 reds, of which no common palette has all."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (8, 256, 3)).copy()
    red = ramp * np.uint8([1, 0, 0])
    frames = [Image.fromarray(ramp), Image.fromarray(red)]
    animation = open_animation(encode("PNG", frames=frames, duration=[50, 50]))
    change_animation(animation, tmp_path / "out.gif", lambda picture: picture.image)
    found = [picture.image for picture in open_animation(tmp_path / "out.gif").frames()]
    for image, wanted in zip(found, (ramp, red), strict=True):
        assert np.abs(image.astype(int) - wanted).max() <= 2
