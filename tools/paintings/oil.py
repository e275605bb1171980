"""Oil paintings: an impasto night landscape and a pointillist river."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.paintings import tools as t


def ridge(width: int, rng: t.Rng, base: float, swing: float, wave: float) -> t.Array:
    """Height y(x) (width,) of a rolling hill line around `base`, both in pixels."""
    return base + swing * t.fbm((8, width), rng, wave, 4, 0.42)[4]


def impasto(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Moonlit valley in thick oil strokes along a curl-noise flow: uint8 (height, width, 3).

    The sky's flow is the curl of a stream function (Bridson et al. 2007) of noise plus one
    bump a light, so that strokes run around the moon and the stars.
    """
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    horizon = 0.60 * h
    lights = [(0.735, 0.235, 38.0)]
    spots = [(0.08, 0.12), (0.27, 0.07), (0.46, 0.13), (0.93, 0.07), (0.56, 0.36), (0.12, 0.37)]
    spots += [(0.92, 0.42), (0.335, 0.40)]
    for sx, sy in spots:
        lights.append((sx + rng.normal(0, 0.012), sy + rng.normal(0, 0.012), rng.uniform(6, 11)))
    psi = 22 * u * t.fbm(shape, rng, 230 * u, 2, 0.35) - y * (0.5 + 0.9 * (y / horizon) ** 4)
    for sx, sy, spread, power in [(0.29, 0.225, 58, 150), (0.49, 0.245, 40, -85)]:
        d2 = (x - sx * w) ** 2 + ((y - sy * h) * 1.15) ** 2
        psi += power * u * np.exp(-d2 / (2 * (spread * u) ** 2))
    sky_t = np.clip(y / horizon, 0, 1)
    sky = t.ramp(
        sky_t,
        [(0, "#0a1238"), (0.3, "#14357c"), (0.62, "#2873a6"), (0.85, "#7fb6a4"), (1, "#f1cf86")],
    )
    glow = np.zeros(shape, np.float32)
    halo = np.zeros((h, w, 3), np.float32)
    for sx, sy, r in lights:
        d = np.hypot(x - sx * w, y - sy * h) / (r * u)
        psi += r * 7.5 * u * np.exp(-((d / 2.6) ** 2))
        rings = np.exp(-((d / 2.7) ** 2)) * (0.66 + 0.34 * np.cos(2 * np.pi * d / 1.05))
        warm = t.ramp(
            np.clip(d / 4, 0, 1),
            [
                (0, "#fff6cf"),
                (0.25, "#ffdc66"),
                (0.5, "#ffc24a"),
                (0.72, "#e8dc96"),
                (1, "#5fb0c4"),
            ],
        )
        more = rings > glow
        halo[more] = warm[more]
        glow = np.maximum(glow, rings)
    gy, gx = np.gradient(t.blur(psi, 3 * u))
    theta = np.arctan2(-gx, gy).astype(np.float32) + 0.12
    smear = t.streaks(t.fbm(shape, rng, 26 * u, 3), theta, 46, 2 * u / 2)
    smear2 = t.streaks(t.fbm(shape, rng, 15 * u, 2), theta, 40, 2 * u / 2)
    pale, deep = t.rgb("#9fd3d6", "#060d33")
    scene = t.mix(
        sky,
        np.broadcast_to(pale, sky.shape),
        0.55 * t.smoothstep(0.5, 1.9, smear) * (0.4 + 0.6 * sky_t),
    )
    scene = t.mix(
        scene,
        np.broadcast_to(deep, sky.shape),
        0.6 * t.smoothstep(0.4, 1.9, -smear) * (1 - sky_t**3),
    )
    violet = np.broadcast_to(t.rgb("#5a4fa3")[0], sky.shape)
    scene = t.mix(scene, violet, 0.5 * t.smoothstep(0.7, 1.8, smear2) * (1 - 0.8 * sky_t**3))
    scene = t.mix(scene, halo, np.clip(glow * 1.15, 0, 1))
    for sx, sy, r in lights:
        core = t.smoothstep(1.1, 0.75, np.hypot(x - sx * w, y - sy * h) / (r * u))
        scene = t.mix(scene, np.broadcast_to(t.rgb("#fff4c4")[0], sky.shape), core)
    detail = np.clip(0.55 + glow, 0, 1.3)

    bands = [
        (0.605, 16, 170, "#27417d", "#5b79ad"),
        (0.645, 15, 190, "#1d4668", "#3f8a92"),
        (0.70, 17, 230, "#173f4a", "#4f9460"),
        (0.775, 15, 280, "#24522f", "#a8b04a"),
        (0.88, 17, 330, "#7a4a1c", "#e9b23f"),
    ]
    tops = [ridge(w, rng, b * h, s * u, wave * u) for b, s, wave, *_ in bands]
    for top, (_, _, _, dark, light) in zip(tops, bands, strict=True):
        mask = t.smoothstep(-u, u, y - top[None])
        slope = np.gradient(t.blur(top[None], 6 * u)[0])
        lean = np.arctan(slope)[None] + 0.35 * t.fbm(shape, rng, 120 * u, 2)
        theta = np.where(mask > 0.5, lean.astype(np.float32), theta)
        rows = t.streaks(t.fbm(shape, rng, 12 * u, 2), lean.astype(np.float32), 24, u)
        lit = np.clip(0.42 + 0.3 * rows + 0.5 * np.exp(-(y - top[None]) / (11 * u)), 0, 1)
        scene = t.mix(scene, t.ramp(lit, [(0, dark), (1, light)]), mask)
        detail = np.where(mask > 0.5, 0.9, detail)

    # The river winds from under the moon to the lower edge and carries its light.
    fall = np.clip((y - 0.655 * h) / (0.345 * h), 0, 1)
    centre = (0.70 + 0.13 * np.sin(5.4 * fall**0.62 + 0.3) - 0.24 * fall) * w
    half = (5 + 74 * fall**1.35) * u
    river = t.smoothstep(1.06, 0.94, np.abs(x - centre) / half) * (fall > 0)
    ripple = t.fbm(shape, rng, 9 * u, 3, stretch=5)
    water = t.ramp(
        np.clip(0.45 + 0.28 * ripple - 0.15 * fall, 0, 1),
        [(0, "#0d2a5e"), (0.5, "#2f7fae"), (1, "#a6d8cf")],
    )
    track = np.exp(-(((x - centre) / (0.42 * half)) ** 2)) * t.smoothstep(-0.5, 0.9, ripple)
    water = t.mix(water, np.broadcast_to(t.rgb("#ffdf7e")[0], sky.shape), track)
    scene = t.mix(scene, water, river)
    theta = np.where(river > 0.5, 0.08 * ripple, theta).astype(np.float32)

    def clump(cx: float, foot: float, tall: float, wide: float) -> None:
        nonlocal scene, theta
        s = np.clip((foot * h - y) / (tall * u), -0.2, 1.2)
        shape_w = wide * u * np.abs(np.sin(np.pi * np.clip(s, 0, 1) ** 0.75)) ** 0.8
        sway = cx * w + 0.16 * wide * u * np.sin(5 * s + cx * 40)
        wobble = 0.22 * wide * u * t.fbm(shape, rng, 16 * u, 2)
        mask = (
            t.smoothstep(1.5 * u, -1.5 * u, np.abs(x - sway) - shape_w + wobble) * (s > 0) * (s < 1)
        )
        leaf = t.fbm(shape, rng, 9 * u, 2, stretch=0.5)
        toward = np.clip((x - sway) / (wide * u) + 0.25 * leaf, -1, 1)
        tone = t.ramp(
            np.clip(0.38 + 0.42 * toward, 0, 1),
            [(0, "#0a1a26"), (0.45, "#123a35"), (0.8, "#3e7440"), (1, "#d39a3a")],
        )
        scene = t.mix(scene, tone, mask)
        flame = np.pi / 2 + 0.5 * (x - sway) / (wide * u) + 0.2 * leaf
        theta = np.where(mask > 0.5, flame, theta).astype(np.float32)

    for cx, foot, tall, wide in [
        (0.915, 0.80, 118, 13),
        (0.958, 0.83, 150, 15),
        (0.87, 0.775, 74, 10),
        (0.25, 0.755, 52, 12),
        (0.20, 0.765, 64, 13),
        (0.045, 0.90, 190, 25),
        (0.125, 0.915, 128, 20),
    ]:
        clump(cx, foot, tall, wide)
    for i in range(7):
        cx = 0.31 + 0.043 * i + rng.normal(0, 0.006)
        foot = 0.715 + 0.017 * np.sin(i * 1.7)
        bw, bh = rng.uniform(15, 20) * u, rng.uniform(11, 15) * u
        px, py = cx * w, foot * h
        wall, roof = [tuple(map(float, c)) for c in t.rgb("#7a86ac", "#b0542f")]
        box = np.array([(px, py), (px + bw, py), (px + bw, py - bh), (px, py - bh)], np.float32)
        gable = np.array(
            [(px - 2 * u, py - bh), (px + bw + 2 * u, py - bh), (px + bw / 2, py - bh - 11 * u)],
            np.float32,
        )
        scene = t.mix(scene, np.broadcast_to(wall, sky.shape), t.fill(shape, box))
        scene = t.mix(scene, np.broadcast_to(roof, sky.shape), t.fill(shape, gable))
        pane = np.array([(0.3, 0.25), (0.72, 0.25), (0.72, 0.8), (0.3, 0.8)]) * [bw, -bh] + [px, py]
        lit = np.broadcast_to(t.rgb("#ffc74d")[0], sky.shape)
        scene = t.mix(scene, lit, t.fill(shape, pane.astype(np.float32)))
        side = np.sign(x - px - bw / 2) * 0.75
        theta = np.where(t.fill(shape, box) > 0.5, np.pi / 2, theta)
        theta = np.where(t.fill(shape, gable) > 0.5, side, theta).astype(np.float32)
        near = np.abs(x - px - bw / 2) + np.abs(y - py + bh / 2) < 16 * u
        detail = np.where(near, 2.5, detail)

    picture, thick = t.paint_over(
        scene, theta, [r * u for r in (13, 7.5, 4.4, 2.6, 1.6)], rng, "#3b2a1e", detail=detail
    )
    weave = 0.02 * t.fbm(shape, rng, 3 * u, 2)
    return t.finish(t.relight(picture, t.blur(thick, 0.35 * u) + weave, 3.4, 0.5), (height, width))


