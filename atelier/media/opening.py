"""Opens pictures of unknown origin: in few formats, and with bounds on what is read of each.

Only the formats in `FORMATS` and `OPTIONAL` are read. The number of reads, the EXIF data and the
values of a TIFF file's directory are bounded by the constants below, before a pixel is decoded.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from PIL import ExifTags, Image, TiffImagePlugin

from atelier.errors import missing_extra

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read, whatever a file's suffix."""

OPTIONAL = {"HEIF": ("pillow_heif", "pillow-heif"), "JXL": ("pillow_jxl", "pillow-jxl-plugin")}
"""Formats that need a module of the extra `formats`, and the package that it comes from."""

OPTIONAL_SUFFIXES = {".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL"}
"""The suffixes of those formats."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What may stand after `ftyp` in HEIF files; the last two in AVIF files, too."""

_JXL_PREFIXES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""How JPEG XL files begin: a codestream alone, or boxes (ISO/IEC 18181-2)."""

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, by number (ISO/IEC 18181-1, annex D)."""

_JXL_HEAD = 2**20
"""The bytes in which a JPEG XL file's size must stand."""

_HEAD_READS, _MORE_READS = 8_000, 200_000
"""How often a file may be read from: for its head, and then for the rest, for which once every
`_PICTURE_BYTES` is added. Ordinary files stay far below."""

_PICTURE_BYTES, _FRAME_BYTES = 256, 32
"""Of one picture, and of animations: a GIF's frames are read in pieces of 255 bytes, each in two
parts, and Pillow looks through them once before it reads them."""

_EXIF_BYTES = 2**16
"""The most EXIF data that is read: 64 KiB, which is what a segment of a JPEG file holds."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings each of EXIF's orientations but the first upright."""

_AVIF_EXIF = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
"""An item of EXIF data in an AVIF file's list of items (ISO/IEC 14496-12, section 8.11.6)."""

TIFF_PREFIXES = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""Those by which Pillow knows a TIFF file; the last two are BigTIFF's."""

_TIFF_SIZES = dict.fromkeys((1, 2, 6, 7), 1) | dict.fromkeys((3, 8), 2)
_TIFF_SIZES |= dict.fromkeys((4, 9, 11, 13), 4) | dict.fromkeys((5, 10, 12, 16), 8)
"""Bytes that a value takes, by its type (TIFF 6.0, section 2; BigTIFF's 16)."""

_TIFF_PRIVATE, _TIFF_PROFILE = 2**15, 34675
"""Tags from the first on are not decoded, but for the second."""

_TIFF_RATIONALS, _TIFF_NUMBERS = 4_096, 2**20
"""The most values that a TIFF file may have in the tags that are decoded: fractions, and other
numbers, of which there are many where its strips or tiles are many."""

_hushing, _hushed, _filters = threading.Lock(), 0, []
"""How many blocks of `hush_pillow` there are now, and the filter that they share."""


class UnreadableError(OSError):
    """A picture that is refused; its text is the reason alone."""


@contextlib.contextmanager
def open_image(
    source: str | os.PathLike | bytes, max_pixels: int | None = None, *, animation: bool = False
) -> Iterator[Image.Image]:
    """A picture's file of which the head is read and nothing decoded, for the block.

    Of a TIFF file that Pillow cannot read, only `size`, `format` and `info` are there, see
    `atelier.media.formats.tiff`.

    Args:
        source: the file's path or bytes.
        max_pixels: the bound for formats that are decoded when they are opened; Pillow's, if left
            out.
        animation: whether all its frames are to be read.

    Raises:
        UnreadableError: a package is missing, or there are too many pixels.
        Exception: of any kind; the file is no picture of `FORMATS`, or a damaged one.
    """
    with (
        hush_pillow(),
        io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream,
    ):
        _check_tiff(_Guarded(stream))
        stream.seek(0)
        formats = (*FORMATS, *_optional(stream, max_pixels or 2 * Image.MAX_IMAGE_PIXELS))
        guarded = _Guarded(stream)
        with _opened(guarded, formats) as image:
            guarded.leave_head(_FRAME_BYTES if animation else _PICTURE_BYTES)
            if image.format == "TIFF":
                # Instead of reading the file's tags anew.
                turn, exif = image.tag_v2.get(ExifTags.Base.Orientation), Image.Exif()
                exif[ExifTags.Base.Orientation] = turn if turn in _TURNS else 1
                image.info["exif"] = exif.tobytes()
            yield image


