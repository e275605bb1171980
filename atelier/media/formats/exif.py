"""EXIF data as blocks of bytes, changed in place where the picture has changed.

A block is a TIFF file of directories without pixels. All its values stay where they are, as makers'
notes point into the block and no reader knows all of them.

References: CIPA DC-008 (Exif 3.0), section 4.6; TIFF 6.0, section 2; ISO/IEC 14496-12, section 8.11
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

EXIF_BYTES = 2**16
"""The most EXIF data that is kept; a segment of a JPEG file holds no more."""

PREFIX = b"Exif\0\0"
"""What stands before a block in JPEG files, and in some others."""

_SIZES = dict.fromkeys((1, 2, 6, 7, 129), 1) | dict.fromkeys((3, 8), 2)
_SIZES |= dict.fromkeys((4, 9, 11, 13), 4) | dict.fromkeys((5, 10, 12), 8)
"""Bytes that a value takes, by its type."""

_SHORT, _LONG, _RATIONAL = 3, 4, 5

_WIDTH, _LENGTH, _ORIENTATION = 256, 257, 274
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_COLOR_SPACE, _EXIF_WIDTH, _EXIF_LENGTH = 40961, 40962, 40963
_THUMBNAILS = ((273, 279), (513, 514))
"""Tags of where a thumbnail's pixels are, and how many bytes they take."""

DESCRIPTIVE = frozenset((269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 33432))
DESCRIPTIVE |= frozenset((40091, 40092, 40093, 40094, 40095))
"""Tags of a TIFF file that tell of the picture and not of how its pixels are stored."""


class _Entry(NamedTuple):
    tag: int
    kind: int
    count: int
    place: int
    """Where its values are in the block."""
    size: int
    """The bytes that they take."""


class _Directory(NamedTuple):
    start: int
    end: int
    """Behind the last entry: there the place of the next directory stands."""
    entries: tuple[_Entry, ...]

    def first(self, tag: int) -> _Entry | None:
        return next((entry for entry in self.entries if entry.tag == tag), None)


class _Block:
    """A block's directories, each within its bounds.

    Raises:
        ValueError: it is damaged, or values share their bytes.
    """

    def __init__(self, data: bytes | bytearray):
        self.data = data
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]), "")
        if not self.order:
            raise ValueError("it does not begin as EXIF data does")
        self._left = len(data)
        self.main = self.directory(*self.numbers("I", 4))
        self.directories = {"main": self.main}
        for name, above, tag in (
            ("exif", "main", _EXIF),
            ("gps", "main", _GPS),
            ("interoperability", "exif", _INTEROPERABILITY),
        ):
            pointer = self.directories[above].first(tag) if above in self.directories else None
            if pointer is not None:
                self.directories[name] = self.directory(self.value(pointer))

    def numbers(self, layout: str, place: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + layout, self.data, place)
        except struct.error:
            raise ValueError("it ends too early") from None

    def directory(self, start: int) -> _Directory:
        (count,) = self.numbers("H", start)
        end = start + 2 + 12 * count
        entries = []
        self._take(2 + 12 * count)
        for place in range(start + 2, end, 12):
            tag, kind, values = self.numbers("HHI", place)
            size = values * _SIZES.get(kind, 0)
            there = place + 8
            if size > 4:
                (there,) = self.numbers("I", place + 8)
            if there + size > len(self.data):
                raise ValueError("a value is beyond its end")
            self._take(size if size > 4 else 0)
            entries.append(_Entry(tag, kind, values, there, size))
        return _Directory(start, end, tuple(entries))

    def value(self, entry: _Entry) -> int:
        """A single number of a directory's entry."""
        layout = {_SHORT: "H", _LONG: "I", 13: "I"}.get(entry.kind)
        if layout is None or entry.count != 1:
            raise ValueError("a pointer is not one number")
        return self.numbers(layout, entry.place)[0]

    def set(self, name: str, tag: int, value: int) -> None:
        """Changes a number, if it is there and has room."""
        entry = self.directories[name].first(tag) if name in self.directories else None
        layout = {_SHORT: "H", _LONG: "I"}.get(entry.kind) if entry is not None else None
        if layout is not None and entry.count == 1 and value < 256 ** struct.calcsize(layout):
            struct.pack_into(self.order + layout, self.data, entry.place, value)

    def bytes_of(self, entry: _Entry) -> bytes:
        return bytes(self.data[entry.place : entry.place + entry.size])

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("its parts overlap")


