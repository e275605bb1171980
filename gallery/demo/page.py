"""The demo's page: one HTML file that holds all it shows, and asks for nothing else."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import platform
import string
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.media.images import fit_size, resize
from atelier.training.runs import machine
from cartoon.drawing.backdrop import cover
from gallery.demo.scenes import Exhibit, Scene, Side

HERE = Path(__file__).parent

QUALITY = 84
"""Of the page's WebP pictures."""

LONGEST = 720
"""Longer side of the page's pictures, pixels."""

TILE = (400, 300)
"""Height and width of a tile of the mosaic, pixels."""


@dataclasses.dataclass(frozen=True)
class Show:
    """A scene that was played."""

    scene: Scene
    exhibits: tuple[Exhibit, ...]
    seconds: float
    """That it took, loading its network included."""
    failure: str = ""
    """Why there are no more exhibits, in a line."""


def render(shows: Sequence[Show]) -> str:
    """The page, as HTML.

    Its policy lets a browser load nothing but what is in it, and run no script but its own.
    """
    style, script = (read(f"demo.{kind}") for kind in ("css", "js"))
    return string.Template(read("demo.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        seconds=duration(sum(show.seconds for show in shows)),
        mosaic="\n".join(map(_tile, shows)),
        sections="\n".join(_section(show, number) for number, show in enumerate(shows, 1)),
        machine=escape(machine()),
        versions=escape(versions()),
    )


def data_url(image: np.ndarray, *, exact: bool = False) -> str:
    """A picture, uint8 (H, W, 3 or 4), as a WebP data URL; `exact` keeps every pixel."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WebP", quality=QUALITY, lossless=exact, method=5)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def duration(seconds: float) -> str:
    """Seconds in words: "0.34 s", "12.3 s", "1 min 8 s"."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return "{} min {} s".format(*divmod(round(seconds), 60))


def versions() -> str:
    """Of the software that made the page."""
    words = [f"Python {platform.python_version()}"]
    for name, package in (("TensorFlow", "tensorflow"), ("Atelier", "atelier-vision")):
        # Atelier may be run from its folder, without having been installed.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            words.append(f"{name} {importlib.metadata.version(package)}")
    return ", ".join(words)


def read(name: str) -> str:
    """A file of the package's."""
    return (HERE / name).read_text(encoding="utf-8").strip()


# === The parts ===


def _tile(show: Show) -> str:
    """A task in the mosaic: the photo in one corner, what becomes of it in the other."""
    name, kind, pictures = escape(show.scene.name), "tile", ""
    if show.exhibits:
        face = show.exhibits[min(show.scene.face, len(show.exhibits) - 1)]
        kind += " early" if face.start < 50 else ""
        sides = (cover(side.image, TILE) for side in (face.before, face.after))
        pictures = "".join(
            f'<img src="{data_url(image)}" alt="" width="{TILE[1]}" height="{TILE[0]}">'
            for image in sides
        )
    title = escape(show.scene.title)
    return f'<a class="{kind}" href="#{name}">{pictures}<span>{title}</span></a>'


def _section(show: Show, number: int) -> str:
    scene = show.scene
    failure = ""
    if show.failure:
        failure = f'<p class="failure"><strong>Not shown:</strong> {escape(show.failure)}</p>'
    exhibits = "\n".join(map(_exhibit, show.exhibits))
    if exhibits:
        exhibits = f'<div class="exhibits of-{min(len(show.exhibits), 4)}">\n{exhibits}\n</div>'
    return f"""<section id="{escape(scene.name)}">
<header>
<p class="number" aria-hidden="true">{number}</p>
<h2>{escape(scene.title)}</h2>
<p class="took"><code>{escape(scene.name)}</code> {duration(show.seconds)}</p>
<p class="text">{escape(scene.text)}</p>
</header>
{exhibits}{failure}
</section>"""


def _exhibit(exhibit: Exhibit) -> str:
    before, after = exhibit.before, exhibit.after
    label = escape(f"{exhibit.title}: how much is shown of {before.label}, against {after.label}")
    facts = " · ".join(map(escape, (*exhibit.settings, duration(exhibit.seconds))))
    found = f'<p class="found">{escape(exhibit.found)}</p>' if exhibit.found else ""
    return f"""<figure>
<div class="frame">
{_picture(before, exhibit.detail, "before")}
{_picture(after, exhibit.detail, "after")}
<span class="tag left" aria-hidden="true">{escape(before.label)}</span>
<span class="tag right" aria-hidden="true">{escape(after.label)}</span>
<span class="line" aria-hidden="true"></span>
<input type="range" min="0" max="100" value="{exhibit.start}" autocomplete="off"
aria-label="{label}">
</div>
<figcaption>
<div class="title">{_inset(exhibit.inset)}<h3>{escape(exhibit.title)}</h3></div>
{found}{_bars(exhibit.bars)}
<p class="facts">{facts}</p>
<pre><code>{_words(exhibit.command)}</code></pre>
</figcaption>
</figure>"""


def _picture(side: Side, detail: bool, kind: str) -> str:
    image = side.image
    if not detail and max(image.shape[:2]) > LONGEST:
        image = resize(image, fit_size(image.shape, LONGEST))
    height, width = image.shape[:2]
    return (
        f'<img class="{kind}" src="{data_url(image, exact=detail)}" alt="{escape(side.alt)}" '
        f'width="{width}" height="{height}">'
    )


def _inset(side: Side | None) -> str:
    if side is None:
        return ""
    height, width = side.image.shape[:2]
    return (
        f'<img class="inset" src="{data_url(side.image)}" alt="{escape(side.alt)}" '
        f'title="{escape(side.label)}" width="{width}" height="{height}">'
    )


def _bars(bars: Sequence[tuple[str, float]]) -> str:
    """Probabilities as bars, drawn by attributes, as the page's policy forbids inline styles."""
    rows = "".join(
        f"<dt>{escape(label)}</dt><dd>{_percent(value)}"
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * value:.1f}" height="1"/></svg></dd>'
        for label, value in bars
    )
    return f'<dl class="bars">{rows}</dl>' if rows else ""


def _words(command: str) -> str:
    """A command line that breaks between words alone: "--size" would break after its hyphens."""
    return " ".join(f"<span>{escape(word)}</span>" for word in command.split())


def _percent(value: float) -> str:
    return "over 99 %" if value > 0.99 else "under 1 %" if value < 0.01 else f"{100 * value:.0f} %"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
