"""What a picture's file says beside its pixels: EXIF and XMP data, and the resolution.

What `read_metadata` gives fits pixels that are upright and in sRGB, as `atelier.media.images` gives
them. A stranger's data never costs the picture: what is damaged or too large is left out, and
named.
"""

from __future__ import annotations

import dataclasses
import math
import re

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from atelier.media.formats import exif

XMP_BYTES = 2**20
"""The most XMP data that is kept."""

JPEG_XMP_BYTES = 65_502
"""The most of it that a segment of a JPEG file holds (XMP specification, part 3, section 1.1.3)."""

_EXIF_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "JXL")
"""Pillow's names of the formats that hold EXIF and XMP data."""

_DPI_FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "BMP")
"""And of those that state a resolution of their own."""

METADATA_OPTIONS = frozenset({"dpi", "exif", "xmp", "pnginfo", "tiffinfo"})
"""Pillow's arguments that `save_options` gives."""

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[1-8]")
_XMP_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)
_IPTC = b"8BIM\x04\x04"
"""What is before captions and keywords in Photoshop's data."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a picture's file says beside its pixels."""

    exif: bytes = b""
    """A block as in EXIF's standard, from its byte order on: upright, without a thumbnail."""
    xmp: bytes = b""
    """A packet of XMP."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down."""
    profile: str = ""
    """The name of the colour profile from which the pixels were converted to sRGB, if that was
    another."""
    lost: tuple[str, ...] = ()
    """A line for each part that could not be read."""
    changed: tuple[str, ...] = ()
    """A line for each thing about the pixels that is not as the file has it, but for colours."""

    def stripped(self) -> Metadata:
        """The same without what tells of the camera, of people and of places."""
        return Metadata(dpi=self.dpi, profile=self.profile, changed=self.changed)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each thing that is not as the file has it."""
        converted = (f"colours are sRGB now, no longer {self.profile}",) if self.profile else ()
        return (*self.changed, *converted, *self.lost)


NOTHING = Metadata()
"""Of a picture that has no file."""


def read_metadata(
    image: Image.Image,
    source: bytes | None = None,
    profile: str = "",
    changed: tuple[str, ...] = (),
) -> Metadata:
    """Reads what a decoded picture's file says.

    Args:
        image: with what Pillow found in the file.
        source: the file, if it is at hand; the EXIF data of TIFF and AVIF is read from it.
        profile: the name of the profile from which the pixels have been converted to sRGB.
        changed: lines about how else the pixels have been converted.
    """
    lost = []
    block = packet = b""
    try:
        block = _exif_of(image, source)
        if len(block) > exif.EXIF_BYTES:
            raise ValueError(f"it takes more than {exif.EXIF_BYTES:,} bytes")
        if block:
            block = exif.upright(block, srgb=bool(profile))
    except ValueError as error:
        block = b""
        lost.append(f"EXIF data is left out: {error}")
    found = image.info.get("xmp", b"")
    packet = found.encode() if isinstance(found, str) else found
    if not isinstance(packet, bytes):
        packet = b""
    if len(packet) > XMP_BYTES:
        packet = b""
        lost.append(f"XMP data is left out: it takes more than {XMP_BYTES:,} bytes")
    packet = _XMP_THUMBNAILS.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", packet))
    if any(_IPTC in part for part in _photoshop(image)):
        lost.append("IPTC data is left out")
    return Metadata(block, packet, _resolution(image), profile, tuple(lost), changed)


def save_options(
    metadata: Metadata, format: str, width: int, height: int
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Pillow's arguments for saving a picture with metadata.

    Args:
        metadata: of the picture that it was made from.
        format: Pillow's name of the file's format.
        width: of the picture, in pixels.
        height: likewise.

    Returns:
        The arguments, and a line for each part that the format cannot hold.
    """
    options: dict[str, object] = {}
    notes = list(metadata.notes)
    if metadata.dpi is not None and format in _DPI_FORMATS:
        options["dpi"] = metadata.dpi
    held = format in _EXIF_FORMATS
    block, packet = metadata.exif if held else b"", metadata.xmp if held else b""
    for name, data in (("EXIF", metadata.exif), ("XMP", metadata.xmp)):
        if data and not held:
            notes.append(f"{name} data is left out: {format} cannot hold it")
    if held and metadata.dpi is not None and format not in _DPI_FORMATS and not block:
        block = exif.of_resolution(*metadata.dpi)
    if block:
        block = exif.resized(block, width, height)
    if format in ("JPEG", "MPO") and len(packet) > JPEG_XMP_BYTES:
        notes.append(f"XMP data is left out: a JPEG file holds {JPEG_XMP_BYTES:,} bytes of it")
        packet = b""
    if format == "TIFF":
        if block or packet:
            options["tiffinfo"] = _tiff_tags(block, packet)
        return options, tuple(notes)
    if block:
        options["exif"] = exif.PREFIX + block
    if packet and format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    elif packet:
        options["xmp"] = packet
    return options, tuple(notes)


def _tiff_tags(block: bytes, packet: bytes) -> Image.Exif:
    """The tags of a TIFF file that tell of the picture, with EXIF's directories."""
    tags = Image.Exif()
    if block:
        tags.load(block)
    pointers = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
    for tag in set(tags) - exif.DESCRIPTIVE - set(pointers):
        del tags[tag]
    if ExifTags.IFD.Exif in tags:  # One below another is not written.
        tags.get_ifd(ExifTags.IFD.Exif).pop(ExifTags.IFD.Interop, None)
    if packet:
        tags[TiffImagePlugin.XMP] = packet
    return tags


def _exif_of(image: Image.Image, source: bytes | None) -> bytes:
    if image.format == "TIFF":
        return exif.from_tiff(source) if source is not None else b""
    if image.format in ("AVIF", "HEIF") and source is not None:
        return exif.from_avif(source)
    text = image.info.get("Raw profile type exif")  # PNG files of ImageMagick.
    if "exif" not in image.info and text:
        if len(text) > 3 * exif.EXIF_BYTES:
            raise ValueError(f"it takes more than {exif.EXIF_BYTES:,} bytes")
        return bytes.fromhex("".join(text.split("\n")[3:])).removeprefix(exif.PREFIX)
    found = image.info.get("exif", b"")
    jpeg = source is not None and image.format in ("JPEG", "MPO")
    if jpeg and not found and exif.PREFIX in source[: 2**18]:  # `open_image` has passed it over.
        raise ValueError(f"it takes more than {exif.EXIF_BYTES:,} bytes")
    return found.removeprefix(exif.PREFIX) if isinstance(found, bytes) else b""


def _photoshop(image: Image.Image) -> list[bytes]:
    found = image.info.get("photoshop")
    if isinstance(found, dict):  # By the resource's number.
        return [_IPTC for number in found if number == 0x0404]
    return [found] if isinstance(found, bytes) else []


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = map(float, image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sensible = math.isfinite(x) and math.isfinite(y) and 1 <= min(x, y) <= max(x, y) < 2**16
    return (x, y) if sensible else None
