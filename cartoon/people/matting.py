"""From a coarse mask to a cut-out: edges that follow the picture, and the colours in front."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

COARSE = 500
"""Longer side in pixels at which the guided filter's coefficients and blurred colours are found,
however large the picture."""

REACH = 0.012
"""Radius of the guided filter, as a part of the picture's longer side."""

EPSILON = 1e-4
"""Its regularisation: variance of colours in [0, 1] below which an area counts as flat."""

SPECK = 0.001
"""Parts and holes of a mask that cover less of the picture are taken for mistakes."""

TILE = 256
"""Side in pixels of the squares in which a mask is refined, but for those that are sure."""

Tile = tuple[slice, slice]
"""Rows and columns."""


def refine(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Lets a mask's edges follow those of its picture, down to hair, at full resolution.

    Away from edges what is surely inside becomes 1, and what is surely outside 0.

    Args:
        mask: float32 (H, W) in [0, 1].
        image: uint8 (H, W, 3).

    Returns:
        float32 (H, W) in [0, 1].
    """
    radius = max(2, round(REACH * max(mask.shape)))
    coefficients = guided_coefficients(image, mask, radius, EPSILON)
    # Where the mask is sure all around, texture has nothing to tell.
    small = _shrunk(mask)
    kernel = np.ones(_window(radius, mask.shape), np.uint8)
    sure_in = cv2.erode((small > 0.9).astype(np.uint8), kernel, borderValue=1)
    sure_out = cv2.erode((small < 0.1).astype(np.uint8), kernel, borderValue=1)
    fine = np.empty_like(mask)
    for tile in _tiles(mask.shape):
        inside, outside = (_enlarged(sure, mask.shape, tile) > 0 for sure in (sure_in, sure_out))
        if inside.all() or outside.all():
            fine[tile] = inside
            continue
        part = linear(coefficients, image, tile)
        part = np.clip((part - 0.1) / 0.8, 0, 1)  # It leaves a haze on both sides.
        part[inside], part[outside] = 1, 0
        fine[tile] = part
    return fine


def harden(mask: np.ndarray) -> np.ndarray:
    """A mask with its edges half as wide."""
    return np.clip(2 * mask - 0.5, 0, 1)


def tidy(mask: np.ndarray) -> np.ndarray:
    """A network's mask without haze, pinholes and specks.

    What is doubtful becomes less so, and parts and holes of less than `SPECK` of the picture go.

    Args:
        mask: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W) in [0, 1].
    """
    mask = harden(mask)
    coarse = _shrunk(mask) > 0.5
    for side, level in ((coarse, 0), (~coarse, 1)):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(side.astype(np.uint8))
        small = stats[:, cv2.CC_STAT_AREA] < SPECK * coarse.size
        small[0] = False  # All that is not on this side.
        if small.any():
            rim = cv2.dilate(small[labels].astype(np.uint8), np.ones((5, 5), np.uint8))
            mask[cv2.resize(rim, mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0] = level
    return mask


def guided_filter(image: np.ndarray, mask: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """A mask as a locally linear function of the picture's colours.

    Args:
        image: uint8 (H, W, 3), the guide.
        mask: float32 (H, W).
        radius: of the neighbourhoods, pixels of the full picture.
        epsilon: added to the variance of the guide, whose values are taken in [0, 1].

    Returns:
        float32 (H, W), about the mask's range.

    Reference: He, Sun and Tang, "Guided Image Filtering", 2013, equations 19 to 21; He and Sun,
    "Fast Guided Filter", 2015.
    """
    coefficients = guided_coefficients(image, mask, radius, epsilon)
    return linear(coefficients, image, (slice(0, mask.shape[0]), slice(0, mask.shape[1])))


def guided_coefficients(
    image: np.ndarray, mask: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """What `guided_filter` multiplies red, green and blue by, and what it adds: float32 (h, w, 4),
    of a smaller picture where it is large."""
    guide, coarse = _shrunk(image).astype(np.float32) / 255, _shrunk(mask)
    window = _window(radius, mask.shape)

    def mean(x):
        return cv2.blur(x, window, borderType=cv2.BORDER_REFLECT)

    centre, level = mean(guide), mean(coarse)
    cross = mean(guide * coarse[..., None]) - centre * level[..., None]
    red, green, blue = cv2.split(guide)
    x, y, z = cv2.split(centre)
    variance = (
        mean(red * red) - x * x + epsilon,
        mean(red * green) - x * y,
        mean(red * blue) - x * z,
        mean(green * green) - y * y + epsilon,
        mean(green * blue) - y * z,
        mean(blue * blue) - z * z + epsilon,
    )
    slope = _solve(*variance, cross)
    offset = level - (slope * centre).sum(axis=-1)
    return mean(np.dstack([slope, offset]))


def linear(coefficients: np.ndarray, image: np.ndarray, tile: Tile) -> np.ndarray:
    """A tile of the mask that `guided_coefficients` make of the picture: float32."""
    part = _enlarged(coefficients, image.shape, tile)
    part[..., :3] *= image[tile] / np.float32(255)
    return cv2.transform(part, np.ones((1, 4), np.float32))


def _solve(xx, xy, xz, yy, yz, zz, right: np.ndarray) -> np.ndarray:
    """V a = c at each pixel, V symmetric and positive definite, c and a (H, W, 3).

    By elimination: Cramer's rule, in float32, is wrong by a tenth where a picture is grey.
    """
    x, y, z = cv2.split(right)
    first, second = xy / xx, xz / xx
    yy, yz, zz = yy - first * xy, yz - first * xz, zz - second * xz
    y, z = y - first * x, z - second * x
    third = yz / yy
    z = (z - third * y) / (zz - third * yz)
    y = (y - yz * z) / yy
    x = (x - xy * y - xz * z) / xx
    return np.dstack([x, y, z])


def feather(mask: np.ndarray, width: float) -> np.ndarray:
    """A mask whose edges fade over `width` pixels more; 0 leaves it as it is."""
    return cv2.GaussianBlur(mask, (0, 0), width / 4) if width > 0 else mask


def foreground(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The colours of what is in front, also where what is behind shines through.

    Args:
        image: uint8 (H, W, 3).
        mask: float32 (H, W) in [0, 1], how opaque what is in front is.

    Returns:
        uint8 (H, W, 3); where the mask is 1, the picture; far from its support, anything.

    Reference: Forte, "Approximate Fast Foreground Colour Estimation", 2021, algorithm 1, twice, as
    there, but that the blurred colours are found on a smaller picture where it is large.
    """
    picture, opacity = _shrunk(image).astype(np.float32), _shrunk(mask)
    front, back = _blurred(picture, picture, opacity, 0.1)
    front = _corrected(picture, opacity[..., None], front, back)
    blurred = _blurred(front, back, opacity, 0.007)
    front, back = (
        cv2.resize(np.rint(np.clip(colours, 0, 255)).astype(np.uint8), mask.shape[::-1])
        for colours in blurred
    )
    front = cv2.copyTo(image, (mask == 1).astype(np.uint8), front)
    soft = (mask > 0) & (mask < 1)
    front[soft] = np.rint(_corrected(image[soft], mask[soft][:, None], front[soft], back[soft]))
    return front


