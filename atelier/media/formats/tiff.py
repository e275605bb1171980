"""TIFF files that Pillow reads wrongly, to fewer bits, or not at all.

Pillow 12.3 and 13.0 give noise for 16-bit RGB in planes that is not compressed, negatives for grey
of more than 8 bits whose 0 is white, and refuse RGB of floats, grey with opacity of 16 bits and
more. Values that are not compressed are read here, all others by OpenCV.
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import sys

import numpy as np

from atelier.media.formats.deep import Deep
from atelier.media.opening import TIFF_PREFIXES, UnreadableError
from atelier.media.pixels import strips

MAX_DIRECTORIES = 16
"""The most directories that are looked at for the main picture."""

MAX_PARTS = 2**18
"""The most strips or tiles that a picture may have."""

MAX_VALUES = 1024
"""The most values of any other tag."""

_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q"}
"""The layout of a value by its type (TIFF 6.0, section 2; BigTIFF)."""

_NAMES = {
    **{254: "kind", 256: "width", 257: "height", 258: "bits", 259: "compression"},
    **{262: "photometric", 266: "fill_order", 273: "offsets", 274: "orientation", 277: "samples"},
    **{278: "rows", 279: "counts", 281: "most", 284: "planar", 317: "predictor", 322: "tile_width"},
    **{323: "tile_height", 324: "tile_offsets", 325: "tile_counts", 330: "below", 338: "extra"},
    **{339: "format", 340: "least_value", 341: "most_value"},
}
"""The tags that are read."""

_PARTS = ("offsets", "counts", "tile_offsets", "tile_counts")
"""Those that have a value for each strip or tile."""

_NO_PAGE = 1 | 4
"""Of a directory's kind, the bits for a smaller copy of another and for a mask (TIFF 6.0)."""

_RAW = (32803, 34892)
"""A sensor's pixels: in a filter's colours, or linear (DNG 1.7)."""

_CANON_RAW = b"CR"
"""What stands behind the head of Canon's CR2 files, whose directories do not tell what they are."""

_WHITE_IS_0, _COLOURS = 0, {0: 1, 1: 1, 2: 3, 5: 4}
"""Channels of colour by the photometric interpretation: grey, RGB and CMYK."""


@dataclasses.dataclass(frozen=True)
class _Directory:
    tags: dict[str, tuple]
    order: str
    after: int
    """Where the next one is."""

    def one(self, name: str, default: int = 0) -> int:
        return int((self.tags.get(name) or (default,))[0])

    @property
    def size(self) -> tuple[int, int]:
        return self.one("width"), self.one("height")

    @property
    def is_preview(self) -> bool:
        return bool(self.one("kind") & 1)

    @property
    def area(self) -> int:
        return self.one("width") * self.one("height")


def read_tiff(data: bytes, max_pixels: int, identified: bool) -> Deep | None:
    """Reads a TIFF file's main picture where Pillow would not, or not rightly.

    Args:
        data: the file.
        max_pixels: the bound on its width × height.
        identified: whether Pillow can read it.

    Returns:
        Its values; None if it is to be left to Pillow.

    Raises:
        UnreadableError: it is a raw photo, too large, damaged, or of a kind that cannot be read.
    """
    try:
        first = _directory(data, None)
        if data[8:10] == _CANON_RAW:
            shown = f"{first.size[0]}×{first.size[1]}"
            raise UnreadableError(f"a raw photo that begins with a preview of {shown}: {_DEVELOP}")
        main = _main(data, first)
        shown = f"{main.size[0]}×{main.size[1]}"
        if main.one("photometric") in _RAW:
            raise UnreadableError(f"a raw photo of {shown}{_preview(first, main)}: {_DEVELOP}")
        if main is first and identified and not _is_deep(main):
            return None
        tile = main.one("tile_width") * main.one("tile_height")
        if max(main.area, tile) > max_pixels:
            raise UnreadableError(f"{shown} is more than {max_pixels:,} pixels")
        return _values(data, main, first, identified)
    except struct.error:
        raise UnreadableError("damaged or truncated (its directory)") from None


_DEVELOP = "raw photos are not developed here; export it as TIFF, JPEG or PNG"


def _preview(first: _Directory, main: _Directory) -> str:
    if main is first:
        return ""
    return f", before which a preview of {first.size[0]}×{first.size[1]} stands"


def _is_deep(main: _Directory) -> bool:
    return max(main.tags.get("bits") or (1,)) > 8 or main.one("format", 1) in (2, 3)


