"""Writes animations and TIFF files of many pages, frame by frame as they come."""

from __future__ import annotations

import collections
import io
import itertools
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import GifImagePlugin, Image, TiffImagePlugin

from atelier.media.formats.metadata import Metadata
from atelier.media.opening import hush_pillow
from atelier.media.saving import pillow_options

Frames = Iterator[tuple[np.ndarray, Metadata]]
"""Pictures, uint8 (H, W, 3) or (H, W, 4), or (H, W) for TIFF files, each with what is said beside
its pixels."""

WEBP_FLAGS, WEBP_ALPHA = 20, 0x10
"""The place of the flags in the file of a WebP animation, and that of transparency."""

OPAQUE = 128
"""The least alpha of a pixel that is seen in a GIF file, which knows only all or nothing."""


def write_frames(
    file: Path, suffix: str, frames: Frames, durations: Sequence[int], plays: int, quality: int
) -> tuple[str, ...]:
    """Writes a file of several frames.

    Args:
        file: where to, whatever its suffix.
        suffix: of the format, one of `WRITERS`.
        frames: at least one; as many as `durations`.
        durations: of each frame, in milliseconds.
        plays: how often all are played; 0: without end.
        quality: of WebP and AVIF, in [1, 100].

    Returns:
        A line for each thing that the format cannot hold.
    """
    first, metadata = next(frames)
    format, write = WRITERS[suffix]
    options, notes = pillow_options(format, first, metadata, quality)
    everything = itertools.chain([(first, metadata)], frames)
    with hush_pillow():
        more = write(file, everything, durations, plays, options)
        collections.deque(everything, maxlen=0)  # That whoever makes them comes to the end.
    return (*notes, *more)


def _write_gif(file, frames, durations, plays, options) -> tuple[str, ...]:
    """GIF89a: each frame with a palette of its own, and of those without transparency the part
    alone that differs from the one before."""
    half = changed = False
    before = None
    with open(file, "wb") as stream:
        for number, (image, _) in enumerate(frames):
            height, width = image.shape[:2]
            if number == 0:
                stream.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
                if plays != 1:  # How often it is played again.
                    again = min(max(plays - 1, 0), 65_535)
                    stream.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", again, 0))
            extra = {"duration": durations[number], "include_color_table": True}
            box = (0, 0, width, height)
            if image.shape[2] == 4:
                half = half or bool(((image[..., 3] > 0) & (image[..., 3] < 255)).any())
                picture = _with_hole(image)
                extra |= {"transparency": 255, "disposal": 2}
            else:
                if before is not None:
                    box = _difference(image, before)
                left, top, right, bottom = box
                part = np.ascontiguousarray(image[top:bottom, left:right])
                picture = Image.fromarray(part).quantize(256, Image.Quantize.MEDIANCUT)
                extra["disposal"] = 1
                before = image
            changed = changed or durations[number] % 10 > 0
            for part in GifImagePlugin.getdata(picture, box[:2], **extra):
                stream.write(part)
        stream.write(b";")
    notes = ("pixels are transparent or opaque now, as GIF knows no other",) if half else ()
    return (*notes, *(("times are in hundredths of a second now",) if changed else ()))


