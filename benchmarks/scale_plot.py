"""The plot of `benchmarks.scale`: time above, memory below; by pictures, and by megapixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = {
    "classify": "#0072b2",
    "superres": "#d55e00",
    "detection": "#009e73",
    "cartoon": "#cc79a7",
    "nst": "#5b4a00",
    "nst whole": "#a08a1e",
}
"""Of the tasks, told apart with any colour vision (Okabe and Ito, 2008), and two browns."""

APART = 0.055
"""Between labels, as a part of a panel's height."""

_STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def plot(records: Sequence[Mapping]) -> np.ndarray:
    """Four panels of what `benchmarks.scale` measured.

    Points that were stopped before all pictures were done are drawn hollow, where they stopped.
    Memory by pictures has a linear axis from zero, as it should be level.

    Returns:
        uint8 (900, 1200, 3).
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(12, 9), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        (rate, seconds), (held, largest) = figure.subplots(2, 2)
        counts, sizes = (
            [row for row in records if row["series"] == series and "peak" in row]
            for series in ("counts", "megapixels")
        )
        _panel(rate, "pictures a second", counts, lambda row: 1 / row["seconds"])
        _panel(seconds, "seconds a picture", sizes, lambda row: row["seconds"])
        _panel(held, "peak memory, GB", counts, lambda row: row["peak"] / 1e9, log=False)
        _panel(largest, "peak memory, GB", sizes, lambda row: row["peak"] / 1e9)
        for column, text in enumerate(("pictures in the folder", "megapixels")):
            for axes in figure.axes[column::2]:
                axes.set_xlabel(text)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _panel(
    axes: Axes,
    title: str,
    records: Sequence[Mapping],
    value: Callable[[Mapping], float],
    log: bool = True,
) -> None:
    """A line a task, named at its end."""
    axes.set_title(title, loc="left")
    ends = {}
    for task, color in COLORS.items():
        rows = [row for row in records if row["task"] == task]
        rows.sort(key=lambda row: row["value"])
        if not rows:
            continue
        x = [row["pictures" if row["series"] == "counts" else "value"] for row in rows]
        y = [value(row) for row in rows]
        axes.plot(x, y, color=color, linewidth=2)
        for end, row in zip(zip(x, y, strict=True), rows, strict=True):
            inside = "white" if row["cut"] else color
            axes.plot(*end, "o", color=color, markerfacecolor=inside, markersize=6)
        ends[task] = (x[-1], y[-1])
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.grid(True, which="major", color="#dddddd", linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(lambda number, _: f"{number:,g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    if records:
        axes.set_xticks(sorted({row["value"] for row in records}), minor=False)
    _label(axes, ends)


def _label(axes: Axes, ends: Mapping[str, tuple[float, float]]) -> None:
    """Names of lines at the panel's right edge, about level with their ends, all apart."""
    to_panel = axes.transData + axes.transAxes.inverted()
    heights = {task: to_panel.transform(end)[1] for task, end in ends.items()}
    for task, height in zip(heights, spread(list(heights.values()), APART), strict=True):
        axes.annotate(
            task,
            ends[task],
            xytext=(1.02, height),
            textcoords="axes fraction",
            color=COLORS[task],
            va="center",
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": COLORS[task], "linewidth": 0.6, "alpha": 0.5},
            annotation_clip=False,
        )


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Heights moved as little as can be until all are `apart`, in the same order from below."""
    order = np.argsort(heights, kind="stable")
    # Less what lies below each, they need but ascend: isotonic regression, by pooling neighbours.
    pools: list[list[float]] = []
    for rank, place in enumerate(order):
        pools.append([heights[place] - rank * apart])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    levels = [float(np.mean(pool)) for pool in pools for _ in pool]
    moved = [0.0] * len(order)
    for rank, place in enumerate(order):
        moved[place] = levels[rank] + rank * apart
    return moved