def _values(data: bytes, main: _Directory, first: _Directory, identified: bool) -> Deep | None:
    bits, samples, kind = main.one("bits", 1), main.one("samples", 1), main.one("format", 1)
    photometric, extra = main.one("photometric"), len(main.tags.get("extra", ()))
    colours = samples - extra
    planes = main.one("planar", 1) == 2
    known = (
        colours == _COLOURS.get(photometric)
        and extra <= 1
        and len(set(main.tags.get("bits", ()))) <= 1
    )
    values = None
    if known and kind in (1, 2, 3):
        if main.one("compression", 1) == 1:
            values = _uncompressed(data, main)
        elif main is first and not planes and colours < 4 and extra in (0, colours == 3):
            values = _by_opencv(data, bits, (main.size[1], main.size[0], samples))
    if values is None:
        if identified and main is first and not (planes and main.one("compression", 1) == 1):
            return None  # Compressed, which libtiff in Pillow gets right.
        what = f"{samples} × {bits} bits, photometric {photometric}, compression "
        raise UnreadableError(f"a TIFF file of {what}{main.one('compression', 1)} cannot be read")
    white = None
    if kind != 3 and main.tags.get("most") and 0 < main.one("most") < 2**bits - 1:
        white = (0.0, float(main.one("most")))
    elif main.tags.get("most_value") and values.dtype.kind == "f":
        ends = [float((main.tags.get(name) or (0,))[0]) for name in ("least_value", "most_value")]
        if np.isfinite(ends).all() and ends[0] < ends[1]:
            white = (ends[0], ends[1])
    if values.shape[2] == 1:
        values = values[..., 0]
    return Deep(values, bits, colours, white, photometric == _WHITE_IS_0)


# === Pages ===


def pages(data: bytes, most: int) -> list[int]:
    """Where the directories of a TIFF file's pages are, without previews and masks.

    Args:
        data: the file; of another one there are none.
        most: of so many directories at most.

    Raises:
        UnreadableError: there are more.
    """
    places, seen = [], set()
    with contextlib.suppress(struct.error):  # The file ends before: what there is, is taken.
        place = _first(data)
        while data[:4] in TIFF_PREFIXES and 0 < place < len(data) and place not in seen:
            if len(seen) == most:
                raise UnreadableError(f"more than {most:,} pages")
            seen.add(place)
            directory = _directory(data, place, parts=False)
            if not directory.one("kind") & _NO_PAGE:
                places.append(place)
            place = directory.after
    return places


def as_first(data: bytes, place: int) -> bytes:
    """A TIFF file whose first page is that of the directory at a place."""
    order, big = ("<" if data[:2] == b"II" else ">"), 43 in data[2:4]
    start = 8 if big else 4
    head = data[:start] + struct.pack(order + ("Q" if big else "I"), place)
    return head + data[len(head) :]


def _first(data: bytes) -> int:
    order, big = ("<" if data[:2] == b"II" else ">"), 43 in data[2:4]
    return struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]


# === Pixels ===


