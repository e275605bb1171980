"""The tab that enlarges pictures."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import get_args

import gradio as gr
import numpy as np

import superres
from atelier.errors import ImageError
from atelier.media.images import fit_size, resize
from gallery.web.jobs import JOB, job
from gallery.web.photo import save_result
from gallery.web.tabs import parts
from superres.compare import WINDOW, busiest_window, interpolated, magnified
from superres.networks import BORDER
from superres.run import RunArguments
from superres.upscaling import Model, Scale
from superres.work import example

MEGAPIXELS = 32
"""Larger results are refused: as PNG they would take longer than the enlarging."""

SHOWN = 1600
"""Longer side beyond which the whole result is shown reduced, pixels."""

ZOOM = 4
"""By which the detail is magnified: 400 %."""


@functools.lru_cache(maxsize=1)
def small_jpeg() -> bytes:
    """What the command enlarges when it is given nothing."""
    return example().source


EXAMPLES = (
    parts.Example("A small JPEG", "astronaut.jpg", small_jpeg),
    parts.Example("A cat", "chelsea.png"),
    parts.Example("Coins", "coins.png"),
)


@dataclasses.dataclass(frozen=True)
class Enlarged:
    """What the detail is drawn from, again and again."""

    path: str
    """The picture's file."""
    scale: int
    model: str


def build() -> None:
    """Fills the open tab."""
    done = gr.State(time_to_live=parts.KEPT_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = parts.upload("Small picture", height=260)
            examples = parts.example_buttons(EXAMPLES, photo)
            scale = gr.Radio(
                [(f"{factor} ×", factor) for factor in get_args(Scale)],
                value=RunArguments().scale,
                label="Enlarge",
                info=f"Results of up to {MEGAPIXELS} megapixels: small pictures gain most.",
            )
            model = gr.Radio(
                [
                    ("Judged from the file", "auto"),
                    ("For clean pictures", "clean"),
                    ("Against JPEG's traces", "compressed"),
                ],
                value=get_args(Model)[0],
                label="Network",
            )
            button = gr.Button("Enlarge", variant="primary")
        with gr.Column(scale=3, min_width=300):
            detail = _compared("Detail at 400 %: bicubic left, the network right", 640)
            with gr.Row():
                across = gr.Slider(0, 100, 50, step=1, label="Detail: across", info="Percent.")
                down = gr.Slider(0, 100, 50, step=1, label="Detail: down", info="Percent.")
            whole = _compared("The whole: bicubic left, the network right", 500)
            divider = gr.Slider(0, 100, 50, step=1, label="Divider", info="Of both, percent.")
            told = parts.facts_text()
            download = parts.download_button()
            command = parts.command_text()
    result = gr.Image(label="Result", visible=False, format="png")
    parts.run_on(
        button,
        examples,
        upscale,
        [photo, scale, model],
        [result, detail, whole, told, command, done, across, down],
        download,
        result=result,
        shown=detail,
    )
    divider.input(  # In the browser alone.
        None,
        divider,
        [detail, whole],
        js="at => Array(2).fill({ __type__: 'update', slider_position: at })",
    )
    gr.on(
        [across.release, down.release],
        job(look),
        [done, across, down],
        detail,
        **JOB,
        **parts.PRIVATE,
    )


def _compared(label: str, height: int) -> gr.ImageSlider:
    return gr.ImageSlider(
        label=label,
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        max_height=height,
        elem_classes="compared",
    )


def upscale(photo: parts.Picture, scale: int, model: str):
    """Enlarges a picture two, three or four times.

    Args:
        photo: the picture.
        scale: 2, 3 or 4.
        model: clean, compressed, or auto, which judges by the file.

    Returns:
        The result; the part where it gains most and the whole, each beside bicubic interpolation;
        facts; the command line that does the same; and where that part is, in percent.
    """
    picture = parts.required(photo)
    height, width = picture.image.shape[:2]
    if height * width * scale**2 > MEGAPIXELS * 1e6:
        raise ImageError(
            f"{width}×{height} at scale {scale} is {width * scale}×{height * scale}, more than the "
            f"{MEGAPIXELS} megapixels that this page gives out: choose a smaller scale, cut the "
            f"picture, or use the command line"
        )
    file = parts.file_of(picture)
    start = time.perf_counter()
    result = superres.upscale(file, scale, model)
    took = time.perf_counter() - start
    done = Enlarged(picture.path, scale, result.model)
    shown = save_result(
        result.image[..., 0] if result.grey else result.image,
        parts.named(picture, f"x{scale}"),
        result.metadata,
    )
    plain = picture.image[..., :3]
    top, left, rows, columns = busiest_window(plain, result.image[..., :3])
    inputs = () if file == small_jpeg() else (picture,)
    across, down = _percent(left, width - columns), _percent(top, height - rows)
    return (
        shown,
        look(done, across, down),
        _whole(picture.image, result.image, shown, picture),
        parts.facts(
            parts.seconds(took),
            f"{width} × {height} to {parts.pixels(result.image)}",
            f"network {result.model} ({result.reason})",
            *result.metadata.notes,
        ),
        parts.command_line("superres.run", RunArguments(scale=scale, model=model), *inputs),
        done,
        across,
        down,
    )


def look(done: Enlarged | None, across: float, down: float) -> tuple[str, str] | None:
    """A part of the picture, enlarged both ways and magnified.

    Only that part goes through the network, with as much around it as has an influence, so that
    nothing large need be kept.

    Args:
        done: what was enlarged.
        across, down: where the part is, in percent of where it can be.
    """
    if done is None:
        return None
    image = parts.read_again(done.path)
    sides = [min(length, -(-WINDOW // done.scale)) for length in image.shape[:2]]
    starts = [
        round(percent / 100 * (length - side))
        for percent, length, side in zip((down, across), image.shape[:2], sides, strict=True)
    ]
    before = [min(start, BORDER) for start in starts]
    around = image[
        tuple(
            slice(start - margin, start + side + BORDER)
            for start, margin, side in zip(starts, before, sides, strict=True)
        )
    ]
    inner = tuple(
        slice(done.scale * margin, done.scale * (margin + side))
        for margin, side in zip(before, sides, strict=True)
    )
    enlarged = superres.upscale(around, done.scale, done.model).image
    plain = interpolated(around, enlarged.shape[:2])
    return tuple(
        save_result(magnified(shown[inner], ZOOM), name)
        for shown, name in ((plain, "bicubic"), (enlarged, "network"))
    )


def _whole(image: np.ndarray, enlarged: np.ndarray, file: str, picture: parts.Picture):
    """The files of bicubic interpolation and of the result, as large as a page shows them."""
    size = enlarged.shape
    if max(size[:2]) > SHOWN:
        size = fit_size(size, SHOWN)
        file = save_result(resize(enlarged, size), parts.named(picture, "network"))
    plain = interpolated(image, size[:2])
    return save_result(plain, parts.named(picture, "bicubic")), file


def _percent(place: int, last: int) -> int:
    return round(100 * place / last) if last else 50
