"""Pictures pieced together from cells: a leaded window and a mosaic."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tools.paintings import tools as t


def edge_distance(labels: NDArray[np.int32]) -> t.Array:
    """Distance (H, W) in pixels to the nearest border between two labels (H, W)."""
    inside = np.ones(labels.shape, np.uint8)
    inside[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    inside[1:] &= labels[1:] == labels[:-1]
    return cv2.distanceTransform(inside, cv2.DIST_L2, 5)


def cells(
    region: NDArray[np.int32],
    index: int,
    sites: t.Array,
    scale: tuple[float, float],
    labels: NDArray[np.int32],
) -> None:
    """Label in place the pixels of one region by their nearest site (a Voronoi diagram).

    `scale` stretches the metric in x and y; the labels go on from the highest in use.
    """
    rows, cols = np.nonzero(region == index)
    if len(rows):
        nearest = cKDTree(sites * scale).query(np.stack([cols, rows], -1) * scale)[1]
        labels[rows, cols] = labels.max() + 1 + nearest


def stained_glass(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Leaded window, a sun over hills and a stream: uint8 (height, width, 3).

    Each region of the cartoon is cut into Voronoi panes of its own rhythm (rays and rings
    round the sun, strips on the hills, long slivers on the water), leaded with round cames.
    """
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    bend = 5 * u * t.fbm(shape, rng, 120 * u, 2)
    cx, cy = 0.5 * w, 0.335 * h
    dist, angle = np.hypot(x - cx, y - cy) + 0.4 * bend, np.arctan2(y - cy, x - cx)
    region = np.zeros(shape, np.int32)  # 0 is the sky
    radii = [34 * u, 58 * u, 84 * u]
    for i, r in enumerate(radii[::-1]):
        region[dist < r] = 3 - i  # 1 disc, 2 and 3 rings

    def hill(base: float, rise: float, phase: float, freq: float) -> t.Array:
        return h * (base - rise * np.sin(freq * x / w * np.pi + phase)) + bend

    hills = [(0.545, 0.050, 0.4, 2.1), (0.61, 0.055, 2.4, 1.9), (0.675, 0.05, 4.6, 2.2)]
    for i, params in enumerate(hills):
        region[y > hill(*params)] = 4 + i
    fall = np.clip((y / h - 0.66) / 0.34, 0, 1)
    middle = w * (0.53 + 0.10 * np.sin(6.2 * fall + 0.6))
    stream = (np.abs(x - middle) < w * (0.035 + 0.20 * fall**1.1)) & (y > hill(*hills[2]) - u)
    region[stream] = 7
    labels = np.full(shape, -1, np.int32)
    sites = []
    for ring in range(12):
        r = (100 + 36 * ring) * u
        count = 18 + 3 * ring
        a = 2 * np.pi * (np.arange(count) + 0.5 * (ring % 2)) / count + rng.normal(0, 0.035, count)
        rr = r + rng.normal(0, 5 * u, count)
        sites.append(np.stack([cx + rr * np.cos(a), cy + rr * np.sin(a)], -1))
    cells(region, 0, np.concatenate(sites), (1, 1), labels)
    labels[region == 1] = labels.max() + 1
    for index, count in ((2, 9), (3, 16)):
        part = np.floor((angle + np.pi + 0.2 * index) / (2 * np.pi) * count).astype(np.int32)
        labels[region == index] = labels.max() + 1 + part[region == index]
    cells(region, 4, t.scatter(shape, rng, 58 * u), (1, 1.0), labels)
    cells(region, 5, t.scatter(shape, rng, 50 * u), (1, 0.9), labels)
    cells(region, 6, t.scatter(shape, rng, 46 * u), (1, 0.75), labels)
    cells(region, 7, t.scatter(shape, rng, 50 * u), (0.55, 1.9), labels)

    # Two trees with leaf panes, and iris-like flowers on the banks, are laid over the cartoon.
    extras: list[tuple[t.Array, int]] = []
    for px, py, lean, tall in [(0.155, 0.90, 0.03, 0.47), (0.865, 0.86, -0.04, 0.41)]:
        trunk = t.spline(
            [
                (px * w, py * h),
                ((px + lean * 0.1) * w, (py - tall * 0.4) * h),
                ((px + lean * 1.1) * w, (py - tall) * h),
            ],
            40,
        )
        extras.append((t.ribbon(trunk, np.linspace(11, 3, 40) * u), 8))
        for k in range(26):
            s = 0.36 + 0.64 * k / 25
            root = trunk[int(s * 39)]
            side = 1 if k % 2 else -1
            a = -np.pi / 2 + side * (1.25 - 0.9 * (s - 0.36)) + rng.normal(0, 0.12)
            reach = (66 - 38 * (s - 0.36)) * u * rng.uniform(0.75, 1.1)
            tip = root + reach * np.array([np.cos(a), np.sin(a)])
            leaf = t.spline([root, (root + tip) / 2 + [0, -6 * u], tip], 20)
            leaf_width = (
                (8 + 5 * rng.random()) * u * np.sin(np.pi * np.linspace(0.06, 0.97, 20)) ** 0.8
            )
            extras.append((t.ribbon(leaf, leaf_width), 9))
    for px, py, size in [
        (0.25, 0.905, 1.1),
        (0.335, 0.845, 0.75),
        (0.77, 0.905, 1.15),
        (0.155, 0.925, 0.85),
        (0.865, 0.93, 0.8),
        (0.70, 0.835, 0.7),
    ]:
        foot = np.array([px * w, py * h])
        for k in range(6):
            a = 2 * np.pi * k / 6 + 0.3 + px * 9
            tip = foot + 26 * u * size * np.array([np.cos(a), np.sin(a) * 0.9])
            petal = t.ribbon(
                t.spline([foot, tip], 16),
                9.5 * u * size * np.sin(np.pi * np.linspace(0.1, 0.98, 16)) ** 0.7,
            )
            extras.append((petal, 10))
        eye = np.linspace(0, 2 * np.pi, 24)
        extras.append((foot + 7 * u * size * np.stack([np.cos(eye), np.sin(eye)], -1), 11))
    for outline, kind in extras:
        inside = t.fill(shape, outline.astype(np.float32)) > 0.5
        region[inside] = kind
        labels[inside] = labels.max() + 1
    # Border of oblong panes with square corner blocks.
    rim = np.minimum(np.minimum(x, w - 1 - x), np.minimum(y, h - 1 - y))
    frame, lip = rim < 30 * u, (rim >= 30 * u) & (rim < 38 * u)
    step_x, step_y = w / 9, h / 11
    part = np.floor(x / step_x) + 100 * np.floor(y / step_y)
    corner = (np.minimum(x, w - 1 - x) < 30 * u) & (np.minimum(y, h - 1 - y) < 30 * u)
    part[corner] = 5000 + (x > w / 2)[corner] + 2 * (y > h / 2)[corner]
    region[frame], region[lip] = np.where((part % 2 == 0), 12, 13)[frame], 14
    region[corner] = 15
    start = labels.max() + 1
    labels[frame] = start + part[frame].astype(np.int32)
    labels[lip] = labels.max() + 1 + (x > cx)[lip] + 2 * (y > 0.5 * h)[lip]

    palettes = [
        ["#123a9c", "#1c55c4", "#2f7fe0", "#0d2a78", "#3aa0d8", "#5b3fb8"],
        ["#ffdf6e"],
        ["#ffb81f", "#ff9a14"],
        ["#f4621c", "#e23a1c", "#f98b1e"],
        ["#6a34b4", "#8a3fc8", "#a048b8"],
        ["#0f7f7a", "#14966f", "#0c6a86"],
        ["#2f9a2f", "#67b52a", "#1c7a3a", "#a8c52a"],
        ["#7fe0ee", "#38b6e6", "#bff2ea", "#1f8fd6"],
        ["#7a3c14"],
        ["#3fb53a", "#8fd02f", "#1f8a4a", "#e8c52a"],
        ["#e2226a", "#b81f8f", "#f25c8a"],
        ["#ffd23f"],
        ["#b3122a"],
        ["#16328c"],
        ["#f0d9a0"],
        ["#f5a81c"],
    ]
    names, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(shape).astype(np.int32)
    kind = np.zeros(len(names), np.int32)
    kind[dense.ravel()] = region.ravel()
    lab = np.array([t.to_lab(t.rgb(palettes[k][rng.integers(len(palettes[k]))]))[0] for k in kind])
    count = np.maximum(np.bincount(dense.ravel()), 1)
    mx, my = (np.bincount(dense.ravel(), v.ravel()) / count for v in (x, y))
    far = np.hypot(mx - cx, my - cy) / h
    # The sky runs from gold by the sun over rose to blue; each pane steps on by its own draw.
    steps = [
        ["#ffcf3f", "#ffb22a", "#ffe07a"],
        ["#ff8a3f", "#f4604f", "#ffa24a"],
        ["#c83f9a", "#8f3fc0", "#e2568f"],
    ]
    stage = np.floor((far - 0.145) / 0.047 + rng.normal(0, 0.42, len(far))).astype(int)
    for i in np.flatnonzero((kind == 0) & (stage < 3)):
        step = steps[max(stage[i], 0)]
        lab[i] = t.to_lab(t.rgb(step[rng.integers(len(step))]))[0]
    lab += rng.normal(0, 1, lab.shape) * [6, 7, 7]
    lab[:, 0] += np.where(kind == 1, 0, np.clip(12 - 30 * far, -10, 10))
    base = t.from_lab(lab.astype(np.float32))[dense]

    tilt = rng.uniform(0, 2 * np.pi, len(names)).astype(np.float32)
    span = np.sqrt(count).astype(np.float32)
    across = (x - mx[dense]) * np.cos(tilt)[dense] + (y - my[dense]) * np.sin(tilt)[dense]
    gradient = np.clip(across / span[dense], -1, 1)
    shift = (rng.uniform(-90, 90, (2, len(names))) * u).astype(np.float32)
    swirl = t.warp(
        t.fbm(shape, rng, 46 * u, 5, 0.6, 2.4),
        30 * u * t.fbm(shape, rng, 80 * u, 3),
        30 * u * t.fbm(shape, rng, 80 * u, 3),
    )
    swirl = t.warp(swirl, shift[0][dense], shift[1][dense])
    seeds = t.fbm(shape, rng, 5 * u, 1)
    edge = edge_distance(dense)
    light = 1 + 0.24 * gradient + 0.15 * swirl + 0.22 * t.smoothstep(2.3, 3.0, seeds)
    light *= 0.62 + 0.38 * t.smoothstep(0, 13 * u, edge)
    light *= 1.10 - 0.22 * np.hypot((x - cx) / w, (y - cy) / h)
    glass = np.clip(base * light[..., None], 0, 1.15)
    glass = t.mix(glass, glass**0.7, 0.3 * t.smoothstep(0.4, 1.8, swirl))
    bold = edge_distance(np.minimum(region, 8) * (region < 9) + (region >= 12) * 20)
    wobble = t.fbm(shape, rng, 40 * u, 3)
    came = (1.75 + 0.4 * wobble) * u
    came = np.where(bold < 6 * u, np.maximum(came, (2.9 + 0.7 * wobble) * u - 0.4 * bold), came)
    lead = t.smoothstep(came + 0.6 * u, came - 0.6 * u, edge)
    round_top = np.sqrt(np.clip(1 - (edge / (came + 0.5 * u)) ** 2, 0, 1))
    metal = 0.075 + 0.02 * t.fbm(shape, rng, 4 * u, 2)
    metal = np.broadcast_to(metal[..., None], glass.shape) * np.array([0.9, 0.95, 1.1], np.float32)
    metal = t.relight(metal.clip(0, 1).astype(np.float32), round_top * 1.6, 2.2, 0.25)
    window = t.mix(glass, metal, lead)
    bloom = t.blur(np.clip(window - 0.55, 0, 1).astype(np.float32), 9 * u)
    return t.finish(window + 0.35 * bloom, (height, width))


