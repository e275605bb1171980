"""Washes on paper: a watercolour and an ink painting."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.paintings import tools as t


class Wash:
    """Transparent washes on paper: each multiplies the light by exp(-absorbance x density).

    Follows the look of Curtis et al. 1997 ("Computer-Generated Watercolor", section 2): edge
    darkening, granulation in the paper's hollows, flow within the wet area.
    """

    def __init__(self, shape: tuple[int, int], rng: t.Rng, unit: float) -> None:
        """White sheet of (H, W) pixels with `unit` pixels to one of a 640-pixel picture."""
        self.shape, self.rng, self.unit = shape, rng, unit
        self.sheet = t.paper(shape, rng, unit)
        self.light = np.ones((*shape, 3), np.float32) * t.rgb("#fbf6ea")[0]
        # Larger than the sheet: each wash takes its own window of them.
        spare = (shape[0] + 400, shape[1] + 400)
        self.sway = [t.fbm(spare, rng, 60 * unit, 6, 0.55) for _ in range(2)]
        self.flow = t.fbm(spare, rng, 90 * unit, 6, 0.6)

    def lay(
        self,
        mask: t.Array,
        code: str | t.Array,
        density: float = 1.0,
        rough: float = 3.0,
        edge: float = 0.7,
        wet: float = 0.0,
        box: tuple[slice, slice] = np.s_[:, :],
    ) -> None:
        """Lay one wash through a mask (h, w) in [0, 1] placed at `box` of the sheet.

        `code` is the colour of the wash at density 1 (or an RGB array), `rough` the raggedness
        of its border, `edge` the darkening there, `wet` a blur for wet-in-wet, all in 640-px
        pixels.
        """
        u, rng = self.unit, self.rng
        down, right = rng.integers(0, 400, 2)
        window = np.s_[down : down + self.shape[0], right : right + self.shape[1]]
        dx, dy, flow = (f[window][box] for f in (*self.sway, self.flow))
        mask = t.warp(mask, dx * rough * u, dy * rough * u)
        if wet:
            mask = t.blur(mask, wet * u)
        pool = t.blur(mask, 3.2 * u)
        rim = mask * np.clip(1 - pool, 0, 1) * 2
        fine = mask * np.clip(1 - t.blur(mask, 1.1 * u), 0, 1) * 2
        body = mask * (0.72 + 0.26 * flow.clip(-2, 2) + 0.10 * self.sheet[box].clip(-2.2, 2.2))
        load = np.clip(body + edge * (0.55 * rim + 0.6 * fine) * mask, 0, 3) * density
        tone = t.rgb(code)[0] if isinstance(code, str) else code
        self.light[box] *= np.exp(np.log(np.maximum(tone, 0.02)) * load[..., None])

    def shape_at(self, *outlines: t.Array, pad: float = 14) -> tuple[t.Array, tuple[slice, slice]]:
        """Mask of outlines cut to their bounding box: (mask (h, w), box); may be empty."""
        points = np.concatenate(outlines)
        low = np.maximum(points.min(0) - pad * self.unit, 0).astype(int)
        high = np.minimum(points.max(0) + pad * self.unit, [self.shape[1], self.shape[0]]).astype(
            int
        )
        box = np.s_[low[1] : max(high[1], low[1] + 4), low[0] : max(high[0], low[0] + 4)]
        size = self.light[box].shape[:2]
        return t.fill(size, *(o - low for o in outlines)), box


def watercolor(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Poppies against wet-in-wet hills, in glazes on rough paper: uint8 (height, width, 3)."""
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    sheet = Wash(shape, rng, u)
    drift = t.fbm(shape, rng, 150 * u, 4)
    rim = np.minimum(np.minimum(x, w - x), np.minimum(y, h - y)) / u + 5 * t.fbm(
        shape, rng, 70 * u, 4
    )
    sheet_area = t.smoothstep(19, 22, rim)
    for code, base, spread, amount in [
        ("#9fcdea", 0.06, 0.22, 0.9),
        ("#fbe0a0", 0.40, 0.17, 0.9),
        ("#f8c3b4", 0.31, 0.10, 0.7),
        ("#6fa8dc", 0.0, 0.14, 0.9),
    ]:
        band = np.exp(-(((y / h - base - 0.07 * drift) / spread) ** 2))
        sheet.lay((band * sheet_area).astype(np.float32), code, amount, 5, 0.25)
    for base, swing, wave, code, amount, wet in [
        (0.40, 20, 190, "#b3b0e0", 0.8, 2.5),
        (0.455, 18, 150, "#7fa9d8", 0.8, 1.2),
        (0.52, 14, 170, "#62b3a6", 0.8, 0.6),
        (0.60, 12, 220, "#b9cf5a", 0.9, 0.3),
    ]:
        top = base * h + swing * u * t.fbm((8, w), rng, wave * u, 5, 0.5)[4]
        fade = np.clip(1.1 - (y - top) / (0.13 * h), 0.0, 1) ** 1.3
        sheet.lay(
            (t.smoothstep(-u, u, y - top) * fade * sheet_area).astype(np.float32),
            code,
            amount,
            3,
            0.7,
            wet,
        )
    grass = t.fbm(shape, rng, 60 * u, 5, 0.6, 0.4)
    for code, level, amount in [
        ("#d3dc5e", -1.2, 0.8),
        ("#86b83f", 0.0, 0.7),
        ("#3f9a6a", 0.8, 0.6),
        ("#5a78c0", 1.2, 0.5),
    ]:
        band = t.smoothstep(0.60, 0.86, y / h) * t.smoothstep(
            level, level + 0.5, grass + 1.2 * (y / h - 0.8)
        )
        sheet.lay((band * sheet_area).astype(np.float32), code, amount, 5, 0.9)

    def stroke(
        path: t.Array, widths: t.Array, code: str, density: float, rough: float = 1.0
    ) -> None:
        mask, box = sheet.shape_at(t.ribbon(path, widths))
        sheet.lay(mask, code, density, rough, 0.9, 0, box)

    for _ in range(120):
        px, py = rng.uniform(0.05, 0.95) * w, rng.uniform(0.78, 0.955) * h
        tall, bow = rng.uniform(30, 105) * u, rng.normal(0, 16) * u
        blade = t.spline([(px, py), (px + 0.3 * bow, py - 0.55 * tall), (px + bow, py - tall)], 24)
        code = ["#7fb03a", "#3f9a62", "#a3c23f", "#3f8a96"][rng.integers(4)]
        stroke(
            blade,
            np.interp(np.arange(24), [0, 7, 23], [0.5, 2.2, 0.2]) * u * rng.uniform(0.6, 1.3),
            code,
            rng.uniform(0.3, 0.8),
        )

    flowers = [
        (0.30, 0.33, 58),
        (0.60, 0.25, 50),
        (0.74, 0.47, 66),
        (0.45, 0.54, 62),
        (0.17, 0.56, 42),
        (0.88, 0.30, 33),
        (0.135, 0.27, 27),
        (0.90, 0.63, 36),
        (0.60, 0.70, 34),
        (0.30, 0.73, 36),
    ]
    for fx, fy, r in flowers:
        head = np.array([fx * w, fy * h])
        foot = np.array([(0.5 + 0.72 * (fx - 0.5)) * w + rng.normal(0, 14) * u, 0.93 * h])
        bow = (head + foot) / 2 + [rng.normal(0, 16) * u, 0]
        stem = t.spline([foot, bow, head + [0, 0.3 * r * u]], 50)
        stroke(stem, np.linspace(1.9, 1.1, 50) * u * (0.5 + r / 90), "#5f8a3f", 1.0)
        stroke(stem + [1.0 * u, 0], np.full(50, 0.5) * u, "#3f7a5a", 0.6)
        if r > 40:
            for side in (-1, 1):
                root = stem[rng.integers(8, 22)]
                tip = root + [side * rng.uniform(28, 50) * u, -rng.uniform(24, 50) * u]
                leaf = t.spline([root, (root + tip) / 2 + [side * 8 * u, 9 * u], tip], 30)
                stroke(
                    leaf,
                    7 * u * np.sin(np.pi * np.linspace(0.05, 0.99, 30)) ** 0.8,
                    "#5fa04a",
                    0.8,
                    2.5,
                )
    for fx, fy, r in flowers:
        head, petals = np.array([fx * w, fy * h]), 5 if r > 40 else 4
        face = rng.uniform(0.62, 0.9)
        spin = rng.uniform(0, 2 * np.pi)
        for k in rng.permutation(petals):
            a = spin + 2 * np.pi * k / petals + rng.normal(0, 0.12)
            b = np.linspace(0, 2 * np.pi, 40)
            lobe = np.stack([0.62 + 0.58 * np.cos(b), 0.66 * np.sin(b)], -1)
            lobe[:, 0] += 0.06 * np.sin(5 * b + spin) * (np.cos(b) > 0)
            turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
            outline = lobe @ turn * [1, face] * r * u * rng.uniform(0.88, 1.1) + head
            mask, box = sheet.shape_at(outline.astype(np.float32))
            if min(mask.shape) < 12:
                continue
            warm = ["#fb5436", "#f53d30", "#fd8038", "#ef3a50"][rng.integers(4)]
            # A poppy is opaque enough to hide the field behind it: lift that paint first.
            sheet.light[box] = t.mix(
                sheet.light[box], t.rgb("#fbf0dc")[0], 0.62 * t.blur(mask, 1.5 * u)
            )
            sheet.lay(mask, warm, 0.75, 5, 1.0, 0, box)
            yy, xx = np.mgrid[box].astype(np.float32)
            near = np.exp(-((np.hypot(xx - head[0], (yy - head[1]) / face) / (0.55 * r * u)) ** 2))
            fold = np.cos(9 * (np.arctan2(yy - head[1], xx - head[0]) - a) + 2 * sheet.flow[box])
            sheet.lay(mask * near, "#b3203c", 0.75, 4, 0.5, 1.5, box)
            sheet.lay(mask * t.smoothstep(0.1, 1.0, fold), "#d8402f", 0.35, 3, 0.6, 0.6, box)
        ring = np.linspace(0, 2 * np.pi, 30)
        heart = head + 0.17 * r * u * np.stack([np.cos(ring), face * np.sin(ring)], -1)
        mask, box = sheet.shape_at(heart.astype(np.float32))
        sheet.lay(mask, "#3a2438", 1.5, 2.5, 0.8, 0.7, box)
        for _ in range(int(r * 0.7)):
            a, d = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.42) * r * u
            dot = head + d * np.array([np.cos(a), face * np.sin(a)])
            size = rng.uniform(0.6, 1.7) * u * (0.5 + r / 80)
            mask, box = sheet.shape_at(
                (dot + size * np.stack([np.cos(ring), np.sin(ring)], -1)).astype(np.float32)
            )
            sheet.lay(mask, "#2a1a2e", 1.2, 0.6, 0.4, 0, box)
    for _ in range(130):
        px, py = rng.uniform(0.05, 0.95) * w, rng.uniform(0.06, 0.95) * h
        size = rng.gamma(1.2, 0.9) * u + 0.4 * u
        ring = np.linspace(0, 2 * np.pi, 20)
        spot = np.array([px, py]) + size * np.stack([np.cos(ring), np.sin(ring)], -1)
        mask, box = sheet.shape_at(spot.astype(np.float32))
        code = ["#ef6a4a", "#7fa84a", "#7f9fc4", "#f3b74a"][rng.integers(4)]
        sheet.lay(mask, code, rng.uniform(0.3, 0.9), 1.2, 1.0, 0, box)
    return t.finish(t.relight(sheet.light, 0.13 * sheet.sheet, 0.5, 0), (height, width))


