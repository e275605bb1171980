"""Animations and TIFF files of many pages: all frames in, one at a time, and all frames out."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.errors import ImageError, OutputError, SettingsError, one_line
from atelier.files import atomic_path
from atelier.media.formats.animation_files import WEBP_ALPHA, WEBP_FLAGS, WRITERS, write_frames
from atelier.media.formats.colour import note_numbers
from atelier.media.formats.metadata import Metadata
from atelier.media.formats.tiff import as_first, pages
from atelier.media.images import ImageSource, Picture, load_picture, name_of, read_source
from atelier.media.opening import TIFF_PREFIXES, UnreadableError, open_image
from atelier.media.pixels import flatten
from atelier.progress import OnStep, Step

MAX_FRAMES = 10_000
"""Animations of more frames, and files of more pages, are refused."""

MAX_ANIMATION_PIXELS = 4_000_000_000
"""And those whose frames together have more pixels."""

SUFFIXES = {"GIF": ".gif", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif", "TIFF": ".tif"}
"""For each format that holds several frames, by Pillow's name, the suffix of what is made of it."""

HEAD, MORE = 2**10, 2**16
"""Bytes of a file that are looked at to tell whether it is an animation; and of a PNG file, if its
pixels do not begin within the first."""


@dataclasses.dataclass(frozen=True)
class Animation:
    """A file of several frames or pages, whose frames are read when they are asked for."""

    name: str
    """What the user is told it is."""
    format: str
    """Pillow's name of its format, one of `SUFFIXES`."""
    numbers: tuple[int, ...]
    """Those of its frames in the file, in order, without what is no frame of its own; of pages,
    the places of their directories."""
    durations: tuple[int, ...]
    """How long each frame is shown, in milliseconds; of pages, 0."""
    plays: int
    """How often it is played; 0: without end."""
    alpha: bool
    """Whether any frame has a pixel that is not opaque."""
    metadata: Metadata
    """What the file says beside its pixels."""
    notes: tuple[str, ...]
    """A line for each thing of the file that no result has."""
    data: bytes = dataclasses.field(repr=False)
    """The file."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def has_pages(self) -> bool:
        """Whether the frames are pages, each of a size and an alpha of its own."""
        return self.format == "TIFF"

    @property
    def unit(self) -> str:
        """What one frame is called."""
        return "page" if self.has_pages else "frame"

    def frames(self) -> Iterator[Picture]:
        """Composed frames, one after another: uint8 (H, W, 3), or (H, W, 4) if `alpha`; of pages,
        each as `load_picture` gives it with its alpha and grey kept.

        Raises:
            ImageError: a frame is damaged or too large.
        """
        if self.has_pages:
            for number, place in enumerate(self.numbers, 1):
                with _naming(self.name, f"page {number}"):
                    yield load_picture(as_first(self.data, place), alpha="keep", grey="keep")
            return
        with _opened(self.data, self.name) as image:
            for number in self.numbers:
                picture = _load(image, number, self.name)
                pixels = with_channels(picture.image, 4 if self.alpha else 3, flat=False)
                yield dataclasses.replace(picture, image=pixels)


def animation_suffix(source: str | os.PathLike | bytes) -> str | None:
    """The suffix for what is made of all frames of a file; None if it has one frame, or is none
    that can be read, to be refused when it is.
    """
    try:
        head = _head(source)
        if not _may_have_frames(head):
            return None
        if head.startswith(TIFF_PREFIXES):
            return SUFFIXES["TIFF"] if _count_pages(source) > 1 else None
        with open_image(source, animation=True) as image:
            several = getattr(image, "is_animated", False)
            return SUFFIXES.get(image.format) if several else None
    except Exception:  # Of any kind: it is no picture, or a damaged one.
        return None


def open_animation(source: ImageSource) -> Animation:
    """Looks through all frames of a file, and keeps none.

    Args:
        source: a path, a file's bytes or an open file.

    Raises:
        ImageError: it cannot be read, is damaged, has too many frames, or has one alone.
    """
    name, data = name_of(source), read_source(source)
    if not isinstance(data, bytes):
        raise TypeError("an animation is a path, a file's bytes or an open file")
    if data[8:16] == b"WEBPVP8X":
        # What no frame covers is transparent, whatever the head says; see `state_alpha`.
        flags = bytes([data[WEBP_FLAGS] | WEBP_ALPHA])
        data = data[:WEBP_FLAGS] + flags + data[WEBP_FLAGS + 1 :]
    with _naming(name):
        metadata = load_picture(data).metadata
    if data.startswith(TIFF_PREFIXES):
        with _naming(name):
            places = tuple(pages(data, MAX_FRAMES))
        if len(places) < 2:
            raise ImageError(f"{name}: not an animation, and not of several pages")
        still = (0,) * len(places)
        return Animation(name, "TIFF", places, still, 0, False, metadata, (), data)
    with _opened(data, name) as image:
        format, plays, notes, start = image.format, _plays(image), (), 0
        if getattr(image, "default_image", False):  # An APNG's for programs that show no other.
            start, notes = 1, ("the still picture beside the animation is its first frame now",)
        numbers = tuple(range(start, getattr(image, "n_frames", 1)))
        _check_count(len(numbers), image.width * image.height, name)
        durations, alpha = [], False
        for number in numbers:
            pixels = _load(image, number, name).image
            alpha = alpha or (pixels.shape[-1] == 4 and bool(pixels[..., 3].min() < 255))
            durations.append(round(image.info.get("duration", 0)))
    if len(numbers) < 2 or format not in SUFFIXES:
        raise ImageError(f"{name}: not an animation, and not of several pages")
    return Animation(name, format, numbers, tuple(durations), plays, alpha, metadata, notes, data)


def _head(source: str | os.PathLike | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:MORE]
    with open(source, "rb") as file:
        head = file.read(HEAD)
        is_open = head.startswith(b"\x89PNG") and b"IDAT" not in head
        return head + file.read(MORE) if is_open else head


def _count_pages(source: str | os.PathLike | bytes) -> int:
    if isinstance(source, bytes):
        return len(pages(source, MAX_FRAMES))
    with (
        open(source, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,  # Directories alone are read.
    ):
        return len(pages(data, MAX_FRAMES))


def _may_have_frames(head: bytes) -> bool:
    """Whether the first bytes are those of a file that may have several frames."""
    if head.startswith(b"\x89PNG"):
        data = head.find(b"IDAT")
        return data < 0 or 0 <= head.find(b"acTL") < data
    if head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)
    if head[4:8] == b"ftyp":
        return b"avis" in head[8:128]
    return head.startswith((b"GIF8", *TIFF_PREFIXES))


@contextlib.contextmanager
def _naming(name: str, part: str = "") -> Iterator[None]:
    """Errors of a file's bytes, or of a part of it, with the file's name."""
    try:
        yield
    except (ImageError, UnreadableError) as error:
        reason = str(error).removeprefix("picture: ")
        raise ImageError(": ".join(filter(None, (name, part, reason)))) from None


@contextlib.contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with open_image(data, animation=True) as image:
            note_numbers(image, data)
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise two dozen kinds on damaged files.
        raise ImageError(f"{name}: damaged or truncated ({one_line(str(error))})") from None


def _load(image: Image.Image, number: int, name: str) -> Picture:
    """A frame's pixels and what is said beside them."""
    with _naming(name, f"frame {number + 1}"):
        try:
            image.seek(number)
        except EOFError:
            raise ImageError("the file ends before it") from None
        return load_picture(image, alpha="keep")