def _opened(stream: _Guarded, formats: Sequence[str]) -> Image.Image:
    try:
        return Image.open(stream, formats=formats)
    except Image.UnidentifiedImageError:
        stream.seek(0)
        head = stream.read(16)
        if not head.startswith(TIFF_PREFIXES):
            raise
        stream.seek(0)
        return UnreadTiff(stream, head)


class UnreadTiff(Image.Image):
    """What the tags of a TIFF file say that Pillow cannot read."""

    format = "TIFF"

    def __init__(self, stream: _Guarded, head: bytes):
        super().__init__()
        self.tag_v2 = TiffImagePlugin.ImageFileDirectory_v2(head if 43 in head[2:4] else head[:8])
        stream.seek(self.tag_v2.next)
        self.tag_v2.load(stream)
        self._size = tuple(int(self.tag_v2[tag]) for tag in (256, 257))
        if _TIFF_PROFILE in self.tag_v2:
            self.info["icc_profile"] = self.tag_v2[_TIFF_PROFILE]

    def load(self):
        """Refuses to: Pillow has no decoder for the pixels."""
        raise UnreadableError("a TIFF file of a kind that cannot be read")


def register(format: str) -> None:
    """Makes Pillow know a format of `OPTIONAL`.

    Raises:
        UnreadableError: the package is not installed.
    """
    module, package = OPTIONAL[format]
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise UnreadableError(missing_extra(package, "formats")) from None
    if format == "HEIF":
        found.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _optional(stream: BinaryIO, max_pixels: int) -> tuple[str, ...]:
    """The format of `OPTIONAL` that a file has, ready to be opened; the file is at its start."""
    head = stream.read(64)
    stream.seek(0)
    if head.startswith(_JXL_PREFIXES):
        width, height = _jxl_size(stream.read(_JXL_HEAD))
        stream.seek(0)
        if width * height > max_pixels:  # It is decoded when it is opened.
            raise UnreadableError(f"{width}×{height} is more than {max_pixels:,} pixels")
        register("JXL")
        return ("JXL",)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head[12:]:
        register("HEIF")
        return ("HEIF",)
    return ()


