"""The tab that says what a photo shows."""

from __future__ import annotations

import time
from typing import get_args

import gradio as gr

import classify as classifier
from atelier.media.images import fit_size, resize
from classify.config import Fit
from classify.predict import NONE, seen
from classify.run import RunArguments
from gallery.web.photo import save_result
from gallery.web.tabs import parts

LONGEST = 1024
"""Longer side of the picture that is coloured, pixels: 32 × 32 cells show no more in a larger."""

EXAMPLES = (
    parts.Example("A cat", "chelsea.png"),
    parts.Example("A motorcycle", "motorcycle_left.png"),
    parts.Example("A rocket", "rocket.jpg"),
    parts.Example("A cup of coffee", "coffee.png"),
)


def build() -> None:
    """Fills the open tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            photo = parts.upload("Photo", height=260)
            examples = parts.example_buttons(EXAMPLES, photo)
            fit = gr.Radio(
                [("All of it, squeezed square", "squeeze"), ("Its middle, cropped", "crop")],
                value=get_args(Fit)[0],
                label="What the network sees",
                info="It looks at 32 × 32 pixels. Photos it learned from were squeezed.",
            )
            button = gr.Button("Classify", variant="primary")
        with gr.Column(scale=3, min_width=300):
            answer = parts.answer_text()
            heat = parts.result_image(
                "Where the network sees it",
                "The photo, with the places in warm colours that speak for the first class",
            )
            told = parts.facts_text()
            download = parts.download_button()
            bars = gr.Label(
                label="How probable each is",
                num_top_classes=len(classifier.CLASSES),
                show_heading=False,
                elem_classes="bars",
            )
            command = parts.command_text()
    parts.run_on(
        button,
        examples,
        classify,
        [photo, fit],
        [answer, bars, heat, told, command],
        download,
        result=heat,
    )


def classify(photo: parts.Picture, fit: str):
    """Says which of CIFAR-10's ten classes a photo shows, if any, and where the network sees it.

    Args:
        photo: the picture.
        fit: squeeze or crop.

    Returns:
        The answer in words, the probability of each class, the photo with Grad-CAM laid over it,
        facts, and the command line that does the same.
    """
    picture = parts.required(photo)
    network = classifier.load_network()
    start = time.perf_counter()
    image = picture.opaque
    found = classifier.classify(image, network=network, fit=fit)
    part = seen(image, fit)
    part = resize(part, fit_size(part.shape, min(LONGEST, max(part.shape[:2]))))
    small = classifier.prepare(image, fit)
    drawn = classifier.overlay(part, classifier.grad_cam(small, network, found.labels[0]))
    took = time.perf_counter() - start
    probabilities = map(float, found.probabilities)
    return (
        _answer(found),
        dict(zip(found.labels, probabilities, strict=True)),
        save_result(drawn, parts.named(picture, "gradcam")),
        parts.facts(
            parts.seconds(took),
            parts.pixels(image),
            f"network {found.model}",
            *picture.metadata.stripped().notes,
        ),
        parts.command_line(
            "classify.run", RunArguments(fit=fit, top=len(found.labels), gradcam=True), picture
        ),
    )


def _answer(found: classifier.Classification) -> str:
    first = found.labels[0]
    if found.known:
        probability = found.probabilities[0]
        sure = "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"
        return parts.say(first.capitalize(), f"{sure} sure, among the ten classes it knows")
    known = ", ".join(sorted(classifier.CLASSES))
    return parts.say(
        NONE.capitalize(),
        f"The photo is unlike all that the network learned from ({known}). Among those it would "
        f"be nearest to {first}; the bars below say no more than that.",
    )