def _check_count(count: int, pixels: int, name: str) -> None:
    if count > MAX_FRAMES:
        raise ImageError(f"{name}: more than {MAX_FRAMES:,} frames")
    if count * pixels > MAX_ANIMATION_PIXELS:
        raise ImageError(
            f"{name}: {count:,} frames have more than {MAX_ANIMATION_PIXELS:,} pixels together"
        )


def _plays(image: Image.Image) -> int:
    """How often an animation is played; 0: without end, also where Pillow does not say, as of AVIF.

    GIF files state how often they are played again, and those that state nothing are played once.
    """
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and loop + 1
    return int(loop or 0)


def channels_of(image: np.ndarray) -> int:
    """The channels of a picture, (H, W), (H, W, 3) or (H, W, 4), once it is in colour: 3 or 4."""
    return 4 if image.shape[2:] == (4,) else 3


def with_channels(image: np.ndarray, channels: int, *, flat: bool = True) -> np.ndarray:
    """A picture with so many channels.

    Args:
        image: uint8 (H, W), (H, W, 3) or (H, W, 4).
        channels: 3 or 4.
        flat: whether a fourth channel that goes leaves the picture on white.
    """
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] == channels:
        return image
    if channels == 4:
        return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    return flatten(image, (255, 255, 255)) if flat else np.ascontiguousarray(image[..., :3])


