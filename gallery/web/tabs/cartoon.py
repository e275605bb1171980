"""The tab that cuts people out of photos and draws them."""

from __future__ import annotations

import re
import time

import gradio as gr

import cartoon
from cartoon.drawing.backdrop import (
    PHOTO,
    TRANSPARENT,
    Backdrop,
    color_backdrop,
    compose,
    cover,
    find_backdrop,
)
from cartoon.run import RunArguments
from gallery.web.photo import save_result
from gallery.web.tabs import parts

COLOR, PICTURE = "color", "picture"
"""Kinds of background whose details have a control of their own."""

NOT_DRAWN = "none"
"""Instead of a preset's name: the photo stays one."""

EXAMPLES = (
    parts.Example("An astronaut", "astronaut.png"),
    parts.Example("A cat: nobody to cut out", "chelsea.png"),
)


def build() -> None:
    """Fills the open tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = parts.upload("Photo", height=260)
            examples = parts.example_buttons(EXAMPLES, photo)
            drawing = gr.Radio(
                [
                    ("Fine: calm areas, even outlines", "fine"),
                    ("As in the report: K-histogram", "report"),
                    ("Not drawn: the photo, cut out", NOT_DRAWN),
                ],
                value=RunArguments().preset,
                label="Drawing",
            )
            background = gr.Radio(
                [
                    ("Transparent", TRANSPARENT),
                    ("A colour", COLOR),
                    ("The photo", PHOTO),
                    ("Another picture", PICTURE),
                ],
                value=TRANSPARENT,
                label="Background",
                info="What the people in the photo are laid on.",
            )
            color = gr.ColorPicker("#f4c9b5", label="Colour of the background", visible=False)
            behind = parts.upload("Picture for the background", visible=False, height=200)
            button = gr.Button("Cut out and draw", variant="primary")
        with gr.Column(scale=3, min_width=300):
            answer = parts.answer_text()
            result = parts.result_image(
                "Result",
                "The people in the photo, cut out and drawn before the chosen background",
                "checkerboard",
            )
            told = parts.facts_text()
            download = parts.download_button()
            command = parts.command_text()
    background.change(
        lambda kind: (gr.update(visible=kind == COLOR), gr.update(visible=kind == PICTURE)),
        background,
        [color, behind],
        queue=False,
        **parts.PRIVATE,
    )
    parts.run_on(
        button,
        examples,
        cartoonize,
        [photo, drawing, background, color, behind],
        [answer, result, told, command],
        download,
        result=result,
    )


def cartoonize(
    photo: parts.Picture,
    drawing: str,
    background: str,
    color: str = "white",
    picture: parts.Picture | None = None,
):
    """Cuts the people out of a photo, draws them, and lays them on a background.

    Args:
        photo: the picture.
        drawing: fine, report, or none for the photo itself.
        background: transparent, color, photo or picture.
        color: for the background `color`, as CSS has it.
        picture: for the background `picture`.

    Returns:
        A notice if nobody was found, the result, facts, and the command line that does the same.
    """
    given = parts.required(photo)
    start = time.perf_counter()
    backdrop, name = _backdrop(background, color, picture)
    if drawing == NOT_DRAWN:
        cut = cartoon.cut_out(given.image)
        found, image = cut.found, compose(cut.image[..., :3], cut.mask, given.image, backdrop)
        arguments = RunArguments(background=name, draw=False)
    else:
        portrait = cartoon.portray(given.image, drawing, background=backdrop)
        found, image = portrait.found, portrait.image
        arguments = RunArguments(background=name, preset=drawing)
    took = time.perf_counter() - start
    name = parts.named(given, "cut-out" if drawing == NOT_DRAWN else "cartoon")
    return (
        "" if found else _nobody(drawing),
        save_result(image, name, given.metadata),
        parts.facts(parts.seconds(took), parts.pixels(image), *given.metadata.notes),
        parts.command_line("cartoon.run", arguments, given),
    )


def _backdrop(kind: str, color: str, picture: parts.Picture | None) -> tuple[Backdrop, str]:
    """What is behind, and its name on the command line."""
    if kind == PICTURE:
        behind = parts.required(picture, "a picture for the background").image
        return lambda photo: cover(behind, photo.shape[:2]), picture.name
    if kind == COLOR:  # `find_backdrop` would take files' names, too, and the files here are ours.
        return color_backdrop(name := hexadecimal(color)), name
    return find_backdrop(kind), kind


def hexadecimal(color: str) -> str:
    """A colour that the picker gives as rgba(251.9, 3, 8, 0.5) as #fc030880; others as they are."""
    if not re.fullmatch(r"rgba?\(\d+(\.\d+)?(, ?\d+(\.\d+)?){2,3}\)", color):
        return color
    levels = [float(part) for part in color.split("(")[1][:-1].split(",")]
    levels[3:] = [255 * opacity for opacity in levels[3:] if opacity < 1]
    return "#" + "".join(f"{round(min(level, 255)):02x}" for level in levels)


def _nobody(drawing: str) -> str:
    if drawing == NOT_DRAWN:
        return parts.say(
            "Nobody was found.",
            "The network that cuts out knows people alone, and is not sure of anybody here: what "
            "is left of the photo is its best guess.",
        )
    return parts.say(
        "Nobody was found.",
        "The network that cuts out knows people alone; so all of the picture is drawn, and there "
        "is no background.",
    )