def koi(
    head: tuple[float, float], control: list[tuple[float, float]], girth: float
) -> dict[str, t.Array]:
    """Outlines (K, 2) of a carp seen from above, along the spline head, *control*."""
    path = t.spline([head, *control], 60)
    s = np.linspace(0, 1, 60)
    body = girth * (np.sin(np.pi * np.clip(s, 0, 1) ** 0.62) ** 0.75 * (1 - 0.45 * s) + 0.07)
    side = t.normals(path)
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    parts = {"body": t.ribbon(path[:56], body[:56])}
    for sign, name in ((1, "left"), (-1, "right")):
        root = path[15] + sign * side[15] * body[15] * 0.7
        tip = root + sign * side[15] * girth * 1.15 + ahead[15] * girth * 1.35
        fan = t.spline(
            [root, root + sign * side[15] * girth * 0.75 + ahead[15] * girth * 0.4, tip], 24
        )
        parts[name] = t.ribbon(
            fan, girth * 0.42 * np.sin(np.pi * np.linspace(0.12, 0.97, 24)) ** 0.7
        )
        end = path[53]
        tail = t.spline(
            [
                end,
                end + ahead[53] * girth * 0.9 + sign * side[53] * girth * 0.45,
                end + ahead[53] * girth * 2.1 + sign * side[53] * girth * 0.75,
            ],
            24,
        )
        parts["tail_" + name] = t.ribbon(
            tail, girth * 0.46 * np.sin(np.pi * np.linspace(0.14, 0.98, 24)) ** 0.7
        )
    fin = path[20:36]
    parts["fin"] = t.ribbon(fin, girth * 0.16 * np.sin(np.pi * np.linspace(0.05, 1, 16)))
    return parts


