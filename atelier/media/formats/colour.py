"""The colours that a picture's file states, and how they become sRGB.

In this order: PNG's cICP chunk, an ICC profile, AVIF's and HEIF's nclx box, PNG's gAMA and cHRM
chunks, and Adobe RGB as cameras state it in EXIF data. Where a file states nothing, it is in sRGB.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, ImageCms

from atelier.media.formats.cicp import Coding, coding, convert, to_bt709

MAX_CHUNKS = 1_000
"""The most chunks of a PNG file, and boxes of an AVIF file, that are looked at."""

_ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290)
_ADOBE_EXPONENT = 2.19921875
"""Adobe RGB (1998), sections 4.3.1.1 and 4.3.1.2."""

_GAMMA, _GAMMA_SLACK = 1 / 2.2, 0.05
"""PNG's gAMA of sRGB, and what is taken for it: libpng's threshold."""

_JXL_SRGB = ("RGB_D65_SRG_Rel_SRG", "RGB_D65_SRG_Per_SRG", "Gra_D65_Rel_SRG", "Gra_D65_Per_SRG")
"""libjxl's names for profiles of sRGB."""

_NUMBERS = "numbers of H.273"
"""The key in a picture's `info`."""

_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that lead to nclx, and what stands in them before other boxes."""


def stated(image: Image.Image, source: bytes | None = None) -> tuple[Coding | None, str]:
    """Reads what a picture's file states of its colours, but for ICC profiles.

    Args:
        image: decoded, with what Pillow found in the file.
        source: the file, if it is at hand; cICP and nclx are read from it, else they are taken from
            `image.info`, where `note_numbers` leaves them.

    Returns:
        The coding, None if the file states none, or an ICC profile that counts instead; and a line
        about a statement that is not understood, or nothing.
    """
    numbers, profile = image.info.get(_NUMBERS), image.info.get("icc_profile")
    if source is not None:
        numbers = _numbers(image.format, source)
    if profile and not (numbers is not None and image.format == "PNG"):
        return None, ""
    if image.format == "HEIF" and image.info.get("nclx_profile"):
        nclx = image.info["nclx_profile"]
        numbers = nclx["color_primaries"], nclx["transfer_characteristics"], True
    if numbers is not None:
        found = coding(*numbers)
        unknown = f"its colours ({numbers[0]}/{numbers[1]} by H.273) are not understood: taken for "
        return found, "" if found is not None else f"{unknown}sRGB"
    if image.format == "PNG":
        return _gamma(image), ""
    return (_adobe_rgb() if _says_adobe_rgb(image) else None), ""


def note_numbers(image: Image.Image, source: bytes) -> None:
    """Keeps what a file's cICP chunk or nclx box states with its picture, for all its frames."""
    numbers = _numbers(image.format, source)
    if numbers is not None:
        image.info[_NUMBERS] = numbers


def to_srgb(
    image: Image.Image, found: Coding | None = None, grey: bool = False
) -> tuple[Image.Image, str]:
    """Converts a picture's colours by what its file states.

    Args:
        image: of 8 bits; of other modes than "RGB", "RGBA", "CMYK", "L", "LA", "P" and "LAB" it is
            left as it is.
        found: what `stated` gives; an ICC profile that is in `image.info` counts only without it.
        grey: whether the picture, of mode "RGBA", is a grey one with transparency.

    Returns:
        The picture in sRGB, and the name of the colours that it had; empty if it had those of sRGB,
        or a profile that is damaged or does not fit the picture, which is left as it is then. A
        grey picture stays grey.
    """
    if image.mode == "LAB":
        image = _from_lab(image)
        return image, "CIELAB"
    profile = image.info.get("icc_profile")
    if found is None and not profile:
        return image, ""
    if found is not None and found.is_srgb:
        return image, ""
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode == "LA" or (grey and image.mode == "RGBA"):
        values, opacity = image.getchannel(0), image.getchannel("A")
        values.info = image.info
        converted, name = to_srgb(values, found)
        bands = (converted, opacity) if image.mode == "LA" else (*[converted] * 3, opacity)
        return Image.merge(image.mode, bands), name
    if found is not None:
        return _by_coding(image, found)
    return _by_profile(image, profile)


def _by_coding(image: Image.Image, found: Coding) -> tuple[Image.Image, str]:
    if image.mode == "L":
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
        if found.is_hdr:  # Its peak depends on the picture's.
            ramp = np.minimum(ramp, np.asarray(image).max())
        return Image.fromarray(convert(ramp, found)[:, 0, 1][np.asarray(image)]), found.name
    if image.mode not in ("RGB", "RGBA"):
        return image, ""
    pixels = np.asarray(image)
    converted = Image.fromarray(convert(pixels[..., :3], found))
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted, found.name