def upright(data: bytes, *, srgb: bool) -> bytes:
    """A block for the same picture turned upright: orientation 1, and without its thumbnail.

    Args:
        data: a block, with or without `PREFIX`.
        srgb: whether the picture's colours have been converted to sRGB, as it then says.

    Raises:
        ValueError: it is damaged.
    """
    block = _Block(bytearray(data.removeprefix(PREFIX)))
    block.set("main", _ORIENTATION, 1)
    if srgb:
        block.set("exif", _COLOR_SPACE, 1)
        index = block.directories.get("interoperability", _Directory(0, 0, ())).first(1)
        if index is not None and block.bytes_of(index) == b"R03\0":  # Adobe RGB.
            block.data[index.place : index.place + 3] = b"R98"
    _drop_thumbnail(block)
    return bytes(_Block(block.data).data)  # It must have come out whole.


def resized(data: bytes, width: int, height: int) -> bytes:
    """A block for the picture at another size in pixels. Raises ValueError if it is damaged."""
    block = _Block(bytearray(data))
    for name, tags in (("main", (_WIDTH, _LENGTH)), ("exif", (_EXIF_WIDTH, _EXIF_LENGTH))):
        for tag, value in zip(tags, (width, height), strict=True):
            block.set(name, tag, value)
    return bytes(block.data)


def from_tiff(data: bytes) -> bytes:
    """A block of what a TIFF file tells of its picture; empty if that is nothing.

    Raises:
        ValueError: it is damaged, or takes more than `EXIF_BYTES`.
    """
    block = _Block(data)
    parts = {}
    for name, directory in block.directories.items():
        kept = [
            entry
            for entry in directory.entries
            if (entry.tag in DESCRIPTIVE if name == "main" else entry.tag != _INTEROPERABILITY)
        ]
        if sum(entry.size for entry in kept) > EXIF_BYTES:
            raise ValueError(f"it takes more than {EXIF_BYTES:,} bytes")
        parts[name] = {e.tag: (e.kind, e.count, block.bytes_of(e)) for e in kept}
    if not any(parts.values()):
        return b""
    return _build(block.order, parts)


def of_resolution(x: float, y: float) -> bytes:
    """A block that tells the resolution alone, in pixels an inch."""
    rationals = [struct.pack("<II", round(1000 * value), 1000) for value in (x, y)]
    entries = {
        _X_RESOLUTION: (_RATIONAL, 1, rationals[0]),
        _Y_RESOLUTION: (_RATIONAL, 1, rationals[1]),
        _UNIT: (_SHORT, 1, struct.pack("<H", 2)),
    }
    return _build("<", {"main": entries})


def _build(order: str, parts: Mapping[str, Mapping[int, tuple[int, int, bytes]]]) -> bytes:
    """A block of directories whose entries are given by tag: type, count and bytes."""
    total = sum(len(value) + 12 for part in parts.values() for _, _, value in part.values())
    if total > EXIF_BYTES:
        raise ValueError(f"it takes more than {EXIF_BYTES:,} bytes")
    below = {
        "main": (("exif", _EXIF), ("gps", _GPS)),
        "exif": (("interoperability", _INTEROPERABILITY),),
    }
    data = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4))

    def write(name: str) -> int:
        entries = dict(parts[name])
        for other, tag in below.get(name, ()):
            if other in parts:
                entries[tag] = (_LONG, 1, struct.pack(order + "I", write(other)))
        start = len(data)
        data.extend(struct.pack(order + "H", len(entries)) + bytes(12 * len(entries) + 4))
        for number, (tag, (kind, count, value)) in enumerate(sorted(entries.items())):
            field = value.ljust(4, b"\0")
            if len(value) > 4:
                field = struct.pack(order + "I", len(data))
                data.extend(value + bytes(len(value) % 2))
            struct.pack_into(
                order + "HHI4s", data, start + 2 + 12 * number, tag, kind, count, field
            )
        return start

    struct.pack_into(order + "I", data, 4, write("main"))
    return bytes(data)


