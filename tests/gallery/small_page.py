"""A page whose jobs do what tests want, at once or for as long as they want."""

import time

import gradio as gr

from atelier.errors import SettingsError
from gallery.web.jobs import JOB, check_time, job, show
from gallery.web.photo import Photo, save_result


def flip(picture):
    """The picture upside down, and its shape."""
    if picture is None:
        raise SettingsError("choose a picture first")
    return save_result(picture[::-1], "flipped photo.png"), str(picture.shape)


def work(seconds: float):
    """Takes its time, and asks whether it still has any."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check_time()
        time.sleep(0.02)
    return "done"


def sleep(seconds: float):
    """Takes its time, and asks nobody."""
    time.sleep(seconds)
    return "slept"


def count(number: float):
    """Shows 1, 2, … and then says so."""
    for step in range(int(number)):
        show(str(step + 1))
        time.sleep(0.05)
    return f"{int(number)} steps"


def fail(kind: str):
    """A mistake of the visitor's, or of the page's."""
    if kind == "theirs":
        raise SettingsError(f"--kind is not <b>{kind}</b>")
    raise RuntimeError("a secret of the server's")


def build_page() -> gr.Blocks:
    with gr.Blocks(title="Small", analytics_enabled=False) as page:
        picture, flipped = Photo(label="Picture"), Photo(label="Flipped", interactive=False)
        number, text = gr.Number(1, label="Number"), gr.Textbox(label="Text")
        for function, inputs, outputs, live in (
            (flip, picture, [flipped, text], False),
            (work, number, text, False),
            (sleep, number, text, False),
            (count, number, text, True),
            (fail, text, text, False),
        ):
            gr.Button(function.__name__).click(
                job(function, live=live), inputs, outputs, api_name=function.__name__, **JOB
            )
    from gallery.web.limits import limits

    page.queue(max_size=limits().waiting, api_open=False)
    return page
