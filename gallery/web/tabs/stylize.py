"""The tab that repaints photos."""

from __future__ import annotations

import time
from pathlib import Path

import gradio as gr

import nst
from atelier.progress import Step
from gallery.web.jobs import limits, show
from gallery.web.photo import save_result
from gallery.web.tabs import parts
from nst.run import DEFAULT_STYLE, RunArguments
from nst.styles import names, open_style

OWN = "own"
"""Instead of a painting's name: the visitor's."""

EXAMPLES = (
    parts.Example("An astronaut", "astronaut.png"),
    parts.Example("A cat", "chelsea.png"),
    parts.Example("A cup of coffee", "coffee.png"),
)

SIZE, STEPS = 384, 60
"""Longer side of a result, pixels, and steps, unless others are chosen: less than the command's, so
that a visitor need not wait for long."""

EVERY = 0.7
"""Seconds between two previews."""

KEPT_PREVIEWS = 3
"""Previews that stay on the disk: the page may still be fetching the last but one."""

RESERVE = 0.1
"""Share of a request's time that is left for finishing when the time is nearly up."""

_running: dict[str | None, _Preview] = {}
"""The previews of runs under way, by their visitor's session: what a stop can reach."""


def build() -> None:
    """Fills the open tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = parts.upload("Photo", height=260)
            examples = parts.example_buttons(EXAMPLES, photo)
            parts.picture_rules(
                {
                    f'.paintings label:has(input[value="{name}"])': parts.thumbnail(
                        open_style(name)
                    )
                    for name in names()
                }
            )
            painting = gr.Radio(
                [*((_title(name), name) for name in names()), ("Your own", OWN)],
                value=DEFAULT_STYLE,
                label="Painting",
                elem_classes="paintings",
            )
            own = parts.upload("Your painting", visible=False, height=200)
            defaults = nst.StyleTransferConfig()
            with gr.Accordion("Settings", open=False):
                size = gr.Slider(
                    128,
                    1024,
                    SIZE,
                    step=32,
                    label="Size",
                    info="Longer side of the result, pixels.",
                )
                weight = gr.Slider(
                    0.1,
                    5,
                    defaults.style_weight,
                    step=0.1,
                    label="Style weight",
                    info="How far the painting may lead away from the photo.",
                )
                color = gr.Radio(
                    [
                        ("The painting's", "none"),
                        ("The photo's, by brightness alone", "luminance"),
                        ("The photo's, by recolouring the painting", "histogram"),
                    ],
                    value=defaults.preserve_color,
                    label="Colours",
                )
                steps = gr.Slider(
                    10,
                    300,
                    STEPS,
                    step=5,
                    label="Steps",
                    info="At full size; coarser sizes before it take more.",
                )
            button = gr.Button("Stylize", variant="primary")
        with gr.Column(scale=3, min_width=300):
            picture = parts.result_image("Result", "The photo, repainted")
            told = parts.facts_text()
            stop = gr.Button(
                "Stop, and keep the picture so far", variant="stop", size="md", interactive=False
            )
            download = parts.download_button()
            command = parts.command_text()
    painting.change(
        lambda name: gr.update(visible=name == OWN), painting, own, queue=False, **parts.PRIVATE
    )
    for event in (button.click, *(example.then for example in examples)):
        event(lambda: gr.Button(interactive=True), None, stop, queue=False, **parts.PRIVATE)
    runs = parts.run_on(
        button,
        examples,
        stylize,
        [photo, painting, own, size, weight, color, steps],
        [picture, told, command],
        download,
        result=picture,
        live=True,
        show_progress="minimal",
    )
    for run in runs:
        run.then(lambda: gr.Button(interactive=False), None, stop, queue=False, **parts.PRIVATE)
    stop.click(_stop, None, stop, queue=False, **parts.PRIVATE)


def stylize(
    photo: parts.Picture,
    painting: str,
    own_painting: parts.Picture | None = None,
    size: int = SIZE,
    style_weight: float = 1.0,
    preserve_color: str = "none",
    steps: int = STEPS,
    request: gr.Request = None,
):
    """Repaints a photo in the style of a painting, and shows the picture as it forms.

    Args:
        photo: the picture.
        painting: one of the project's own, by name, or own.
        own_painting: of the painting `own`.
        size: longer side of the result, pixels.
        style_weight: of the style's loss, the content's being 0.05.
        preserve_color: none, luminance or histogram.
        steps: of the optimiser at the last size.

    Returns:
        The picture, facts, and the command line that does the same.
    """
    given = parts.required(photo)
    style = parts.required(own_painting, "a painting of your own") if painting == OWN else painting
    settings = {
        "size": int(size),
        "style_weight": style_weight,
        "preserve_color": preserve_color,
        "iterations": int(steps),
    }
    command = parts.command_line("nst.run", RunArguments(**settings), given, style)
    session = request.session_hash if request else None
    preview = _running[session] = _Preview(parts.named(given, "preview"), command)
    try:
        result = nst.stylize(
            given.image,
            style.image if isinstance(style, parts.Picture) else style,
            nst.StyleTransferConfig(**settings),
            on_step=preview,
        )
    finally:
        _running.pop(session, None)
    name = style.name if isinstance(style, parts.Picture) else style
    return (
        save_result(result.image, parts.named(given, Path(name).stem), given.metadata),
        parts.facts(
            parts.seconds(result.seconds),
            parts.pixels(result.image),
            preview.how_it_ended(),
            *given.metadata.notes,
        ),
        command,
    )


class _Preview:
    """An `on_step` that shows the picture as it forms, and ends the run when it is to end."""

    def __init__(self, name: str, command: str):
        self.name, self.command = name, command
        self.asked_to_stop = False
        self.start = self.shown = time.monotonic()
        self.files: list[str] = []
        self.stopped = ""
        self.step: Step | None = None

    def __call__(self, step: Step) -> bool:
        now, self.step = time.monotonic(), step
        if self.asked_to_stop:
            self.stopped = "stopped"
        elif now - self.start > (1 - RESERVE) * limits().seconds:
            self.stopped = f"the {limits().seconds:g} s of a request were up"
        if now - self.shown > EVERY or not self.files:
            self.shown = now
            self.files.append(save_result(step.image(), self.name))
            show(self.files[-1], _progress(step, now - self.start), self.command)
            for old in self.files[:-KEPT_PREVIEWS]:
                Path(old).unlink(missing_ok=True)
            self.files = self.files[-KEPT_PREVIEWS:]
        return bool(self.stopped)

    def how_it_ended(self) -> str:
        """After how many steps, and why."""
        if self.step is None:
            return ""
        if not self.stopped:
            return f"{self.step.number} steps"
        return f"{self.stopped} after {self.step.number} of {self.step.total} steps"


def _progress(step: Step, elapsed: float) -> str:
    height, width = (int(step.metrics[name]) for name in ("height", "width"))
    return parts.facts(
        f"Step {step.number} of {step.total}", f"{width} × {height} pixels", parts.seconds(elapsed)
    )


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _stop(request: gr.Request):
    preview = _running.get(request.session_hash)
    if preview is None:  # It still waits for its turn, or is over.
        return gr.Button()
    preview.asked_to_stop = True
    return gr.Button(interactive=False)