def mosaic(height: int, width: int, rng: t.Rng) -> NDArray[np.uint8]:
    """Two carp among lilies in small tesserae that follow the outlines: uint8 (height, width, 3).

    Tile sites are relaxed into a centroidal Voronoi diagram whose metric is a square turned
    along the distance field of the outlines (Hausner 2001, "Simulating Decorative Mosaics").
    """
    h, w = shape = (2 * height, 2 * width)
    u = max(h, w) / 640
    y, x = np.mgrid[:h, :w].astype(np.float32)
    cx, cy = 0.5 * w, 0.5 * h
    code = np.zeros(shape, np.int32)  # 0 water; see `scales` below for the rest

    def swirl(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(cx + r * u * np.cos(a), cy + r * u * np.sin(a)) for r, a in points]

    fish = []
    for turn, girth in ((0.35, 44 * u), (0.35 + np.pi, 42 * u)):
        pts = swirl(
            [
                (112, turn),
                (152, turn + 0.62),
                (158, turn + 1.25),
                (138, turn + 1.75),
                (128, turn + 2.02),
            ]
        )
        fish.append(koi(pts[0], pts[1:], girth))
    pads = [(0.5, 0.5, 44), (0.16, 0.20, 62), (0.85, 0.80, 66), (0.83, 0.17, 44), (0.15, 0.80, 46)]
    for i, (px, py, r) in enumerate(pads):
        a = np.linspace(0.25, 2 * np.pi - 0.25, 60) + i * 1.9
        rim = np.stack([np.cos(a), np.sin(a)], -1) * r * u * (1 + 0.03 * np.sin(7 * a))[:, None]
        rim = np.concatenate([rim, [[0.0, 0.0]]]) + [px * w, py * h]
        if i:
            code[t.fill(shape, rim.astype(np.float32)) > 0.5] = 1
    for i, parts in enumerate(fish):
        for name in ("left", "right", "tail_left", "tail_right", "body", "fin"):
            number = {"body": 3, "fin": 4}.get(name, 5)
            code[t.fill(shape, parts[name].astype(np.float32)) > 0.5] = number + 10 * i
    for px, py, r in [(0.175, 0.215, 40), (0.84, 0.785, 42), (0.5, 0.5, 50)]:
        for layer, (petals, reach, wide) in enumerate([(9, 1.0, 0.27), (7, 0.66, 0.22)]):
            for k in range(petals):
                a = 2 * np.pi * (k + 0.5 * layer) / petals + px
                root = np.array([px * w, py * h])
                tip = root + r * u * reach * np.array([np.cos(a), np.sin(a)])
                girth = r * u * wide * np.sin(np.pi * np.linspace(0.1, 0.97, 16)) ** 0.7
                code[t.fill(shape, t.ribbon(t.spline([root, tip], 16), girth)) > 0.5] = 6 + layer
        code[np.hypot(x - px * w, y - py * h) < 0.2 * r * u] = 8
    rim = np.minimum(np.minimum(x, w - 1 - x), np.minimum(y, h - 1 - y)) / u
    code[rim < 27] = 20
    code[(rim < 20) & (rim > 8)] = 21

    solid = (code == 0).astype(np.uint8)
    outside = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    inside = edge_distance(code)
    field = t.blur(np.where(solid > 0, outside, -inside).astype(np.float32), 2.2 * u)
    gy, gx = np.gradient(field)
    c2, s2 = t.blur(gx * gx - gy * gy, 3.5 * u), t.blur(2 * gx * gy, 3.5 * u)
    theta = (0.5 * np.arctan2(s2, c2)).astype(np.float32)

    spacing = 6.6 * u
    half = 2  # the relaxation runs at half the drawing resolution
    grid = np.stack([x[::half, ::half], y[::half, ::half]], -1).reshape(-1, 2)
    sites = t.scatter(shape, rng, spacing * 1.07)
    sites = sites[(sites > 0).all(1) & (sites < [w, h]).all(1)]

    def assign(points: t.Array, reach: int) -> tuple[NDArray[np.intp], t.Array, t.Array, t.Array]:
        """Two nearest sites (their metric), and the local tile axes, of each pixel (N, 2)."""
        near = cKDTree(sites).query(points, k=reach)[1]
        angle = t.sample(theta, sites)
        kind = t.sample(code, sites)
        delta = (points[:, None] - sites[near]).astype(np.float32)
        cos, sin = np.cos(angle)[near], np.sin(angle)[near]
        along, across = (
            delta[..., 0] * cos + delta[..., 1] * sin,
            delta[..., 1] * cos - delta[..., 0] * sin,
        )
        metric = np.maximum(np.abs(along), np.abs(across)) + 0.12 * np.hypot(along, across)
        here = t.sample(code, points)
        metric += np.where(kind[near] != here[:, None], 3 * u, 0)
        order = np.argpartition(metric, 1, axis=1)[:, :2]
        two = np.take_along_axis(metric, order, 1)
        first = np.argmin(two, 1)
        pick = np.take_along_axis(order, first[:, None], 1)
        best = np.take_along_axis(near, pick, 1)[:, 0]
        local = np.stack([np.take_along_axis(v, pick, 1)[:, 0] for v in (along, across)], -1)
        return best, two.min(1), two.max(1), local

    for _ in range(9):
        best, *_ = assign(grid, 6)
        mass = np.bincount(best, minlength=len(sites))
        move = np.stack([np.bincount(best, grid[:, c], len(sites)) for c in (0, 1)], -1)
        sites = np.where(mass[:, None] > 0, move / np.maximum(mass, 1)[:, None], sites).astype(
            np.float32
        )
    full = np.stack([x, y], -1).reshape(-1, 2)
    best, d1, d2, local = assign(full, 6)
    best, d1, d2 = best.reshape(shape), d1.reshape(shape), d2.reshape(shape)

    kind = t.sample(code, sites)
    px, py = sites.T
    depth = t.sample(outside, sites) / u
    bands = np.sin(depth / 6.6 + 1.2 * t.sample(t.fbm(shape, rng, 90 * u, 2), sites))
    cloud = t.sample(t.fbm(shape, rng, 70 * u, 3), sites)
    patch = [t.sample(t.fbm(shape, rng, 52 * u, 2), sites) for _ in range(2)]
    from_centre = np.hypot(px - cx, py - cy) / (0.7 * h)
    tone = np.clip(0.66 - 0.46 * from_centre + 0.17 * bands + 0.08 * cloud, 0, 1)
    colour = t.ramp(
        tone,
        [(0, "#0b2350"), (0.3, "#124f86"), (0.55, "#1f8a9c"), (0.8, "#7cc8b8"), (1, "#e0efc8")],
    )
    gold = (depth > 3) & (depth < 10)
    colour[gold & (kind == 0)] = t.rgb("#0a1f4a")[0]
    inner = t.sample(inside, sites) / u

    def put(where: NDArray[np.bool_], colours: t.Array) -> None:
        colour[where] = colours[where] if len(colours) == len(colour) else colours[0]

    put(
        kind == 1,
        t.ramp(
            np.clip(0.5 + 0.25 * cloud + 0.2 * np.sin(inner / 3.4), 0, 1),
            [(0, "#14552f"), (0.5, "#3c8a3a"), (1, "#b5c94c")],
        ),
    )
    for base, plain, spot in ((0, "#f6ead2", "#e4571c"), (10, "#f3a71f", "#c22a1a")):
        spotted = patch[base // 10] > 0.1
        put((kind == 3 + base), np.where(spotted[:, None], t.rgb(spot), t.rgb(plain)))
        put((kind == 3 + base) & (inner < 6), t.rgb("#2a1712"))
        put(kind == 4 + base, t.rgb("#8a1f14"))
        put(
            kind == 5 + base,
            t.ramp(np.clip(inner / 16, 0, 1), [(0, "#7a2413"), (0.45, "#e98a3a"), (1, "#fbe3b4")]),
        )
    put(
        kind == 6,
        t.ramp(np.clip(inner / 12, 0, 1), [(0, "#a81f5c"), (0.5, "#ec7ba4"), (1, "#fbd5dd")]),
    )
    put(kind == 7, t.ramp(np.clip(inner / 9, 0, 1), [(0, "#d44a86"), (1, "#fff0ee")]))
    put(kind == 8, t.rgb("#f7c22f"))
    put(kind == 20, t.rgb("#e9b53c"))
    wave = np.sin((px + py) / (15 * u)) * np.sin((px - py) / (15 * u))
    put(kind == 21, np.where((wave > 0)[:, None], t.rgb("#7a1a2a"), t.rgb("#123a6b")))
    for parts in fish:
        path = parts["body"]
        left, right = path[5], path[-6]
        for a, b in ((left, right), (right, left)):
            put((np.hypot(*(sites - (a * 0.78 + b * 0.22)).T) < 3.6 * u), t.rgb("#0a0a14"))
    lab = t.to_lab(colour.astype(np.float32)) + rng.normal(0, 1, colour.shape) * [5.5, 4.5, 5]
    colour = t.from_lab(lab.astype(np.float32))

    size = np.sqrt(np.bincount(best.ravel(), minlength=len(sites))).astype(np.float32)
    lean = rng.normal(0, 0.11, (2, len(sites))).astype(np.float32)
    local = (local / size[best.ravel()][:, None]).reshape(h, w, 2)
    facet = lean[0][best] * local[..., 0] + lean[1][best] * local[..., 1]
    level = rng.normal(0, 0.07, len(sites)).astype(np.float32)
    stone = 1 + facet * 1.6 + level[best] + 0.045 * t.fbm(shape, rng, 4 * u, 3)
    joint = np.minimum(d2 - d1, 2.4 * (0.62 * size[best] - d1))
    joint = joint + 0.25 * u * t.fbm(shape, rng, 6 * u, 2)
    face = t.smoothstep(0.35 * u, 1.35 * u, joint)
    tiles = colour[best] * stone[..., None]
    grout = t.rgb("#4a4038")[0] * (0.72 + 0.1 * t.fbm(shape, rng, 3 * u, 2))[..., None]
    wall = t.mix(grout.astype(np.float32), tiles.astype(np.float32), face)
    dome = t.smoothstep(0, 3.0 * u, joint) + 0.4 * facet
    return t.finish(t.relight(wall.clip(0, 1), dome, 0.55, 0.5), (height, width))