def _with_hole(image: np.ndarray) -> Image.Image:
    """A frame of 255 colours and, as the last, transparency."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., :3]))
    picture = picture.quantize(255, Image.Quantize.MEDIANCUT)
    palette = (picture.getpalette() or [])[: 3 * 255]
    palette += [0] * (3 * 256 - len(palette))
    places = np.where(image[..., 3] >= OPAQUE, np.asarray(picture), 255).astype(np.uint8)
    result = Image.fromarray(places, "L")
    result.putpalette(palette)
    return result


def _difference(image: np.ndarray, before: np.ndarray) -> tuple[int, int, int, int]:
    """The box of what differs, left, top, right, bottom; of equal pictures one pixel."""
    differs = (image != before).any(axis=-1)
    if not differs.any():
        return 0, 0, 1, 1
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _write_png(file, frames, durations, plays, options) -> tuple[str, ...]:
    """APNG (PNG, third edition, section 11.3.5): of frames the part alone that differs."""
    sequence, before = itertools.count(), None
    with open(file, "wb") as stream:
        for number, (image, _) in enumerate(frames):
            height, width = image.shape[:2]
            box = (0, 0, width, height) if before is None else _difference(image, before)
            left, top, right, bottom = box
            part = np.ascontiguousarray(image[top:bottom, left:right])
            level = {"compress_level": options["compress_level"]}
            chunks = _png_chunks(part, level if number else options)
            control = struct.pack(
                ">IIIIIHHBB",
                next(sequence),
                right - left,
                bottom - top,
                left,
                top,
                *_fraction(durations[number]),
                0,  # The frame stays,
                0,  # and replaces what is below it.
            )
            if number == 0:
                stream.write(b"\x89PNG\r\n\x1a\n")
                told = False
                for kind, data in chunks:
                    if kind == b"IEND":
                        break
                    if kind == b"IDAT" and not told:
                        counts = struct.pack(">II", len(durations), plays)
                        stream.write(_chunk(b"acTL", counts) + _chunk(b"fcTL", control))
                        told = True
                    stream.write(_chunk(kind, data))
            else:
                stream.write(_chunk(b"fcTL", control))
                for kind, data in chunks:
                    if kind == b"IDAT":
                        stream.write(_chunk(b"fdAT", struct.pack(">I", next(sequence)) + data))
            before = image
        stream.write(_chunk(b"IEND", b""))
    return ()


def _fraction(milliseconds: int) -> tuple[int, int]:
    """A time as APNG states it: a numerator and a denominator of seconds, 16 bits each."""
    for unit in (1000, 100, 10, 1):
        if milliseconds * unit <= 65_535 * 1000:
            return milliseconds * unit // 1000, unit
    raise ValueError(f"a frame of {milliseconds:,} ms is too long for APNG")


def _png_chunks(image: np.ndarray, options: dict) -> list[tuple[bytes, bytes]]:
    """The chunks of a picture's PNG file, by kind."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", **options)
    data, place, chunks = file.getvalue(), 8, []
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_tiff(file, frames, durations, plays, options) -> tuple[str, ...]:
    """One page after another, each with its resolution."""
    with TiffImagePlugin.AppendingTiffWriter(str(file), True) as stream:
        for number, (image, metadata) in enumerate(frames):
            own = options if number == 0 else pillow_options("TIFF", image, metadata)[0]
            Image.fromarray(image).save(stream, "TIFF", **own)
            stream.newFrame()
    return ()


def _write_webp(file, frames, durations, plays, options) -> tuple[str, ...]:
    options = {**options, "duration": list(durations), "loop": plays}
    with open(file, "wb") as stream:
        pictures = _Lazy(frames, len(durations))
        pictures.save(stream, "WEBP", save_all=True, **options)
    if pictures.mode == "RGBA":
        state_alpha(file)
    return ()


def state_alpha(file: Path) -> None:
    """Says in a WebP animation's head that it has transparency (WebP container specification,
    "Extended File Format").

    libwebp crops frames to what is opaque, and where that leaves no transparent pixel within any
    frame, it says that there is none: Pillow then shows black around them.
    """
    with open(file, "r+b") as stream:
        head = stream.read(WEBP_FLAGS + 1)
        if head[12:16] == b"VP8X":
            stream.seek(WEBP_FLAGS)
            stream.write(bytes([head[WEBP_FLAGS] | WEBP_ALPHA]))


def _write_avif(file, frames, durations, plays, options) -> tuple[str, ...]:
    options = {**options, "duration": list(durations)}
    with open(file, "wb") as stream:
        _Lazy(frames, len(durations)).save(stream, "AVIF", save_all=True, **options)
    return ("it is played without end now",) if plays else ()


class _Lazy(Image.Image):
    """Frames for a writer of Pillow's that goes through them once: each is made when it is sought,
    and the one before let go."""

    def __init__(self, frames: Iterable[tuple[np.ndarray, Metadata]], count: int):
        super().__init__()
        self._frames, self.n_frames, self.is_animated, self._place = iter(frames), count, True, -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError
        while self._place < frame:
            image, _ = next(self._frames)
            picture = Image.fromarray(image)
            self.im, self._mode, self._size = picture.im, picture.mode, picture.size
            self._place += 1

    def tell(self) -> int:
        return self._place


WRITERS = {
    ".gif": ("GIF", _write_gif),
    ".png": ("PNG", _write_png),
    ".webp": ("WEBP", _write_webp),
    ".avif": ("AVIF", _write_avif),
    ".tif": ("TIFF", _write_tiff),
    ".tiff": ("TIFF", _write_tiff),
}
"""Pillow's name of the format, and what writes it, by suffix."""
