"""Noise, colour, paths and bristle strokes shared by the paintings.

Pictures are float32 (H, W, 3) RGB in [0, 1] unless a docstring says otherwise; masks and
heights are float32 (H, W).  Points are (x, y) pixel pairs, angles radians in image axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

Array = NDArray[np.float32]
Rng = np.random.Generator


def rgb(*codes: str) -> Array:
    """Colours from "#rrggbb" codes: float32 (N, 3) in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in codes], np.float32) / 255


def to_lab(picture: Array) -> Array:
    """CIE L*a*b* (L in [0, 100]) of an RGB array (..., 3) in [0, 1]; same shape."""
    flat = np.ascontiguousarray(picture, np.float32).reshape(1, -1, 3)
    return cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).reshape(picture.shape)


def from_lab(lab: Array) -> Array:
    """RGB in [0, 1] (clipped to the gamut) of an L*a*b* array (..., 3); same shape."""
    flat = np.ascontiguousarray(lab, np.float32).reshape(1, -1, 3)
    return cv2.cvtColor(flat, cv2.COLOR_LAB2RGB).reshape(lab.shape).clip(0, 1)


def ramp(t: Array, stops: Sequence[tuple[float, str]]) -> Array:
    """Colour scale: t (...) in [0, 1] to RGB (..., 3), linear in L*a*b* between the stops."""
    lab = to_lab(rgb(*(code for _, code in stops)))
    at = [position for position, _ in stops]
    return from_lab(np.stack([np.interp(t, at, lab[:, c]) for c in range(3)], -1))