def _uncompressed(data: bytes, main: _Directory) -> np.ndarray | None:
    """The values, (H, W, C), of strips or tiles; None if their kind is not read here."""
    bits, samples, kind = main.one("bits", 1), main.one("samples", 1), main.one("format", 1)
    packed = bits in (10, 12, 14) and kind == 1 and main.one("fill_order", 1) == 1
    width, height = main.size
    if bits not in {1: (8, 16, 32), 2: (8, 16, 32), 3: (16, 32, 64)}[kind] and not packed:
        return None
    dtype = np.dtype(f"{main.order}{'uif'[kind - 1]}{2 if packed else bits // 8}")
    tiled = "tile_width" in main.tags
    names = ("tile_offsets", "tile_counts") if tiled else ("offsets", "counts")
    places, counts = (main.tags.get(name, ()) for name in names)
    across = main.one("tile_width") if tiled else width
    down = main.one("tile_height") if tiled else min(main.one("rows", height) or height, height)
    planes = main.one("planar", 1) == 2 and samples > 1
    depth = 1 if planes else samples
    if not 0 < across * down * depth * dtype.itemsize <= 2 * len(data):
        raise UnreadableError("damaged or truncated (its strips are larger than the file)")
    columns, lines = -(-width // across), -(-height // down)
    number = columns * lines * (samples if planes else 1)
    if not number <= min(len(places), len(counts)) or number > MAX_PARTS:
        raise UnreadableError("damaged or truncated (its strips are not all there)")
    row = -(-across * depth * bits // 8)
    if height * (width * samples * bits // 8) > len(data):
        raise UnreadableError("damaged or truncated (it ends before its pixels do)")
    values = np.empty((height, width, samples), dtype.newbyteorder("="))
    for part in range(number):
        plane, place = divmod(part, columns * lines)
        top, left = place // columns * down, place % columns * across
        rows = min(down, height - top)
        content = data[places[part] : places[part] + rows * row]
        if len(content) < rows * row:
            raise UnreadableError("damaged or truncated (it ends before its pixels do)")
        block = _block(content, rows, row, across * depth, bits, dtype, packed)
        block = block.reshape(rows, across, depth)[:, : width - left]
        channels = slice(plane, plane + 1) if planes else slice(None)
        values[top : top + rows, left : left + across, channels] = block
    return values


def _block(
    content: bytes, rows: int, row: int, number: int, bits: int, dtype: np.dtype, packed: bool
) -> np.ndarray:
    """A part's values, (rows, number)."""
    if not packed:
        return np.frombuffer(content, dtype).reshape(rows, number)
    raw = np.frombuffer(content, np.uint8).reshape(rows, row)
    places = np.arange(number) * bits
    first, shift = places // 8, places % 8
    wide = np.pad(raw, ((0, 0), (0, 3))).astype(np.uint32)
    joined = wide[:, first] << 16 | wide[:, first + 1] << 8 | wide[:, first + 2]
    return (joined >> (24 - bits - shift).astype(np.uint32) & (2**bits - 1)).astype(np.uint16)


def _by_opencv(data: bytes, bits: int, shape: tuple[int, int, int]) -> np.ndarray | None:
    found = decode_all_bits(data)
    if found is None or found.size != np.prod(shape):
        return None
    # 10 to 14 bits come from it as the upper ones of 16.
    return found.reshape(shape) >> (16 - bits) if bits in (10, 12, 14) else found.reshape(shape)


def decode_all_bits(data: bytes) -> np.ndarray | None:
    """A file's first picture as OpenCV gives it, with all its bits: (H, W) or (H, W, C) in RGB."""
    import cv2

    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        log.setLogLevel(level)
    if found is not None and found.ndim == 3 and found.shape[2] > 2:
        for rows in strips(found.shape, 2**16):  # All at once would take the memory twice.
            found[rows, :, :3] = found[rows, :, 2::-1]
    return found


# === Directories ===


def _main(data: bytes, first: _Directory) -> _Directory:
    """The directory of the main picture: the largest that is no preview, if the first is one, or
    a sensor's, if there is one."""
    if not (first.is_preview or "below" in first.tags):
        return first
    found, left = [], MAX_DIRECTORIES
    places = [*first.tags.get("below", ())[:MAX_DIRECTORIES], first.after]
    while places and left:
        place, left = places.pop(0), left - 1
        if 0 < place < len(data):
            found.append((_directory(data, place, parts=False), place))
            places.append(found[-1][0].after)
    others = [(other.area, place) for other, place in found if not other.is_preview and other.area]
    raw = [(other.area, place) for other, place in found if other.one("photometric") in _RAW]
    others = raw or (others if first.is_preview else [])
    return _directory(data, max(others)[1]) if others else first


def _directory(data: bytes, place: int | None, parts: bool = True) -> _Directory:
    """A directory's known tags, perhaps without those of its strips; that at a place, or the first.

    Raises:
        struct.error: the file ends before.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    size, entry, word = (8, 20, "Q") if big else (4, 12, "I")
    if place is None:
        (place,) = struct.unpack_from(order + word, data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    place += 8 if big else 2
    tags = {}
    for _ in range(min(count, sys.maxsize if count < 2**16 else 0)):
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", data, place)
        name = _NAMES.get(tag)
        most = MAX_PARTS * parts if name in _PARTS else MAX_VALUES
        if name and name not in tags and kind in _KINDS and number <= most:
            layout = f"{order}{number}{_KINDS[kind]}"
            at = place + entry - size
            if struct.calcsize(layout) > size:
                (at,) = struct.unpack_from(order + word, data, at)
            tags[name] = struct.unpack_from(layout, data, at)
        place += entry
    after = struct.unpack_from(order + word, data, place)[0] if place + size <= len(data) else 0
    return _Directory(tags, order, after)