def _by_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    if image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image, ""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode != "L" and source.profile.xcolor_space.strip() == "GRAY":
            return _grey_in_rgb(image)
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
        name = " ".join(ImageCms.getProfileDescription(source).split())[:80] or "their profile"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, ""  # A broken profile is common, and no reason to refuse the picture.
    if image.mode == "L":
        converted = converted.getchannel("G")
    return converted, "" if "srgb" in name.lower() or name in _JXL_SRGB else name


def _grey_in_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """A grey picture of a format that knows RGB alone, such as WebP, by its profile of grey."""
    red, green, blue = (image.getchannel(band) for band in range(3))
    if image.mode == "CMYK" or red != green or green != blue:
        return image, ""
    green.info = image.info
    converted, name = to_srgb(green)
    bands = [converted] * 3 + ([image.getchannel("A")] if image.mode == "RGBA" else [])
    return Image.merge(image.mode, bands), name


def _from_lab(image: Image.Image) -> Image.Image:
    profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
    return ImageCms.profileToProfile(image, *profiles, outputMode="RGB")


# === Statements ===


def _numbers(format: str | None, source: bytes) -> tuple[int, int, bool] | None:
    reader = {"PNG": _cicp, "AVIF": _nclx}.get(format)
    return reader(source) if reader is not None else None


def _cicp(source: bytes) -> tuple[int, int, bool] | None:
    """Primaries, transfer curve and whether the range is full, of a PNG file's cICP chunk (PNG,
    third edition, section 11.3.2.6)."""
    place = 8
    for _ in range(MAX_CHUNKS):
        head = source[place : place + 8]
        if len(head) < 8 or head[4:] == b"IDAT":
            return None
        (size,) = struct.unpack_from(">I", head)
        if head[4:] == b"cICP":
            numbers = source[place + 8 : place + 8 + min(size, 5)]
            return (numbers[0], numbers[1], numbers[3] != 0) if len(numbers) == 4 else None
        place += 12 + size
    return None


def _nclx(source: bytes) -> tuple[int, int, bool] | None:
    """Primaries and transfer curve of an AVIF file's first nclx box (ISO/IEC 14496-12, section
    12.1.5); the decoder has seen to the range."""
    for kind, start, end in _boxes(source, 0, len(source), [MAX_CHUNKS], 4):
        if kind == b"colr" and source[start : start + 4] == b"nclx" and end - start >= 10:
            return (*struct.unpack_from(">HH", source, start + 4), True)
    return None


def _boxes(
    source: bytes, place: int, end: int, left: list[int], depth: int
) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of boxes, and of those in them that lead to nclx."""
    while place + 8 <= end and left[0] > 0:
        left[0] -= 1
        size, kind = struct.unpack_from(">I4s", source, place)
        head = 8
        if size == 1 and place + 16 <= end:
            (size,), head = struct.unpack_from(">Q", source, place + 8), 16
        stop = min(place + size, end) if size else end
        if stop < place + head:
            return
        yield kind, place + head, stop
        if kind in _CONTAINERS and depth:
            inner = place + head + _CONTAINERS[kind]
            yield from _boxes(source, inner, stop, left, depth - 1)
        place = stop


def _gamma(image: Image.Image) -> Coding | None:
    """What PNG's gAMA and cHRM chunks state, unless sRGB's chunk overrules them."""
    gamma, places = image.info.get("gamma"), image.info.get("chromaticity")
    if not gamma or "srgb" in image.info:
        return None
    primaries = Coding("").primaries
    if places and all(0 < value < 1 for value in places):
        primaries = (*places[2:], *places[:2])  # The chunk begins with white.
    close = abs(gamma / _GAMMA - 1) <= _GAMMA_SLACK
    if close and np.allclose(primaries, Coding("").primaries, atol=0.01):
        return None
    try:
        to_bt709(primaries)
    except np.linalg.LinAlgError:  # Three places on a line.
        return None
    name = f"gamma {1 / gamma:.3g}"
    return Coding(name, primaries, exponent=1 / gamma) if 0.1 <= gamma <= 10 else None


def _adobe_rgb() -> Coding:
    return Coding("Adobe RGB", _ADOBE_RGB, exponent=_ADOBE_EXPONENT)


def _says_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF data states Adobe RGB as DCF 2.0 has it: of an "uncalibrated" space, R03."""
    block = image.info.get("exif")
    if not isinstance(block, bytes) or b"R03" not in block:
        return False
    try:
        part = image.getexif().get_ifd(ExifTags.IFD.Exif)
        other = image.getexif().get_ifd(ExifTags.IFD.Interop)
        uncalibrated = part.get(ExifTags.Base.ColorSpace) == 0xFFFF
        return uncalibrated and str(other.get(1, "")).startswith("R03")
    except Exception:  # Damaged EXIF raises a dozen kinds.
        return False
