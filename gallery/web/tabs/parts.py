"""What the tabs share: uploads that know their names, examples, facts, downloads, command lines."""

from __future__ import annotations

import base64
import dataclasses
import filecmp
import functools
import io
import secrets
import shlex
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from gradio.events import Dependency
from gradio.utils import get_upload_folder
from PIL import Image

from atelier import cli
from atelier.errors import ImageError
from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import load_image, resize, sample
from gallery.web.jobs import JOB, job
from gallery.web.photo import Photo

PRIVATE: dict[str, object] = {"api_visibility": "private", "show_progress": "hidden"}
"""Keyword arguments of listeners that only change the page."""

KEPT_SECONDS = 30 * 60
"""How long the server remembers what a visitor's redraws need."""

GONE = "the server no longer has this picture: give it once more"

THUMBNAIL = 128
"""Longer side of examples' and paintings' small pictures, pixels."""


# === Pictures in ===


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture that a visitor gave."""

    image: np.ndarray
    """uint8 (H, W, 3), or (H, W, 4) where it has transparency."""
    path: str
    """Its file on the server."""
    name: str
    """The visitor's own name for it."""
    metadata: Metadata = NOTHING
    """What its file says beside the pixels."""

    @property
    def opaque(self) -> np.ndarray:
        """uint8 (H, W, 3), what is transparent being white."""
        return load_image(self.image)


class Upload(Photo):
    """A `Photo` that hands its handler a `Picture`."""

    def get_block_name(self) -> str:
        return "image"  # To the browser it is one.

    def preprocess(self, payload: ImageData | None) -> Picture | None:
        if payload is None:
            return None
        read, name = self.read(payload), Path(payload.orig_name or payload.path).name
        return Picture(read.image, payload.path, name, read.metadata)


_ACCESS = (Path(__file__).parent.parent / "access.js").read_text(encoding="utf-8")


def upload(label: str, **photo) -> Upload:
    """An `Upload` that looks at each file as it comes: what is no picture is refused at once.

    Args:
        label: its name.
        photo: further arguments of `Photo`.
    """
    gr.HTML(js_on_load=_ACCESS, elem_classes="rules")
    component = Upload(
        label=label,
        alt_text=f"{label}, as given",
        sources=["upload", "clipboard"],
        elem_classes="upload",
        **photo,
    )
    looked_at = component.upload(
        lambda picture: None, component, None, concurrency_id="look", concurrency_limit=1, **PRIVATE
    )
    looked_at.failure(lambda: None, None, component, queue=False, **PRIVATE)
    return component


def required(picture: Picture | None, what: str = "a photo") -> Picture:
    """The picture, which must be there.

    Raises:
        ImageError: it is not.
    """
    if picture is None:
        raise ImageError(f"choose {what} first, or one of the examples")
    return picture


def file_of(picture: Picture) -> bytes:
    """The uploaded file itself.

    Raises:
        ImageError: the server has removed it meanwhile.
    """
    try:
        return Path(picture.path).read_bytes()
    except OSError:
        raise ImageError(GONE) from None


def read_again(path: str) -> np.ndarray:
    """An uploaded picture, uint8 (H, W, 3), some time after the request that it came with.

    Raises:
        ImageError: the server has removed it meanwhile.
    """
    try:
        return load_image(path)
    except ImageError:  # Whose text would say where uploads lie.
        raise ImageError(GONE) from None


# === Examples ===


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture that the page offers, and how the command line names it."""

    caption: str
    file: str
    """Its file's name; that of scikit-image's, if there are no `data`."""
    data: Callable[[], bytes] | None = None
    """Gives the file's bytes."""

    def read(self) -> bytes:
        """The file."""
        return sample(self.file).read_bytes() if self.data is None else self.data()

    def put(self) -> str:
        """Writes the file where uploads lie, and gives its path."""
        path = Path(get_upload_folder()) / secrets.token_hex(16) / self.file
        path.parent.mkdir(parents=True)
        path.write_bytes(self.read())
        return str(path)


def example_buttons(examples: Sequence[Example], photo: Upload) -> list[Dependency]:
    """A row of buttons, each with a small picture, that put their example into `photo`.

    Returns:
        The events of the buttons, each of which has put its picture when it is over.
    """
    pictures = [thumbnail(load_image(example.read())) for example in examples]
    looks = [f"picture-{zlib.crc32(picture.encode()):08x}" for picture in pictures]
    picture_rules({f".{look}": picture for look, picture in zip(looks, pictures, strict=True)})
    events = []
    with gr.Row(elem_classes="examples"):
        for example, look in zip(examples, looks, strict=True):
            button = gr.Button(
                example.caption, size="sm", min_width=0, elem_classes=["example", look]
            )
            # Written once; the server keeps what is there when it starts.
            put = functools.partial(str, example.put())
            events.append(button.click(put, None, photo, queue=False, **PRIVATE))
    return events


