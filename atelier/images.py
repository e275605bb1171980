"""Pictures in and out: the one door through which every task reads and writes them.

A picture is a file of unknown origin. It is opened by `atelier.image_files`, its size is judged
before it is decoded, and reading it takes no more memory than its file twice, `BYTES_A_PIXEL` for
each of its pixels, and `HEAD_BYTES`.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageCms

from atelier.errors import ImageError, OutputError
from atelier.files import atomic_path, files_below, read_bounded, write_stream
from atelier.image_files import open_image, upright

MAX_PIXELS = 100_000_000
"""Pictures with more pixels than this are refused before they are decoded."""

READABLE = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""The suffixes by which a folder's pictures are found."""

BYTES_A_PIXEL = 24
"""The most memory that reading takes for each pixel, beside twice the file's size."""

HEAD_BYTES = 100_000_000
"""The most memory that reading takes besides, for EXIF data and all else that is no pixel."""

MAX_SCANS = 50
"""The most scans that a progressive JPEG may have; ordinary ones have about ten."""

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray

_TILE_WIDTH, _TILE_LENGTH = 322, 323
"""TIFF's tags."""


def load_image(
    source: ImageSource,
    *,
    alpha: Literal["flatten", "keep"] = "flatten",
    background: tuple[int, int, int] = (255, 255, 255),
    grey: Literal["rgb", "keep"] = "rgb",
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Reads a picture of any common kind as 8-bit RGB.

    EXIF orientation is applied; an embedded colour profile is converted to sRGB; grey, palette,
    CMYK and 16-bit pictures are converted; of an animation, the first frame is taken. EXIF data
    and colour profiles that are damaged are passed over.

    Args:
        source: a path, a file's bytes, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4).
        alpha: "flatten" lays transparent pictures on `background`; "keep" gives them a fourth
            channel.
        background: RGB, each in [0, 255].
        grey: "keep" leaves a grey picture without transparency, as its format or its array's
            shape has it, with its one channel.
        max_pixels: the bound on width × height.

    Returns:
        uint8 (H, W, 3), or (H, W, 4) when `alpha` is "keep" and the picture has transparency, or
        (H, W) when `grey` is "keep" and the picture is grey.

    Raises:
        ImageError: missing, unreadable, truncated, not a picture, empty, or too large. The text
            names the file and the reason.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, alpha, background, grey, max_pixels)
    name = "picture"
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        source = _read_bytes(Path(source), file_bound(max_pixels))
    if isinstance(source, bytes) and not source:
        raise ImageError(f"{name}: the file is empty")
    with warnings.catch_warnings():
        # Size is judged here, by our own bound, before a pixel is decoded.
        warnings.simplefilter("ignore")
        try:
            if isinstance(source, Image.Image):  # Perhaps opened, but not decoded so far.
                return _from_pil(source, name, alpha, background, grey, max_pixels)
            with open_image(source) as image:
                _check_effort(image, source, name, max_pixels)
                return _from_pil(image, name, alpha, background, grey, max_pixels)
        except ImageError:
            raise
        except Image.DecompressionBombError:
            bound = min(max_pixels, 2 * Image.MAX_IMAGE_PIXELS)  # Pillow has one of its own.
            raise ImageError(f"{name}: more than {bound:,} pixels") from None
        except Image.UnidentifiedImageError:
            raise ImageError(f"{name}: not a picture in a format that can be read") from None
        except MemoryError:
            raise ImageError(f"{name}: takes more memory than there is") from None
        except Exception as error:  # Pillow's decoders raise two dozen kinds on damaged files.
            raise ImageError(f"{name}: damaged or truncated ({_one_line(error)})") from None


def file_bound(max_pixels: int = MAX_PIXELS) -> int:
    """The bytes that the file of a picture of so many pixels may have: eight a pixel, the most that
    any format takes uncompressed, and 64 MiB for all that is not pixels."""
    return 8 * max_pixels + 2**26


def save_image(
    path: str | os.PathLike, image: np.ndarray, *, overwrite: bool = True, quality: int = 95
) -> None:
    """Writes a picture, whole or not at all, in the format that the suffix names.

    Args:
        path: where to; JPEG (no alpha: laid on white), PNG, WebP, TIFF, BMP or GIF.
        image: uint8 (H, W), (H, W, 3) or (H, W, 4).
        overwrite: whether an existing file may be replaced.
        quality: of JPEG and WebP, in [1, 100].

    Raises:
        OutputError: an unknown suffix, an existing file, a place that cannot be written, or a
            picture that is too large for the format.
    """
    suffix = Path(path).suffix.lower()
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise OutputError(f"{path}: no picture format for the suffix {suffix!r}; try .png or .jpg")
    if image.ndim == 3 and image.shape[2] == 4 and suffix in (".jpg", ".jpeg", ".bmp", ".ppm"):
        image = _flatten(image, (255, 255, 255))
    options = {"quality": quality} if suffix in (".jpg", ".jpeg", ".webp") else {}
    if suffix in (".jpg", ".jpeg"):
        options["subsampling"] = 0
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            Image.fromarray(image).save(temporary, **options)
        # Sides beyond what the format can say.
        except (ValueError, OverflowError, struct.error) as error:
            raise OutputError(f"cannot write {path}: {_one_line(error)}") from None


