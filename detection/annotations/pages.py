"""An annotation file of Pascal VOC's form, from bytes to numbers: any encoding, nothing trusted."""

from __future__ import annotations

import codecs
import dataclasses
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from detection.annotations.text import FaultError, plain

LARGEST = 1e9
"""Numbers beyond are no coordinates."""

NUMBER_LENGTH = 1_000
"""Characters of a number at most."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
"""How files of these encodings begin (XML 1.0, appendix F)."""

_DECLARED = re.compile(rb"\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")

_NO_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined")
"""Python's codecs that are not for files of text."""

_PASCAL = re.compile(r"the voc ?\d{4} database|pascal voc ?\d{4}", re.IGNORECASE)
"""What VOC's own files, of 2007 to 2012, say of their source."""

_TRUE = ("1", "1.0", "true", "yes")


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object, unchecked."""

    label: str
    """"" where there is none."""
    corners: tuple[float, float, float, float] | None
    """xmin ymin xmax ymax, or None where they cannot be had."""
    difficult: bool = False
    reason: str = ""
    """Why there are no corners."""
    outlined: bool = False
    """Whether the corners are those of an outline or of a turned box."""


@dataclasses.dataclass(frozen=True)
class Page:
    """A picture's annotations, unchecked."""

    file: str
    """The picture's name, "" where there is none."""
    size: tuple[float, float] | None
    """Height and width, above 0."""
    pascal: bool
    """Whether the source is said to be PASCAL's own data."""
    things: tuple[Thing, ...]


def parse(content: bytes) -> Page:
    """Reads an annotation file.

    Raises:
        FaultError: not XML, not VOC's form, in an encoding that it does not declare, or with a
            document type, which annotations have no need of.
    """
    text = decode(content)
    # The text that is looked through is the text that is parsed: NUL is no character of XML.
    if "\0" in text:
        raise FaultError("malformed XML (it holds NUL characters)")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FaultError("refused: it declares a document type, which annotations have no need of")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise FaultError(f"malformed XML ({plain(str(error))})") from None
    if root.tag != "annotation":
        hint = (
            " but CVAT's own form: export Pascal VOC instead" if root.tag == "annotations" else ""
        )
        raise FaultError(f"<{plain(root.tag)}> is no VOC annotation{hint}")
    source = root.find("source")
    said = "" if source is None else " ".join(source.itertext())
    return Page(
        file=_text(root, "filename"),
        size=_size(root.find("size")),
        pascal=bool(_PASCAL.search(said)),
        things=tuple(
            _thing(element)
            for element in root.findall("object")
            if _text(element, "deleted") not in _TRUE
        ),
    )


def decode(content: bytes) -> str:
    """Decodes an XML file: by its mark, by what it declares, or else as UTF-8.

    Raises:
        FaultError: it is not text of that encoding.
    """
    name = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    declared = "" if name else _DECLARED.match(content)
    if declared:
        name = declared[1].decode("ascii").lower()
        # .NET says UTF-16 of what it then saves as UTF-8; UTF-16's bytes would not match here.
        name = "utf-8" if name.startswith(("utf-16", "utf-32")) else name
    try:
        codec = codecs.lookup(name or "utf-8").name
        if codec in _NO_FILES:
            raise LookupError
        return content.decode(codec)
    except UnicodeDecodeError:
        said = f", as it declares ({plain(name)})" if declared else ", and declares no encoding"
        raise FaultError(f"not {'text' if declared else 'UTF-8 text'}{said}") from None
    except (LookupError, ValueError):
        raise FaultError(f"it declares the encoding {plain(name)!r}, which is not known") from None


def number(text: str) -> float:
    """Reads a number with any number of decimals, and with an exponent.

    Raises:
        FaultError: it is none, or beyond `LARGEST`.
    """
    if len(text) > NUMBER_LENGTH or not _NUMBER.fullmatch(text):
        raise FaultError(f"{plain(text)!r}, not a number")
    value = float(text)
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise FaultError(f"{plain(text)!r}, which is no coordinate")
    return value


def _size(element: ET.Element | None) -> tuple[float, float] | None:
    """Some programs write 0, or nothing, where they do not know the size."""
    if element is None:
        return None
    try:
        height, width = (number(_text(element, side)) for side in ("height", "width"))
    except FaultError:
        return None
    return (height, width) if min(height, width) > 0 else None


def _thing(element: ET.Element) -> Thing:
    label, difficult = _text(element, "name"), _text(element, "difficult").lower() in _TRUE
    box = element.find("bndbox")
    try:
        if box is not None:
            corners = tuple([_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax")])
            return Thing(label, corners, difficult)
        corners = _outline(element)
    except FaultError as error:
        return Thing(label, None, difficult, str(error))
    return Thing(label, corners, difficult, "" if corners else "no <bndbox>", bool(corners))


def _outline(element: ET.Element) -> tuple[float, float, float, float] | None:
    """The corners around a polygon, as LabelMe and RectLabel write them, or around roLabelImg's
    turned box."""
    turned = element.find("robndbox")
    if turned is not None:
        x, y, width, height, angle = (
            _number(turned, tag) for tag in ("cx", "cy", "w", "h", "angle")
        )
        cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
        dx, dy = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
        return x - dx, y - dy, x + dx, y + dy
    polygon = element.find("polygon")
    if polygon is None:
        return None
    xs, ys = (list(_along(polygon.iter(), axis)) for axis in "xy")
    return (min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _along(elements: Iterable[ET.Element], axis: str) -> Iterable[float]:
    """The coordinates along an axis: <x> or <x1>, <x2> …"""
    for element in elements:
        if element.tag[:1] == axis and (element.tag == axis or element.tag[1:].isdecimal()):
            yield number((element.text or "").strip())


def _text(element: ET.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _number(element: ET.Element, tag: str) -> float:
    text = _text(element, tag)
    if not text:
        raise FaultError(f"no <{tag}>")
    try:
        return number(text)
    except FaultError as error:
        raise FaultError(f"<{tag}> is {error}") from None