def pointillist(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """River with poplars and sails in dots of divided colour: uint8 (height, width, 3).

    Divisionism after Signac: every dab is one of a few nearly pure pigments, drawn with
    probability falling with its distance from the wanted colour, plus dabs of the complement.
    """
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    shore = 0.52 * h
    sun = (0.36 * w, 0.33 * h)

    def view(yy: t.Array, xx: t.Array) -> t.Array:
        """Colour of everything above the shore line at (yy, xx)."""
        sky = t.ramp(
            np.clip(yy / shore, 0, 1),
            [
                (0, "#4f7fc4"),
                (0.35, "#8fb4dc"),
                (0.62, "#f2d9a8"),
                (0.85, "#f8b27a"),
                (1, "#ec8f84"),
            ],
        )
        d = np.hypot(xx - sun[0], yy - sun[1]) / u
        sky = t.mix(
            sky, np.broadcast_to(t.rgb("#fff0a8")[0], sky.shape), np.exp(-((d / 95) ** 1.4))
        )
        return t.mix(sky, np.broadcast_to(t.rgb("#fffbe0")[0], sky.shape), t.smoothstep(27, 22, d))

    scene = view(y, x)
    cloud = t.fbm(shape, rng, 70 * u, 4, stretch=3.2)
    puff = 0.85 * t.smoothstep(-0.1, 0.9, cloud) * t.smoothstep(0.42 * h, 0.2 * h, y)
    scene = t.mix(
        scene,
        t.ramp(
            np.clip(0.15 + 0.4 * cloud, 0, 1), [(0, "#c58fc0"), (0.5, "#f2b9b0"), (1, "#ffefd8")]
        ),
        puff,
    )
    theta = 0.25 * t.fbm(shape, rng, 160 * u, 2)
    for base, swing, wave, dark, light in [
        (0.455, 7, 190, "#7a78b8", "#b39ac6"),
        (0.49, 6, 150, "#4d7d8e", "#9db985"),
    ]:
        top = ridge(w, rng, base * h, swing * u, wave * u)[None]
        mask = t.smoothstep(-u, u, y - top)
        tone = np.clip(0.5 + 0.35 * t.fbm(shape, rng, 30 * u, 3), 0, 1)
        scene = t.mix(scene, t.ramp(tone, [(0, dark), (1, light)]), mask)
    trees = [
        (0.60, 118, 13),
        (0.645, 150, 15),
        (0.69, 132, 14),
        (0.735, 176, 17),
        (0.79, 150, 16),
        (0.845, 200, 20),
        (0.90, 165, 18),
        (0.955, 215, 24),
        (0.07, 60, 26),
        (0.13, 46, 22),
        (0.02, 84, 26),
        (0.185, 34, 17),
    ]
    for cx, tall, wide in trees:
        s = np.clip((shore + 2 * u - y) / (tall * u), -0.2, 1.2)
        bulge = wide * u * np.abs(np.sin(np.pi * np.clip(s, 0.02, 1) ** 0.8)) ** 0.6
        edge = np.abs(x - cx * w) - bulge + 0.25 * wide * u * t.fbm(shape, rng, 13 * u, 3)
        mask = t.smoothstep(2 * u, -2 * u, edge) * (s > 0) * (s < 1)
        toward = np.clip((cx * w - x) / (wide * u), -1, 1) + 0.5 * t.fbm(shape, rng, 12 * u, 2)
        tone = t.ramp(
            np.clip(0.45 + 0.36 * toward, 0, 1),
            [(0, "#1f2f6b"), (0.35, "#2b6a63"), (0.7, "#8fae3c"), (1, "#f7d04a")],
        )
        scene = t.mix(scene, tone, mask)
        theta = np.where(mask > 0.5, 1.4 + 0.4 * toward, theta)
    for cx, foot, tall in [(0.27, 0.56, 88), (0.455, 0.535, 58), (0.375, 0.525, 34)]:
        px, py, s = cx * w, foot * h, tall * u
        main = np.array([(0, -0.1), (0.03, -1), (0.42, -0.16)]) * s + [px, py]
        jib = np.array([(-0.03, -0.12), (0.0, -0.86), (-0.27, -0.14)]) * s + [px, py]
        hull = np.array([(-0.32, -0.07), (0.42, -0.09), (0.3, 0.05), (-0.22, 0.05)]) * s + [px, py]
        for part, code in ((main, "#fff2d0"), (jib, "#f4a261"), (hull, "#5b2a4f")):
            mask = t.fill(shape, part.astype(np.float32))
            scene = t.mix(scene, np.broadcast_to(t.rgb(code)[0], scene.shape), mask)
    # Water mirrors the view, stretched and broken up by ripples.
    ripple = t.fbm(shape, rng, 11 * u, 3, stretch=5)
    depth = np.clip((y - shore) / (h - shore), 0, 1)
    mirror = t.warp(
        scene,
        (3 + 14 * depth) * u * ripple,
        (2 * (shore - y) + (2 + 16 * depth) * u * ripple).astype(np.float32),
    )
    mirror = t.mix(
        mirror,
        t.ramp(depth, [(0, "#f0b48f"), (0.4, "#6f9fcb"), (1, "#23407f")]),
        0.28 + 0.3 * depth,
    )
    glint = np.exp(-(((x - sun[0]) / ((16 + 60 * depth) * u)) ** 2)) * t.smoothstep(
        -0.7, 0.8, ripple
    )
    mirror = t.mix(mirror, np.broadcast_to(t.rgb("#ffe9a0")[0], scene.shape), 0.9 * glint)
    wet = t.smoothstep(shore, shore + 3 * u, y)
    hulls = t.smoothstep(0.575 * h, 0.57 * h, y) * (np.abs(x - 0.28 * w) < 48 * u)
    scene = t.mix(scene, mirror, wet * (1 - hulls))
    bank = (
        0.87 * h
        - 0.25 * h * t.smoothstep(0.45 * w, 1.05 * w, x)
        + 5 * u * t.fbm(shape, rng, 90 * u, 3)
    )
    grass = np.clip(
        0.74 + 0.2 * t.fbm(shape, rng, 30 * u, 4, 0.7, stretch=0.6) - (y - bank) / (0.5 * h), 0, 1
    )
    meadow = t.ramp(grass, [(0, "#233a78"), (0.3, "#2f7a5a"), (0.65, "#86b23f"), (1, "#f6dc5e")])
    poppies = t.smoothstep(1.3, 1.6, t.fbm(shape, rng, 11 * u, 2)) * t.smoothstep(
        0, 20 * u, y - bank
    )
    meadow = t.mix(meadow, np.broadcast_to(t.rgb("#e4473a")[0], scene.shape), poppies)
    on_bank = t.smoothstep(0, 4 * u, y - bank)
    scene = t.mix(scene, meadow, on_bank)
    theta = np.where(on_bank > 0.5, 1.3 + 0.3 * ripple, np.where(wet > 0.5, 0, theta))

    pigments = t.to_lab(
        t.rgb(
            "#fff7d6",
            "#ffe27a",
            "#fbb13c",
            "#f07f3c",
            "#e4473a",
            "#c93a66",
            "#e79ab4",
            "#9a5fb0",
            "#5a4fa8",
            "#2f4aa0",
            "#3f7fcf",
            "#8cc0ea",
            "#cfe3f0",
            "#2e8f9a",
            "#2f7a4f",
            "#7fb446",
            "#c6d65a",
            "#1c2a5a",
            "#5b2a4f",
            "#f6cfa0",
        )
    )
    ink = np.empty((h, w, 4), np.uint8)
    ink[:] = [226, 205, 170, 90]
    for radius, spacing, heat in [
        (4.2, 5.2, 15.0),
        (3.1, 3.7, 13.0),
        (2.3, 3.4, 11.0),
        (1.7, 3.6, 9.0),
    ]:
        at = t.scatter(shape, rng, spacing * u)
        want = t.sample(t.to_lab(t.blur(scene, radius * u * 0.5)), at)
        far = np.linalg.norm((want[:, None] - pigments[None]) * [1.25, 1, 1], axis=-1)
        gumbel = rng.gumbel(size=far.shape)
        lab = pigments[np.argmax(-far / heat * 1.3 + gumbel, axis=1)]
        lab = 0.62 * lab + 0.38 * want + rng.normal(0, 2.5, want.shape)
        opposite = rng.random(len(at)) < 0.05
        lab[opposite, 1:] *= -0.7
        colour = (t.from_lab(lab.astype(np.float32)) * 255).tolist()
        angle = np.degrees(t.sample(theta, at) + rng.normal(0, 0.35, len(at))).tolist()
        size = radius * u * rng.uniform(0.75, 1.2, len(at))
        for (px, py), r, a, c in zip(at.tolist(), size.tolist(), angle, colour, strict=True):
            centre, axes = (round(px * 8), round(py * 8)), (round(r * 9.5), round(r * 6.8))
            cv2.ellipse(
                ink,
                centre,
                axes,
                a,
                0,
                360,
                [*c, rng.integers(120, 190).item()],
                -1,
                cv2.LINE_AA,
                3,
            )
    body = ink.astype(np.float32) / 255
    return t.finish(
        t.relight(body[..., :3], t.blur(body[..., 3], 0.5 * u), 1.3, 0.2), (height, width)
    )