def write_png(stream: BinaryIO, image: np.ndarray) -> None:
    """Writes a picture, uint8 (H, W), (H, W, 3) or (H, W, 4), into an open file, such as
    `sys.stdout.buffer`.

    Raises:
        OutputError: it cannot be written, because the disk is full, say.
        BrokenPipeError: whoever reads it has gone.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    write_stream(stream, file.getvalue())


def find_pictures(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """All files in `folders` and below that have a picture's suffix, sorted.

    Raises:
        ImageError: there is none.
    """
    files = (file for folder in folders for file in files_below(folder))
    pictures = sorted(f for f in files if f.suffix.lower() in READABLE and f.is_file())
    if not pictures:
        raise ImageError(f"no pictures in {', '.join(map(str, folders))}: looked for {READABLE}")
    return pictures


def sample(name: str) -> Path:
    """The file of a picture that comes with scikit-image, such as "astronaut.png"."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples with antialiasing (Lanczos).

    Args:
        image: uint8 (H, W, C), or float32 (H, W) or (H, W, C) in any range.
        size: the new (height, width).

    Returns:
        The same dtype and channels. Floats may overshoot their range slightly.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    planes = image[..., None] if image.ndim == 2 else image
    resized = [
        Image.fromarray(np.ascontiguousarray(planes[..., channel], np.float32)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in range(planes.shape[-1])
    ]
    return np.stack(resized, axis=-1).reshape((height, width, *image.shape[2:]))


def fit_size(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """The (height, width) at which the longer side of `shape` is `longest`, aspect kept."""
    height, width = shape[:2]
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise ImageError(f"{path}: this folder cannot be read")
            raise ImageError(f"{path}: a folder, not a picture")
        return read_bounded(path, limit)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({_one_line(error)})") from None


def _from_array(array, alpha, background, grey, max_pixels) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ImageError(f"arrays must be uint8, not {array.dtype}: scale to [0, 255] and convert")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"arrays must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    _check_size(array.shape[1], array.shape[0], "array", max_pixels)
    if array.shape[2] == 1:
        return array[..., 0].copy() if grey == "keep" else np.repeat(array, 3, axis=2)
    if array.shape[2] == 4 and alpha == "flatten":
        return _flatten(array, background)
    return array.copy()


def _from_pil(image, name, alpha, background, grey, max_pixels) -> np.ndarray:
    _check_size(*image.size, name, max_pixels)
    image.load()
    image = upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if transparent:
        image = image.convert("RGBA")
    if grey == "keep" and image.mode in ("1", "L") and not transparent:
        return np.asarray(image.convert("L")).copy()
    image = _to_srgb(image)
    array = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    if transparent and alpha == "flatten":
        return _flatten(array, background)
    return array.copy()


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Integer and float greys: 16 bits are divided by 257, floats up to 1 are multiplied by 255."""
    values = np.asarray(image)
    largest = values.max(initial=0, where=np.isfinite(values))
    levels = np.empty(values.shape, np.uint8)
    for rows in _strips(values.shape):
        part = values[rows].astype(np.float64)
        if image.mode == "F":
            part *= 255 if largest <= 1 else 1
        elif image.mode.startswith("I;16") or largest > 255:
            part /= 257
        levels[rows] = np.clip(np.rint(np.nan_to_num(part)), 0, 255)
    return Image.fromarray(levels)


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L", "P"):
        return image
    if image.mode == "P":
        image = image.convert("RGB")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # A broken profile is common, and no reason to refuse the picture.


def _flatten(array: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    flat = np.empty((*array.shape[:2], 3), np.uint8)
    for rows in _strips(array.shape):
        opacity = array[rows, :, 3:].astype(np.float32) / 255
        mixed = array[rows, :, :3] * opacity + np.asarray(background, np.float32) * (1 - opacity)
        flat[rows] = np.rint(mixed)
    return flat


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a picture, about a million pixels at once: as floats, all would take much memory."""
    rows = max(1, 2**20 // shape[1])
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def _check_effort(image: Image.Image, source: bytes, name: str, max_pixels: int) -> None:
    """Refuses JPEGs of more than `MAX_SCANS` scans, and TIFFs of tiles beyond `max_pixels`."""
    if image.format in ("JPEG", "MPO") and "progressive" in image.info:
        scans = source.count(b"\xff\xda")  # In coded data, 00 follows on FF.
        if scans > MAX_SCANS:
            raise ImageError(f"{name}: a JPEG of {scans:,} scans, more than {MAX_SCANS}")
    elif image.format == "TIFF" and _TILE_WIDTH in image.tag_v2:
        width, height = (int(image.tag_v2.get(tag, 0)) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if width * height > max_pixels:
            raise ImageError(f"{name}: tiles of {width}×{height} are too large")


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels")
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width}×{height} is more than {max_pixels:,} pixels")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