def _jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XL file (ISO/IEC 18181-1, annex D).

    Raises:
        UnreadableError: they are not in its first bytes.
    """
    place = 0
    while not data.startswith(b"\xff\x0a", place):  # Boxes, of which one holds the codestream.
        if place + 16 > len(data):
            raise UnreadableError("damaged or truncated (its size is not found)")
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 16 if size == 1 else 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, place + 8)
        if kind in (b"jxlc", b"jxlp"):
            place += head + (4 if kind == b"jxlp" else 0)
            if not data.startswith(b"\xff\x0a", place):
                raise UnreadableError("damaged or truncated (its size is not found)")
        else:
            place += max(size, head) if size else len(data)
    bits = int.from_bytes(data[place + 2 : place + 14].ljust(12, b"\0"), "little")

    def number(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    def side(small: int) -> int:
        return 8 * (number(5) + 1) if small else 1 + number((9, 13, 18, 30)[number(2)])

    small = number(1)
    height = side(small)
    ratio = number(3)
    if not ratio:
        return side(small), height
    across, down = _JXL_RATIOS[ratio - 1]
    return height * across // down, height


@contextlib.contextmanager
def hush_pillow() -> Iterator[None]:
    """Passes over Pillow's warnings for the block: size and damage are judged here.

    Unlike `warnings.catch_warnings`, threads may do so at the same time.
    """
    global _hushed
    with _hushing:
        _hushed += 1
        if _hushed == 1:
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            _filters.append(warnings.filters[0])
    try:
        yield
    finally:
        with _hushing:
            _hushed -= 1
            if not _hushed:
                with contextlib.suppress(ValueError):  # Others may have replaced the filters.
                    warnings.filters.remove(_filters.pop())


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, from 1, which is upright, to 8; 1 where there is none to be read.

    A PNG must be decoded before: its EXIF may stand behind the pixels. Decoders of HEIF, AVIF and
    JPEG XL turn pictures by what else their files say, and EXIF's does not count then.
    """
    if image.format == "JXL" and not getattr(image, "jpeg", None):  # Else the JPEG's own pixels.
        return 1
    try:
        # The second is text of PNG files, in hexadecimal.
        for name, most in (("exif", _EXIF_BYTES), ("Raw profile type exif", 2 * _EXIF_BYTES)):
            if len(image.info.get(name, "")) > most:
                image.info["exif"] = b""
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Damaged EXIF raises a dozen kinds, and is no reason to refuse a picture.
        return 1
    return turn if turn in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """The picture with EXIF's orientation applied; a PNG must be decoded before."""
    turn = orientation(image)
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


class _Guarded:
    """An open file for Pillow to read: at most `_EXIF_BYTES` of EXIF data, and so many reads."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._in_head, self._reads, self._exif = stream, True, _HEAD_READS, 0

    def leave_head(self, piece: int) -> None:
        """From here on the pixels are read, once for `piece` bytes; the file is at any place."""
        self._in_head = False
        self._reads = _MORE_READS + self._stream.seek(0, os.SEEK_END) // piece

    def read(self, size: int = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise OSError("it is in too many pieces")
        data = self._stream.read(size)
        if self._in_head and data.startswith(b"Exif\0\0"):  # A segment of a JPEG file.
            self._exif += len(data)
            return data if self._exif <= _EXIF_BYTES else bytes(len(data))
        if self._in_head and data[4:8] == b"ftyp":
            # In AVIF files EXIF's orientation does not count.
            return _AVIF_EXIF.sub(rb"\1none", data)
        return data

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _check_tiff(stream: BinaryIO) -> None:
    """Goes through a TIFF file's first directory as Pillow does; other files it leaves alone.

    Raises:
        OSError: its values together are larger than the file, or they are too many.
    """
    head = stream.read(16)
    if not head.startswith(TIFF_PREFIXES):
        return
    order = "<" if head[:2] == b"II" else ">"
    big = head[2] == 43  # As in Pillow.
    start, count, entry, inline = ("8xQ", "Q", "HHQ8x", 8) if big else ("4xI", "H", "HHI4x", 4)
    start, count, entry = (struct.Struct(order + layout) for layout in (start, count, entry))
    length, rationals, numbers = stream.seek(0, os.SEEK_END), 0, 0
    left = length
    with contextlib.suppress(struct.error):  # Where the file ends, Pillow takes what there is.
        stream.seek(*start.unpack_from(head))
        for _ in range(*count.unpack(stream.read(count.size))):
            tag, kind, values = entry.unpack(stream.read(entry.size))
            size = values * _TIFF_SIZES.get(kind, 0)
            left -= size if inline < size <= length else 0
            if tag < _TIFF_PRIVATE or tag == _TIFF_PROFILE:
                rationals += values if kind in (5, 10) else 0
                numbers += values if kind not in (1, 2, 5, 7, 10) else 0
    if left < 0:
        raise OSError("its parts overlap")
    if rationals > _TIFF_RATIONALS or numbers > _TIFF_NUMBERS:
        raise OSError("its directory has too many values")