def mix(a: Array, b: Array, t: Array | float) -> Array:
    """a + t (b - a), with a mask t (H, W) spread over the colour channels."""
    if isinstance(t, np.ndarray) and t.ndim == 2:
        t = t[..., None]
    return (a + (b - a) * t).astype(np.float32)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """Hermite step from 0 at `low` to 1 at `high` (`low` > `high` gives the falling step)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def blur(picture: Array, sigma: float) -> Array:
    """Gaussian blur with standard deviation `sigma` pixels; same shape and dtype."""
    return cv2.GaussianBlur(picture, (0, 0), max(float(sigma), 0.1))


def fbm(
    shape: tuple[int, int],
    rng: Rng,
    wave: float,
    octaves: int = 5,
    gain: float = 0.5,
    stretch: float = 1.0,
) -> Array:
    """Fractional Brownian value noise (H, W), zero mean and unit variance.

    `wave` is the coarsest wavelength in pixels, `gain` the amplitude ratio of one octave to
    the next (Ebert et al., "Texturing and Modeling", ch. 16); `stretch` > 1 elongates along x.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cell = wave / 2**octave
        if cell < 1.5:
            break
        rows, cols = int(height / cell) + 4, int(width / (cell * stretch)) + 4
        grid = rng.standard_normal((rows, cols), np.float32)
        x0, y0 = rng.uniform(1, 2, 2)
        where = np.float32([[1 / (cell * stretch), 0, x0], [0, 1 / cell, y0]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        total += gain**octave * cv2.warpAffine(
            grid, where, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT
        )
    return (total - total.mean()) / (total.std() + 1e-6)


def sample(field: Array, points: Array) -> Array:
    """Nearest value of `field` (H, W[, C]) at points (..., 2), clamped to the border."""
    height, width = field.shape[:2]
    x = np.clip(points[..., 0], 0, width - 1).astype(np.intp)
    y = np.clip(points[..., 1], 0, height - 1).astype(np.intp)
    return field[y, x]


def warp(picture: Array, dx: Array, dy: Array) -> Array:
    """Picture moved by the displacement (dx, dy) (H, W) in pixels, borders repeated."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(picture, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def streaks(noise: Array, theta: Array, length: int, step: float = 1.5) -> Array:
    """Line integral convolution (Cabral and Leedom 1993): noise smeared along the angle field.

    All (H, W); `length` steps of `step` pixels are walked each way.  Zero mean, unit variance.
    """
    y, x = np.mgrid[: noise.shape[0], : noise.shape[1]].astype(np.float32)
    cos, sin = np.cos(theta), np.sin(theta)
    total = noise.copy()
    for sign in (step, -step):
        px, py = x.copy(), y.copy()
        for _ in range(length):
            dx = cv2.remap(cos, px, py, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            dy = cv2.remap(sin, px, py, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            px, py = px + sign * dx, py + sign * dy
            total += cv2.remap(noise, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (total - total.mean()) / (total.std() + 1e-6)


def spline(control: ArrayLike, count: int) -> Array:
    """`count` points (count, 2) on the cubic spline through the control points (K, 2)."""
    control = np.asarray(control, float)
    chord = np.linalg.norm(np.diff(control, axis=0), axis=1)
    knots = np.r_[0, np.cumsum(np.maximum(chord, 1e-6))]
    curve = make_interp_spline(knots, control, k=min(3, len(control) - 1))
    return curve(np.linspace(0, knots[-1], count)).astype(np.float32)


def normals(path: Array) -> Array:
    """Unit normals (..., K, 2) of paths (..., K, 2)."""
    tangent = np.gradient(path, axis=-2)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-6
    return np.stack([-tangent[..., 1], tangent[..., 0]], -1)


def ribbon(path: Array, half_width: ArrayLike) -> Array:
    """Outline (2K, 2) of a path (K, 2) thickened by half_width (scalar or (K,)) each side."""
    offset = normals(path) * np.broadcast_to(np.asarray(half_width), len(path))[:, None]
    return np.concatenate([path + offset, (path - offset)[::-1]])


def fill(shape: tuple[int, int], *outlines: Array) -> Array:
    """Anti-aliased mask (H, W) in [0, 1] of the union of closed outlines (K, 2)."""
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def scatter(shape: tuple[int, int], rng: Rng, spacing: float) -> Array:
    """Jittered hexagonal grid (N, 2) covering the picture, in random order.

    A cheap stand-in for Poisson-disc sampling (Cook 1986): no clumps and no visible rows.
    """
    height, width = shape
    rows, cols = int(height / (spacing * 0.87)) + 3, int(width / spacing) + 3
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    points = np.stack([(x + 0.5 * (y % 2) - 1) * spacing, (y - 1) * spacing * 0.87], -1)
    points = points.reshape(-1, 2) + rng.uniform(-0.38, 0.38, (rows * cols, 2)) * spacing
    return rng.permutation(points).astype(np.float32)


def trace(theta: Array, start: Array, count: int, step: Array | float) -> Array:
    """Streamlines (N, count, 2) of the angle field through the middle points start (N, 2).

    The field is a line field: each walk keeps the sign that turns least (Hertzmann 1998, 2.2).
    """
    step = np.broadcast_to(np.asarray(step, np.float32), len(start))[:, None]
    angle = sample(theta, start)
    first = np.stack([np.cos(angle), np.sin(angle)], -1)
    halves = []
    for sign in (1.0, -1.0):
        point, heading, walk = start.copy(), sign * first, [start]
        for _ in range(count // 2):
            angle = sample(theta, point)
            turn = np.stack([np.cos(angle), np.sin(angle)], -1)
            turn *= np.where((turn * heading).sum(-1, keepdims=True) < 0, -1, 1)
            heading = 0.6 * turn + 0.4 * heading
            point = point + step * heading
            walk.append(point)
        halves.append(walk)
    return np.stack(halves[1][:0:-1] + halves[0], 1).astype(np.float32)


def bristle_strokes(
    canvas: NDArray[np.uint8],
    paths: Array,
    radius: Array | float,
    colours: Array,
    rng: Rng,
    bristles: int = 7,
    streak: float = 0.05,
    taper: float = 0.5,
) -> None:
    """Draw brush strokes in place on a uint8 (H, W, 4) canvas: RGB and paint height.

    paths (N, K, 2), radius scalar or (N,) pixels, colours (N, 3) in [0, 1].  Every stroke is
    a sheaf of `bristles` lines, each with its own tint (`streak` is its deviation), load of
    paint and ragged ends; the rim is higher, as paint is pushed aside by a loaded brush.
    """
    n, k = paths.shape[:2]
    radius = np.broadcast_to(np.asarray(radius, np.float32), n)
    across = np.linspace(-1, 1, bristles)
    along = np.linspace(-1, 1, k)
    belly = 1 - taper * np.abs(along) ** 2.5
    side = normals(paths)[:, None] * (radius[:, None] * belly)[:, None, :, None]
    lines = paths[:, None] + side * across[None, :, None, None]
    lines += rng.normal(0, 0.06, (n, bristles, 1, 1)) * radius[:, None, None, None]
    lines = np.round(lines * 8).clip(-30000, 60000).astype(np.int32)
    tint = colours[:, None] + rng.normal(0, streak, (n, bristles, 1))
    tint = tint + rng.normal(0, streak * 0.4, (n, bristles, 3))
    relief = 0.45 + 0.16 * across**2 + rng.normal(0, 0.11, (n, bristles))
    relief += rng.normal(0, 0.07, (n, 1))
    paint = (np.concatenate([tint, relief[..., None]], -1).clip(0, 1) * 255).tolist()
    thick = np.maximum(1, np.round(2.6 * radius / bristles)).astype(int).tolist()
    trim = rng.integers(0, max(2, k // 4), (n, bristles, 2)).tolist()
    inside_out = np.argsort(-np.abs(across) + rng.normal(0, 0.5, bristles)).tolist()
    for i in range(n):
        for j in inside_out:
            a, b = trim[i][j]
            cv2.polylines(
                canvas, [lines[i, j, a : k - b]], False, paint[i][j], thick[i], cv2.LINE_AA, 3
            )


def paint_over(
    reference: Array,
    theta: Array,
    radii: Sequence[float],
    rng: Rng,
    ground: str,
    tolerance: float = 7.0,
    jitter: float = 5.0,
    length: float = 9.0,
    detail: Array | None = None,
) -> tuple[Array, Array]:
    """Painterly rendering, coarse to fine (Hertzmann 1998, "Painterly Rendering with Curved
    Brush Strokes of Multiple Sizes", section 2).

    Each brush radius (pixels) repaints where the canvas differs from the reference blurred to
    that brush by more than `tolerance` (L*a*b* units; the two coarsest brushes cover all).
    Strokes follow `theta` (H, W), not the image gradient, `length` radii long, and end where
    the reference leaves their colour.  `detail` (H, W) in [0, 1] holds fine brushes back where
    it is low.  Returns the picture (H, W, 3) and the paint height (H, W) in [0, 1].
    """
    height, width = reference.shape[:2]
    canvas = np.empty((height, width, 4), np.uint8)
    canvas[:] = [*(rgb(ground)[0] * 255).astype(int), 90]
    for layer, radius in enumerate(radii):
        target = to_lab(blur(reference, radius * 0.5))
        error = np.linalg.norm(target - to_lab(canvas[..., :3].astype(np.float32) / 255), axis=-1)
        start = scatter((height, width), rng, radius * 1.25)
        wanted = sample(blur(error, radius * 0.7), start)
        if layer > 1:
            if detail is not None:
                wanted = wanted * sample(detail, start)
            start = start[wanted > tolerance * rng.uniform(0.7, 1.3, len(start))]
        size = radius * rng.uniform(0.7, 1.2, len(start))
        reach = length * radius * rng.uniform(0.6, 1.3, len(start))
        paths = trace(theta, start, 12, reach / 12)
        colour = sample(target, start)
        away = np.linalg.norm(sample(target, paths) - colour[:, None], axis=-1) > 16 + 2 * radius
        middle = paths.shape[1] // 2
        for half in (range(middle + 1, paths.shape[1]), range(middle - 1, -1, -1)):
            step = 1 if half.step > 0 else -1
            for i in half:
                away[:, i] |= away[:, i - step]
                paths[:, i] = np.where(
                    away[:, i, None], paths[:, i - step] * 0.94 + paths[:, i] * 0.06, paths[:, i]
                )
        colour = colour + rng.normal(0, jitter, colour.shape) * [1.0, 0.8, 0.9]
        count = int(np.clip(radius * 0.75, 4, 11))
        bristle_strokes(canvas, paths, size, from_lab(colour), rng, count)
    picture = canvas.astype(np.float32) / 255
    return picture[..., :3], picture[..., 3]


def relight(picture: Array, height: Array, strength: float, gloss: float = 0.25) -> Array:
    """Bump-lit relief: light from the upper left on the height map (H, W), with a soft gloss."""
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    slope = (0.6 * dx + 0.8 * dy) * strength
    lit = picture * (1 + np.clip(slope, -0.45, 0.5))[..., None]
    shine = gloss * np.clip(slope - 0.22, 0, 0.6) ** 1.5
    return (lit + shine[..., None] * (0.4 + picture)).clip(0, 1).astype(np.float32)


def paper(shape: tuple[int, int], rng: Rng, unit: float) -> Array:
    """Height of a laid, fibrous paper (H, W), zero mean and unit variance."""
    grain = fbm(shape, rng, 7 * unit, 3, 0.8)
    laid = fbm(shape, rng, 3 * unit, 2, 0.6, stretch=14)
    fibre = fbm(shape, rng, 60 * unit, 3, 0.6)
    total = grain + 0.45 * laid + 0.4 * fibre
    return total / total.std()


def finish(picture: Array, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Average a supersampled picture (H, W, 3) in [0, 1] down to size (h, w) as uint8 RGB."""
    small = cv2.resize(picture.clip(0, 1), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.round(small * 255).astype(np.uint8)