def thumbnail(image: np.ndarray) -> str:
    """A small copy of uint8 (H, W, 3), as the address of a JPEG that holds it."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    file = io.BytesIO()
    Image.fromarray(resize(square, (THUMBNAIL, THUMBNAIL))).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def picture_rules(pictures: Mapping[str, str]) -> None:
    """Gives elements, by their CSS selectors, their small pictures; style.css lays them out."""
    rules = (
        f"{selector} {{ --picture: url({address}); }}" for selector, address in pictures.items()
    )
    gr.HTML(f"<style>{' '.join(rules)}</style>", elem_classes="rules")


# === Running ===


def run_on(
    button: gr.Button,
    examples: Sequence[Dependency],
    work: Callable,
    inputs: Sequence[gr.components.Component],
    outputs: Sequence[gr.components.Component],
    download: gr.DownloadButton,
    *,
    result: gr.Image,
    shown: gr.components.Component | None = None,
    live: bool = False,
    **listener,
) -> list[Dependency]:
    """Runs `work` when the button is pressed and when an example was chosen.

    Args:
        button: the tab's main one, whose listener is the tab's endpoint, by the name of `work`.
        examples: of `example_buttons`.
        work: the handler, whose parameters' names are those of the endpoint.
        inputs: of it.
        outputs: of it.
        download: is given the file that `result` shows.
        result: which of the outputs that is.
        shown: on which of them waiting shows; the result, when left out.
        live: see `gallery.web.jobs.job`.
        listener: further keyword arguments of the listeners.

    Returns:
        The events, each of which is over when the work is.
    """
    handler = job(work, live=live)
    listener = {**JOB, "show_progress_on": shown or result, **listener}
    events = [
        button.click(handler, inputs, outputs, api_name=work.__name__, **listener),
        *(
            event.then(handler, inputs, outputs, api_visibility="private", **listener)
            for event in examples
        ),
    ]
    for event in events:
        hand_out(event, result, download)
    return events


def hand_out(event: Dependency, result: gr.Image, download: gr.DownloadButton) -> None:
    """Gives the download button the file that `result` shows, once `event` is over."""

    def enable(shown: dict | None):
        return gr.DownloadButton(value=shown and shown["path"], interactive=shown is not None)

    event.success(enable, result, download, queue=False, preprocess=False, **PRIVATE)


def result_image(label: str, description: str, *classes: str) -> gr.Image:
    """Where a result is shown.

    Args:
        label: its name.
        description: what a screen reader says that it shows.
        classes: for style.css.
    """
    return gr.Image(
        label=label,
        alt_text=description,
        format="png",
        interactive=False,
        image_mode=None,
        buttons=["fullscreen"],
        elem_classes=["result", *classes],
    )


def download_button() -> gr.DownloadButton:
    """The button by which a result is saved, once there is one."""
    return gr.DownloadButton("Download PNG", interactive=False, size="md")


# === Words ===

# A template's handlers see values as they are; into a page they must come as text. Handlebars'
# {{value}} would not do: what it gives is evaluated once more.
_TEXT = "(text => text.replace(/[&<>]/g, sign => `&#${sign.charCodeAt(0)};`))"

_ANNOUNCED = "element.setAttribute('aria-live', 'polite');"

_COPY = """
element.addEventListener("click", async event => {
  const button = event.target.closest("button");
  if (!button) return;
  const code = element.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {  // Browsers refuse where the page came over the network without encryption.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
"""


def answer_text() -> gr.HTML:
    """Where the answer stands in words, of `say`."""
    return gr.HTML(
        label="Answer",
        html_template=(
            f"${{value ? (([first, ...more]) => `<strong>${{{_TEXT}(first)}}</strong> "
            f"${{{_TEXT}(more.join(' '))}}`)(value.split('\\n')) : ''}}"
        ),
        js_on_load=_ANNOUNCED,
        elem_classes="answer",
    )


def say(title: str, text: str = "") -> str:
    """An answer for `answer_text`: in few words, and what is to be added."""
    return f"{title}\n{text}".strip()


def facts_text() -> gr.HTML:
    """Where the facts of a result stand, of `facts`; of a run under way a bar, too, if they begin
    with, say, "Step 3 of 10"."""
    return gr.HTML(
        label="Facts",
        html_template=(
            "${(([, done, all]) => all ? `<progress aria-label='Progress' value='${done}' "
            "max='${all}'></progress>` : '')((value || '').match(/^Step (\\d+) of (\\d+)/) || [])}"
            f"${{{_TEXT}(value || '')}}"
        ),
        elem_classes="facts",
    )


def facts(*parts: str) -> str:
    """Short facts about a result; empty ones are left out."""
    return " · ".join(filter(None, parts))


def command_text() -> gr.HTML:
    """Where the command line is shown that does the same, with a button that copies it."""
    return gr.HTML(
        label="Command line",
        html_template=(
            "${value ? `<div class='head'><span>The same on the command line</span>"
            "<button type='button'>Copy</button></div>"
            f"<pre tabindex='0' aria-label='Command line'><code>${{{_TEXT}(value)}}</code></pre>` "
            ": ''}"
        ),
        js_on_load=_COPY,
        elem_classes="command",
    )


def seconds(value: float) -> str:
    """How long something took, for people."""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def pixels(image: np.ndarray) -> str:
    """Width and height, for people."""
    return f"{image.shape[1]} × {image.shape[0]} pixels"


def named(picture: Picture, suffix: str) -> str:
    """The name of a result's file."""
    return f"{Path(picture.name).stem}-{suffix}.png"


# === The same on the command line ===


def command_line(program: str, arguments: object, *pictures: Picture | str) -> str:
    """The command that does what the page did, to be pasted into a shell.

    Args:
        program: the module.
        arguments: of its command, without inputs.
        pictures: the inputs, in order: those that were given, and names.
    """
    words = ["python", "-m", program, *map(shell_word, pictures), cli.as_flags(arguments)]
    return " ".join(word for word in words if word)


def shell_word(picture: Picture | str) -> str:
    """A picture as a word of a shell: its file's name, or where scikit-image keeps it."""
    if isinstance(picture, str):
        return shlex.quote(picture)
    own = sample(picture.name)
    if own.is_file() and filecmp.cmp(picture.path, own, shallow=False):
        code = f"from atelier.media.images import sample; print(sample({own.name!r}))"
        code = code.replace("'", '"')
        return f"\"$(python -c '{code}')\""
    name = picture.name.replace("\n", " ")
    return shlex.quote(f"./{name}" if name.startswith("-") else name)