# === Out ===


@dataclasses.dataclass(frozen=True)
class ChangedAnimation:
    """An animation, or a file of many pages, that was written."""

    path: Path
    """The file."""
    width: int
    """Of the first frame, in pixels."""
    height: int
    """Likewise."""
    frames: int
    """How many there are."""
    notes: tuple[str, ...] = ()
    """A line for each thing that is not as it was."""


def is_animation_file(path: str | os.PathLike) -> bool:
    """Whether a file's suffix is that of a format in which all frames can be written."""
    return Path(path).suffix.lower() in WRITERS


def change_animation(
    animation: Animation,
    out: str | os.PathLike,
    change: Callable[[Picture], np.ndarray],
    *,
    strip: bool = False,
    quality: int = 95,
    on_step: OnStep | None = None,
    overwrite: bool = True,
) -> ChangedAnimation:
    """Changes each frame and writes all of them, whole or not at all.

    How long frames are shown and how often they are played stays as it is, as far as the format can
    say it. One frame is held at a time; what encoders of WebP and AVIF have made grows.

    Args:
        animation: of `open_animation`.
        out: a .gif, .png (APNG), .webp, .avif, .tif or .tiff file.
        change: makes of each frame the one to be written, uint8 (H, W), (H, W, 3) or (H, W, 4); but
            in a TIFF file all are of the first one's size, and get as many channels as that has.
        strip: whether EXIF and XMP data are left out.
        quality: of WebP and AVIF, in [1, 100].
        on_step: called after each frame. If it returns True, the run ends.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: a frame is damaged.
        OutputError: `out` exists, cannot be written, or its format cannot hold the frames.
        SettingsError: another suffix.
        KeyboardInterrupt: `on_step` ended the run; nothing is written.
    """
    out = Path(out)
    if not is_animation_file(out):
        raise SettingsError(f"{out}: animations are written as {', '.join(WRITERS)}")
    size: list[tuple[int, ...]] = []

    def changed() -> Iterator[tuple[np.ndarray, Metadata]]:
        for number, picture in enumerate(animation.frames(), 1):
            image = change(picture)
            if out.suffix.lower() not in (".tif", ".tiff"):
                image = with_channels(image, size[0][2] if size else channels_of(image))
                if size and image.shape != size[0]:
                    raise OutputError(f"cannot write {out}: its {animation.unit}s differ in size")
            size.append(image.shape)
            metadata = animation.metadata if number == 1 else picture.metadata
            yield image, metadata.stripped() if strip else metadata
            step = Step(number, len(animation), {}, lambda image=image: with_channels(image, 3))
            if on_step is not None and on_step(step):
                raise KeyboardInterrupt

    with atomic_path(out, overwrite=overwrite) as temporary:
        try:
            written = write_frames(
                temporary,
                out.suffix.lower(),
                changed(),
                animation.durations,
                animation.plays,
                quality,
            )
        except (ValueError, OverflowError, struct.error) as error:  # Beyond what a format can say.
            raise OutputError(f"cannot write {out}: {one_line(str(error))}") from None
    height, width = size[0][:2]
    return ChangedAnimation(out, width, height, len(size), (*animation.notes, *written))


def takes_all(source: ImageSource, path: Path, first_frame: bool) -> bool:
    """Whether all frames of a file go into its result.

    Args:
        source: the file, or its bytes.
        path: of the result.
        first_frame: whether the first frame alone is asked for.
    """
    return not first_frame and is_animation_file(path) and animation_suffix(source) is not None


def result_suffix(source: ImageSource, first_frame: bool) -> str:
    """The suffix of a picture's result in a folder: that of its own format if it is an animation,
    or has many pages, of which all are wanted, else .png."""
    return (None if first_frame else animation_suffix(source)) or ".png"


def first_only(source: str | os.PathLike | bytes) -> tuple[str, ...]:
    """A line that says so, if a file of which one frame is taken has more."""
    suffix = animation_suffix(source)
    if suffix is None:
        return ()
    return (f"only the first {'page' if suffix == SUFFIXES['TIFF'] else 'frame'} is taken",)
