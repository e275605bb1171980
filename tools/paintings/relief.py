"""Relief print: a colour woodcut of waves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.paintings import tools as t


def ink_line(key: t.Array, path: t.Array, half_width: t.Array) -> None:
    """Add in place to the key block (H, W) a line (K, 2) of varying half width (K,)."""
    np.maximum(key, t.fill(key.shape, t.ribbon(path, half_width)), out=key)


def swell(count: int, rng: t.Rng, low: float, high: float) -> t.Array:
    """Half widths (count,) of a cut line: thin at both ends, uneven between."""
    s = np.linspace(0, 1, count)
    knots = rng.uniform(0.55, 1, 7)
    uneven = np.interp(s, np.linspace(0, 1, 7), knots)
    return (low + (high - low) * uneven * np.sin(np.pi * s) ** 0.35).astype(np.float32)


def woodcut(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Breaking waves below a volcano, as a many-block print: uint8 (height, width, 3).

    Colour blocks (flat, limited palette, each slightly off register, with wood grain and
    graded skies) lie under one key block of ink lines that swell and thin.
    """
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    ink, navy, blue, pale, foam = "#1b2233", "#1d3f6e", "#3f7396", "#9dbfbd", "#f3ead2"
    print_ = t.ramp(
        y / h,
        [
            (0, "#33577d"),
            (0.13, "#86a5a8"),
            (0.30, "#ecdcb4"),
            (0.46, "#f2c58e"),
            (0.60, "#e29a78"),
            (1, "#e29a78"),
        ],
    )
    key = np.zeros(shape, np.float32)

    def block(
        outline: t.Array, code: str | t.Array, line: tuple[float, float] | None = None
    ) -> None:
        """Print a closed shape over what is there, with an optional swelling ink outline."""
        low = np.maximum(outline.min(0) - 3 * u, 0).astype(int)
        high = np.minimum(outline.max(0) + 3 * u, [w, h]).astype(int)
        if (high <= low).any():
            return
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = t.fill(key[box].shape, outline - low)
        tone = t.rgb(code)[0] if isinstance(code, str) else code[box]
        print_[box] = t.mix(print_[box], tone, mask)
        key[box] *= 1 - mask
        if line:
            loop = np.concatenate([outline, outline[:1]]) - low
            ink_line(key[box], loop, swell(len(loop), rng, *line))

    turn = np.linspace(0, 2 * np.pi, 120)
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    sun = np.array([0.235 * w, 0.30 * h])
    block((sun + 52 * u * circle).astype(np.float32), "#c63d2b", (0.4 * u, 1.0 * u))
    for cy, x0, x1, thick in [
        (0.335, 0.02, 0.20, 7),
        (0.365, 0.10, 0.36, 8),
        (0.20, 0.55, 0.80, 7),
        (0.235, 0.64, 0.97, 9),
        (0.27, 0.60, 0.74, 6),
        (0.115, 0.30, 0.47, 6),
    ]:
        a, b = np.array([x0 * w, cy * h]), np.array([x1 * w, cy * h])
        cap = np.linspace(np.pi / 2, 3 * np.pi / 2, 20)
        end = np.stack([np.cos(cap), np.sin(cap)], -1) * thick * u
        mist = np.concatenate([a + end, b - end])
        block(mist.astype(np.float32), "#f5e6c6", (0.25 * u, 0.75 * u))

    def cloud_bank(x0: float, x1: float, level: float, size: float) -> None:
        """Banked cloud of concentric scallops between x0 and x1, thinning to both ends."""
        spots = []
        for row in range(4):
            for cx in np.arange(x0, x1, 0.62 * size):
                s = (cx - x0) / (x1 - x0)
                if rng.random() < 0.93 and row < 4 * np.sin(np.pi * s) ** 0.7 + 0.3:
                    spots.append((level - (3 - row) * 0.42 * size * np.sin(np.pi * s), cx, row))
        for cy, cx, row in sorted(spots):
            r = size * rng.uniform(0.55, 1.0) * u
            at = np.array([(cx + 0.31 * size * (row % 2)) * u, cy * u]) + rng.normal(0, 1.6, 2) * u
            for k, code in enumerate(["#f6e3bd", "#dfa98c", "#f6e3bd", "#e9c39a"]):
                scale = r * (1 - 0.23 * k)
                block(
                    (at + [0, 0.10 * r * k] + scale * circle).astype(np.float32),
                    code,
                    (0.2 * u, (0.9 - 0.15 * k) * u),
                )

    cloud_bank(400, 720, 0.625 * h / u, 36)
    cloud_bank(-110, 330, 0.60 * h / u, 34)

    # Volcano: two concave flanks, a snow cap with a torn edge, and cut lines down the slopes.
    peak, top, foot = 0.66 * w, 0.275 * h, 0.66 * h
    px = np.linspace(0.20 * w, 1.12 * w, 240)
    away = np.abs(px - peak) / w
    slope = foot - (foot - top) * np.exp(-((np.maximum(away - 0.022, 0) / 0.15) ** 0.92))
    slope += 1.6 * u * rng.standard_normal(240).cumsum() * 0.12
    flank = np.stack([px, slope], -1)
    tone = t.ramp(
        np.clip((y - top) / (foot - top), 0, 1), [(0, "#2a466e"), (0.55, "#5f7f95"), (1, "#c9b99a")]
    )
    block(np.concatenate([flank, [[1.12 * w, foot], [0.2 * w, foot]]]).astype(np.float32), tone)
    snow = flank[(slope < top + 0.115 * h)]
    torn = snow[::-1].copy()
    teeth = np.abs(
        np.interp(
            np.arange(len(torn)),
            np.linspace(0, len(torn) - 1, 15),
            np.where(np.arange(15) % 2, 1.0, 0.12) * rng.uniform(0.6, 1.2, 15),
        )
    )
    torn[:, 1] = np.maximum(torn[:, 1], top + (0.045 + 0.085 * teeth) * h)
    block(np.concatenate([snow, torn]).astype(np.float32), foam, (0.3 * u, 0.8 * u))
    for share in np.linspace(-0.94, 0.94, 60) + rng.normal(0, 0.012, 60):
        s0 = rng.uniform(0.36, 0.62)
        yy = top + (foot - top) * np.linspace(s0, s0 + rng.uniform(0.08, 0.34), 24)
        half = (
            0.022
            + 0.15 * np.maximum(np.log((foot - top) / np.maximum(foot - yy, 4 * u)), 0) ** 1.09
        ) * w
        xx = peak + share * half + 0.8 * u * np.sin(yy / (5 * u) + 9 * share)
        fold = np.stack([xx, yy], -1).astype(np.float32)
        ink_line(key, fold, swell(24, rng, 0.1 * u, 0.8 * u))
    ink_line(key, flank.astype(np.float32), swell(240, rng, 0.5 * u, 1.5 * u))

    def foam_edge(crest: t.Array, size: float) -> None:
        """Foam along a crest line (K, 2): claws reaching out, lobes, then a white body."""
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(crest, axis=0), axis=1))]
        inward, total = t.normals(crest), along[-1]
        # Down into the water on the back of the wave, forward out of it under the lip.
        down = inward * np.where(inward[:, 1:] < 0, -1, 1)
        for tier, pace in enumerate((0.8, 0.95, 0.6)):
            at = 0.0
            while at < total:
                i = min(int(np.searchsorted(along, at)), len(crest) - 1)
                grow = np.sin(np.pi * np.clip(at / total, 0.05, 0.9)) ** 0.6
                r = size * grow * rng.uniform(0.55, 1.0)
                if tier == 0:
                    tip = crest[i] + (down[i] + rng.normal(0, 0.15, 2)) * r * rng.uniform(1.5, 2.6)
                    hook = tip + np.array([0.5, 0.8]) * r * rng.uniform(0.3, 0.8)
                    claw = t.spline([crest[i], (crest[i] + tip) / 2 - [0.3 * r, 0], tip, hook], 24)
                    block(t.ribbon(claw, r * np.linspace(0.5, 0.08, 24)), foam, (0.3 * u, 0.7 * u))
                else:
                    lift = (0.45, -0.1)[tier - 1] * r * rng.uniform(0.4, 1.2)
                    centre = crest[i] - inward[i] * lift
                    a = np.linspace(0, 2 * np.pi, 48)
                    bumps = 1 + 0.13 * np.abs(np.sin(2.5 * a + rng.uniform(0, 6)))
                    lobe = centre + r * bumps[:, None] * np.stack([np.cos(a), 0.85 * np.sin(a)], -1)
                    line = (0.2 * u, 0.75 * u) if tier == 1 else None
                    block(lobe.astype(np.float32), foam, line)
                at += r * rng.uniform(0.8, 1.2) * pace

    def wave_row(
        base: float, swing: float, length: float, phase: float, lean: float, weight: float
    ) -> None:
        """One row of breakers: stripes of water between crest and trough, then the foam."""
        s = np.linspace(-0.25 * w, 1.25 * w, 520)
        angle = 2 * np.pi * s / (length * w) + phase
        # Each crest of the row has its own height, so that the row does not repeat.
        own = 0.80 + 0.20 * np.cos(0.45 * angle) + 0.08 * np.sin(1.7 * angle + phase)
        up = ((1 + np.cos(angle)) / 2) ** 1.55 * own
        colours = [navy, pale, navy, blue, foam, blue, navy, blue, navy]
        curves = []
        for k in range(len(colours)):
            q = k / len(colours)
            rise = swing * h * up * (1 - q) ** 1.25
            hook = lean * w * (up**2.6) * (1 - 0.9 * q) - 0.02 * w * q
            dip = 0.030 * h * q * (1.2 + np.sin(angle + 0.8)) * weight + q * 0.10 * h * weight
            wob = 1.1 * u * np.interp(s, s[::20], rng.standard_normal(26))
            curves.append(np.stack([s + hook, base * h - rise + dip + wob], -1).astype(np.float32))
        for k, (curve, code) in enumerate(zip(curves, colours, strict=True)):
            below = np.array([[1.4 * w, 1.1 * h], [-0.4 * w, 1.1 * h]], np.float32)
            block(np.concatenate([curve, below]), code)
            thick = 1.5 * weight if k == 0 else 0.7 * weight
            widths = thick * u * (0.45 + 0.75 * np.interp(s, s[::13], rng.uniform(0.2, 1, 40)))
            ink_line(key, curve, widths.astype(np.float32))
            if k + 1 < len(curves) and code in (navy, blue) and weight > 0.5:
                for share in (0.15, 0.3, 0.42, 0.55, 0.7, 0.85):
                    a, b = sorted(rng.integers(0, 520, 2))
                    if b - a > 40:
                        cut = (curve + share * (curves[k + 1] - curve))[a:b]
                        tone = pale if code == blue else blue
                        block(t.ribbon(cut, swell(b - a, rng, 0.1 * u, 0.75 * weight * u)), tone)
        # Under each lip the hollow face is pale, with claws of foam along the front.
        for c in np.arange(np.ceil(angle[0] / (2 * np.pi)), angle[-1] / (2 * np.pi)):
            near = np.abs(angle - 2 * np.pi * c) < 1.02
            front = near & (angle > 2 * np.pi * c - 0.75)
            if front.sum() > 12:
                foam_edge(curves[0][front], 9 * u * weight)
                for _ in range(int(20 * weight)):
                    tip = curves[0][np.flatnonzero(front)[rng.integers(front.sum())]]
                    drop = (
                        tip + np.array([rng.gamma(2.0, 11), -abs(rng.normal(6, 14))]) * u * weight
                    )
                    r = rng.uniform(0.8, 2.4) * u * weight
                    block((drop + r * circle[::8]).astype(np.float32), foam, (0.2 * u, 0.6 * u))

    for base, swing, length, phase, lean, weight in [
        (0.665, 0.045, 0.21, 0.6, 0.012, 0.42),
        (0.725, 0.085, 0.33, 2.2, 0.03, 0.6),
        (0.80, 0.16, 0.56, -5.2, 0.08, 0.85),
        (0.93, 0.46, 0.98, -0.55, 0.24, 1.15),
        (1.04, 0.22, 0.66, 2.5, 0.11, 1.2),
    ]:
        wave_row(base, swing, length, phase, lean, weight)

    stretch = t.fbm(shape, rng, 120 * u, 3, 0.5, 5)
    rings = np.sin(
        0.115 * (y / u + 26 * stretch + 0.00035 * ((x - 0.4 * w) / u) ** 2) * 2 * np.pi / 0.9 * 0.55
    )
    wood = 0.6 * rings + 0.6 * t.fbm(shape, rng, 2.4 * u, 2, 0.7, 22)
    sheet = t.paper(shape, rng, u)
    cloth = t.rgb("#f1e6cb")[0] * (1 + 0.022 * sheet[..., None])
    wear = np.clip(0.90 + 0.045 * wood + 0.04 * sheet, 0.62, 1)
    print_ = t.warp(
        print_, np.full(shape, 1.1 * u, np.float32), np.full(shape, -0.7 * u, np.float32)
    )
    print_ = t.mix(cloth.astype(np.float32), print_, wear.astype(np.float32))
    key = key * np.clip(0.93 + 0.05 * sheet - 0.06 * np.clip(wood, 0, 2), 0, 1)
    print_ = t.mix(print_, np.broadcast_to(t.rgb(ink)[0], print_.shape), key)
    rim = np.minimum(np.minimum(x, w - x), np.minimum(y, h - y)) + 0.5 * u * t.fbm(
        shape, rng, 40 * u, 4
    )
    border = t.smoothstep(15 * u, 14 * u, rim)
    line = t.smoothstep(1.2 * u, 0.5 * u, np.abs(rim - 15 * u))
    print_ = t.mix(print_, cloth.astype(np.float32), border)
    print_ = t.mix(print_, np.broadcast_to(t.rgb(ink)[0], print_.shape), 0.9 * line)
    return t.finish(t.relight(print_, 0.1 * sheet, 0.35, 0), (height, width))