def _blurred(
    front: np.ndarray, back: np.ndarray, mask: np.ndarray, part: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both layers' colours around each pixel, over `part` of the longer side: float32 (H, W, 3)."""
    side = (2 * max(1, round(part * max(mask.shape) / 2)) + 1,) * 2
    opacity, weight = mask[..., None], cv2.blur(mask, side)[..., None]
    front = cv2.blur(front * opacity, side) / (weight + 1e-5)
    return front, cv2.blur(back * (1 - opacity), side) / (1 - weight + 1e-5)


def _corrected(picture, opacity, front, back) -> np.ndarray:
    """Colours in front that, with those behind, come nearer to the picture's: float32."""
    missing = picture - opacity * front - (1 - opacity) * back
    return np.clip(front + opacity * missing, 0, 255)


# === Sizes ===


def _shrunk(x: np.ndarray) -> np.ndarray:
    """A picture or a mask whose longer side is `COARSE` at most."""
    height, width = x.shape[:2]
    factor = _factor(x.shape)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return cv2.resize(x, size, interpolation=cv2.INTER_AREA)


def _factor(shape: tuple[int, ...]) -> float:
    return max(1.0, max(shape[:2]) / COARSE)


def _window(radius: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """The size of a neighbourhood in a shrunk picture, its radius given for the full one."""
    return (2 * max(1, round(radius / _factor(shape))) + 1,) * 2


def _enlarged(coarse: np.ndarray, shape: tuple[int, ...], tile: Tile) -> np.ndarray:
    """A tile of `coarse` enlarged to the height and width of `shape`: float32 linearly, uint8 to
    the nearest."""
    rows, columns = tile
    x, y = coarse.shape[1] / shape[1], coarse.shape[0] / shape[0]
    matrix = np.array(
        [[x, 0, (columns.start + 0.5) * x - 0.5], [0, y, (rows.start + 0.5) * y - 0.5]]
    )
    how = cv2.INTER_NEAREST if coarse.dtype == np.uint8 else cv2.INTER_LINEAR
    return cv2.warpAffine(
        coarse,
        matrix,
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=how | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _tiles(shape: tuple[int, ...]) -> Iterator[Tile]:
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            rows = slice(top, min(top + TILE, shape[0]))
            yield rows, slice(left, min(left + TILE, shape[1]))