def _drop_thumbnail(block: _Block) -> None:
    """Takes the thumbnail's directory out of the chain, and its bytes where nothing else is."""
    try:
        (start,) = block.numbers("I", block.main.end)
        if not start:
            return
        struct.pack_into("4x", block.data, block.main.end)
        small = block.directory(start)
        dropped = [(small.start, small.end + 4), *_spans(small.entries)]
        for places, sizes in _THUMBNAILS:
            place, size = small.first(places), small.first(sizes)
            if place is not None and size is not None:
                begin = block.value(place)
                dropped.append((begin, begin + block.value(size)))
    except ValueError:  # The block ends with its directory, or the thumbnail is damaged.
        return
    length = len(block.data)
    used = bytearray(b"\1" * 8 + bytes(length - 8))
    for directory in block.directories.values():
        for begin, end in ((directory.start, directory.end + 4), *_spans(directory.entries)):
            used[begin:end] = b"\1" * len(used[begin:end])
    for begin, end in dropped:
        for place in range(begin, min(end, length)):
            if not used[place]:
                block.data[place] = 0
    # What it leaves at the end goes; in between, others' values keep their places.
    for begin, end in sorted(dropped, reverse=True):
        if min(end, length) >= length - 3:
            length = min(length, begin)
    del block.data[max(length, used.rfind(b"\1") + 1) :]


def _spans(entries: Iterable[_Entry]) -> Iterator[tuple[int, int]]:
    return ((entry.place, entry.place + entry.size) for entry in entries)


# === AVIF ===


def from_avif(data: bytes) -> bytes:
    """The block of an AVIF file, as it stands there; empty if there is none.

    Raises:
        ValueError: the file is damaged, or it takes more than `EXIF_BYTES`.
    """
    try:
        meta = next((body for kind, body in _boxes(data) if kind == b"meta"), None)
        if meta is None:
            return b""
        boxes = dict(_boxes(meta[4:]))
        item = _find_item(boxes.get(b"iinf", b""), b"Exif")
        extents = [] if item is None else _extents(boxes.get(b"iloc", b""), item)
        if sum(size for _, size in extents) > EXIF_BYTES + 10:
            raise ValueError(f"it takes more than {EXIF_BYTES:,} bytes")
        found = b"".join(data[place : place + size] for place, size in extents)
        if not found:
            return b""
        (skipped,) = struct.unpack_from(">I", found)
    except struct.error:
        raise ValueError("it ends too early") from None
    return found[4 + skipped :].removeprefix(PREFIX)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the content of each box, but for those behind a damaged one."""
    view, place = memoryview(data), 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, place + 8), 16
        size = size or len(data) - place
        if size < head:
            return
        small = kind in (b"meta", b"iinf", b"iloc", b"infe")
        yield kind, bytes(view[place + head : place + size]) if small else b""
        place += size


def _find_item(infos: bytes, kind: bytes) -> int | None:
    """The number of the first item of a kind."""
    head = 6 if infos[:1] == b"\0" else 8
    for name, info in _boxes(infos[head:]):
        layout = {2: ">HH4s", 3: ">IH4s"}.get(info[0] if info else None)
        if name == b"infe" and layout is not None:
            number, _, found = struct.unpack_from(layout, info, 4)
            if found == kind:
                return number
    return None


def _extents(table: bytes, item: int) -> list[tuple[int, int]]:
    """Where an item's bytes are in the file: place and size of each part."""
    version, sizes, place = table[0] if table else 0, table[4:6], 6

    def number(size: int) -> int:
        nonlocal place
        place += size
        if place > len(table):
            raise ValueError("it ends too early")
        return int.from_bytes(table[place - size : place], "big")

    offset_size, length_size, base_size, index_size = (
        nibble for byte in sizes for nibble in (byte >> 4, byte & 15)
    )
    for _ in range(number(2 if version < 2 else 4)):
        found = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)
        base, extents = number(base_size), []
        for _ in range(number(2)):
            number(index_size if version else 0)
            extents.append((base + number(offset_size), number(length_size)))
        if found == item:
            return extents if method == 0 else []
    return []