def ink(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Bamboo in mist, ink strokes of several tones that run dry: uint8 (height, width, 3)."""
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    sheet = Wash(shape, rng, u)
    sheet.light[:] = t.rgb("#efe5cd")[0] * (1 + 0.03 * t.fbm(shape, rng, 200 * u, 3)[..., None])
    sun = t.smoothstep(58 * u, 56 * u, np.hypot(x - 0.70 * w, y - 0.235 * h))
    sheet.lay(sun, "#d9573f", 0.95, 2, 0.5, 0.4)
    for base, swing, wave, amount in [
        (0.50, 46, 170, 0.35),
        (0.60, 40, 140, 0.55),
        (0.72, 30, 120, 0.8),
    ]:
        top = base * h + swing * u * t.fbm((8, w), rng, wave * u, 6, 0.52)[4]
        drop = (y - top) / h
        mask = t.smoothstep(-u, u, y - top) * np.exp(-np.maximum(drop, 0) / 0.085)
        crag = 0.8 + 0.4 * t.fbm(shape, rng, 40 * u, 5, 0.6, 0.5)
        sheet.lay(
            (mask * np.clip(crag, 0, 1.5)).astype(np.float32), "#7d8791", amount * 1.1, 3, 0.4, 0.8
        )
    hair = t.fbm(shape, rng, 2.0 * u, 2, 0.8)

    def stroke(path: t.Array, widths: t.Array, tone: float, dry: float = 0.25) -> None:
        """One brush stroke: `bristles` lines with their own ink that run dry along the way."""
        load = np.zeros(shape, np.uint8)
        count = int(np.clip(np.max(widths) / u * 1.6, 3, 22))
        side = t.normals(path) * np.asarray(widths)[:, None]
        thick = max(1, round(2.3 * float(np.max(widths)) / count))
        s = np.linspace(0, 1, len(path))
        for o in np.linspace(-1, 1, count) * rng.uniform(0.93, 1.0, count):
            wet = rng.uniform(0.62, 1.0) + 0.12 * abs(o)
            points = np.round((path + side * o) * 8).astype(np.int32)
            ends = rng.uniform(0.72, 1.25) if dry > 0.05 else 2.0
            grain = np.interp(s, np.linspace(0, 1, 9), rng.normal(0, dry, 9))
            value = np.clip(wet + grain - dry * 2.0 * np.maximum(s - ends + 0.35, 0), 0, 1)
            for i in range(0, len(path) - 1, 2):
                if value[i] > 0.3:
                    cv2.polylines(
                        load, [points[i : i + 3]], False, int(255 * value[i]), thick, cv2.LINE_AA, 3
                    )
        mask = t.blur(load.astype(np.float32) / 255, 0.5 * u)
        mask = np.clip(mask * (1 + dry * 0.9 * hair * (1.2 - mask)), 0, 1)
        mask *= t.fill(shape, t.ribbon(path, np.asarray(widths) * 1.04))
        rim = mask * np.clip(1 - t.blur(mask, 1.6 * u), 0, 1)
        sheet.light *= np.exp(
            -(tone * mask + 0.5 * tone * rim)[..., None] * [1.06, 1.0, 0.93]
        ).astype(np.float32)

    def leaves(at: t.Array, size: float, tone: float, lean: float) -> None:
        for spread in np.linspace(-0.75, 0.75, rng.integers(3, 5)):
            a = np.pi / 2 + lean + spread * rng.uniform(0.6, 1.3) + rng.normal(0, 0.15)
            reach = size * rng.uniform(0.65, 1.3) * (1 - 0.3 * abs(spread)) * u
            way = np.array([np.cos(a), np.sin(a)])
            bow = np.array([-way[1], way[0]]) * reach * rng.normal(0, 0.13)
            path = t.spline([at, at + 0.5 * reach * way + bow, at + reach * way], 40)
            s = np.linspace(0, 1, 40)
            blade = 2.6 * (s + 0.015) ** 0.75 * (1 - s) ** 1.15
            stroke(
                path,
                (reach * 0.082 * blade + 0.25 * u) * (1 - s**8),
                tone * rng.uniform(0.5, 1.25),
                0.16,
            )

    culms = [
        (0.86, 0.88, 5.5, 0.35, -0.02),
        (0.12, 0.05, 6.5, 0.42, 0.03),
        (0.74, 0.60, 9, 0.8, -0.03),
        (0.22, 0.33, 15, 1.15, 0.04),
        (0.40, 0.47, 10, 1.8, 0.02),
    ]
    for x0, x1, thick, tone, bow in culms:
        spine = t.spline(
            [(x0 * w, 1.03 * h), ((x0 + x1) / 2 * w + bow * w, 0.5 * h), (x1 * w, -0.04 * h)], 400
        )
        cut = np.cumsum(np.r_[0, rng.uniform(0.105, 0.15, 12) * 400]).astype(int)
        for a, b in itertools.pairwise(cut):
            piece = spine[a + 3 : min(b - 3, 399)]
            if len(piece) < 12:
                break
            s = np.linspace(-1, 1, len(piece))
            stroke(piece, thick * u * (0.86 + 0.16 * np.abs(s) ** 5), tone, 0.3)
            joint = spine[min(b, 399)]
            arc = t.spline(
                [
                    joint + [-1.25 * thick * u, -1.5 * u],
                    joint + [0, 1.2 * u],
                    joint + [1.25 * thick * u, -1.5 * u],
                ],
                16,
            )
            stroke(
                arc,
                (0.9 + 0.1 * thick) * u * np.sin(np.pi * np.linspace(0.12, 0.88, 16)),
                tone * 1.7,
                0.1,
            )
            if rng.random() < 0.62 and joint[1] < 0.8 * h:
                side = rng.choice([-1, 1])
                tip = joint + np.array([side * rng.uniform(40, 95), -rng.uniform(15, 60)]) * u
                twig = t.spline([joint, (joint + tip) / 2 + [0, -7 * u], tip], 30)
                stroke(twig, np.linspace(1.5, 0.7, 30) * u * (0.5 + thick / 18), tone * 1.2, 0.15)
                for q in (16, 29):
                    leaves(twig[q], 46 + 1.5 * thick, 0.25 + tone * 0.8, -0.6 * side)
    mist = np.exp(
        -(((y - 0.93 * h + 14 * u * t.fbm(shape, rng, 160 * u, 3, 0.5, 2)) / (0.09 * h)) ** 2)
    )
    sheet.light = t.mix(
        sheet.light, np.broadcast_to(t.rgb("#efe5cd")[0], sheet.light.shape), 0.7 * mist
    )
    sx, sy, size = 0.575 * w, 0.905 * h, 14 * u
    seal = (np.maximum(np.abs(x - sx), np.abs(y - sy) * 0.8) < size + 0.8 * u * hair).astype(
        np.float32
    )
    for (ax, ay), (bx, by) in [
        ((-0.6, -0.7), (0.6, -0.7)),
        ((0, -0.7), (0, 0.2)),
        ((-0.6, -0.2), (0.6, -0.2)),
        ((-0.5, 0.3), (-0.5, 0.9)),
        ((0.5, 0.3), (0.5, 0.9)),
        ((-0.5, 0.55), (0.5, 0.55)),
    ]:
        bar = t.spline([(sx + ax * size, sy + ay * size), (sx + bx * size, sy + by * size)], 8)
        seal *= 1 - t.fill(shape, t.ribbon(bar, 1.6 * u))
    sheet.lay(t.blur(seal, 0.5 * u), "#b8301f", 1.1, 0.4, 0.1)
    return t.finish(t.relight(sheet.light, 0.12 * sheet.sheet, 0.45, 0), (height, width))
