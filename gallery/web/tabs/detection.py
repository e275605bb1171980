"""The tab that finds objects."""

from __future__ import annotations

import collections
import dataclasses
import time

import gradio as gr

from atelier.nets.weights import card
from detection import DetectConfig, Detections
from detection.annotations import plain
from detection.annotations.write import as_records
from detection.draw import draw
from detection.predict import EMBEDDED, WEIGHTS, load_detector, own_threshold
from detection.run import RunArguments
from gallery.web.jobs import JOB, job
from gallery.web.photo import save_result
from gallery.web.tabs import parts

LOWEST = 0.05
"""Score of the least sure objects that a detector gives."""

COLUMNS = ("object", "score", "left", "top", "right", "bottom")
"""Of the table; the last four in pixels."""

EXAMPLES = {"person": (parts.Example("An astronaut", "astronaut.png"),)}
"""Pictures of scikit-image's that show what an embedded detector finds, by its name. None of them
shows blood cells."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What the drawing is made from, again and again."""

    picture: parts.Picture
    """Without its pixels, which are read from its file when they are needed."""
    model: str
    classes: tuple[str, ...]
    detections: Detections
    """All of them, whatever their scores."""
    seconds: float


def build() -> None:
    """Fills the open tab."""
    default = DetectConfig().model
    usual = default, usual_threshold(default)
    found = gr.State(time_to_live=parts.KEPT_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = parts.upload("Photo", height=260)
            examples = parts.example_buttons(EXAMPLES.get(default, ()), photo)
            model = gr.Radio(
                [(describe(name), name) for name in EMBEDDED],
                value=default,
                label="Detector",
                info="By what it was trained to find.",
            )
            threshold = gr.Slider(
                LOWEST,
                1,
                usual[1],
                step=0.01,
                label="Threshold",
                info="Objects less sure than this are left out. Moved after a search, it draws "
                "anew without another one.",
            )
            button = gr.Button("Detect", variant="primary")
        with gr.Column(scale=3, min_width=300):
            answer = parts.answer_text()
            drawn = parts.result_image("Result", "The photo, with a box around each object found")
            told = parts.facts_text()
            download = parts.download_button()
            table = gr.Dataframe(
                headers=list(COLUMNS),
                label="Objects found",
                interactive=False,
            )
            command = parts.command_text()
    examples = [  # Which show what that detector finds, whichever was chosen before.
        event.then(lambda: usual, None, [model, threshold], queue=False, **parts.PRIVATE)
        for event in examples
    ]
    shown = [answer, drawn, table, told, command]
    inputs = [photo, model, threshold]
    parts.run_on(button, examples, detect, inputs, [*shown, found], download, result=drawn)
    model.change(usual_threshold, model, threshold, queue=False, **parts.PRIVATE)
    moved = threshold.release(job(redraw), [found, threshold], shown, **JOB, **parts.PRIVATE)
    parts.hand_out(moved, drawn, download)


def describe(model: str) -> str:
    """An embedded detector's name and classes, for people."""
    name, classes = model.replace("-", " ").capitalize(), card(model, WEIGHTS)["classes"]
    return name if classes == [model] else f"{name}: {', '.join(map(plain, classes))}"


def usual_threshold(model: str) -> float:
    """An embedded detector's own."""
    return own_threshold(card(model, WEIGHTS))


def detect(photo: parts.Picture, model: str, threshold: float):
    """Finds objects on a photo and draws boxes around them.

    Args:
        photo: the picture.
        model: an embedded detector's name.
        threshold: objects less sure than this are left out.

    Returns:
        The answer in words, the photo with boxes, a table with a row an object, facts, and the
        command line that does the same.
    """
    picture = parts.required(photo)
    detector = load_detector(DetectConfig(model=model))
    start = time.perf_counter()
    detections = detector.detect(picture.opaque)
    found = Found(
        picture=dataclasses.replace(picture, image=None),
        model=model,
        classes=detector.classes,
        detections=detections,
        seconds=time.perf_counter() - start,
    )
    return *_show(found, threshold, picture.opaque), found


def redraw(found: Found | None, threshold: float):
    """What `detect` gives, at another threshold."""
    if found is None:
        return (gr.skip(),) * 5
    return _show(found, threshold, parts.read_again(found.picture.path))


def _show(found: Found, threshold: float, image) -> tuple:
    kept = found.detections.select(threshold)
    return (
        _answer(found, kept, threshold),
        save_result(
            draw(image, kept, classes=found.classes),
            parts.named(found.picture, "detected"),
            found.picture.metadata,
        ),
        [[row["label"], row["score"], *row["box"]] for row in as_records(kept)],
        parts.facts(
            parts.seconds(found.seconds),
            parts.pixels(image),
            f"detector {found.model}",
            *found.picture.metadata.notes,
        ),
        parts.command_line(
            "detection.run", RunArguments(model=found.model, threshold=threshold), found.picture
        ),
    )


def _answer(found: Found, kept: Detections, threshold: float) -> str:
    less_sure = len(found.detections) - len(kept)
    more = f"{less_sure} less sure than {threshold:g} left out." if less_sure else ""
    if not len(kept):
        what = ", ".join(map(plain, found.classes))
        return parts.say("Nothing was found.", f"This detector finds {what}. {more}")
    counts = collections.Counter(kept.labels).most_common()
    return parts.say(
        ", ".join(f"{count} {plain(label)}" for label, count in counts),
        more and f"found; {more}",
    )
