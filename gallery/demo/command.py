"""All five tasks on pictures that come along, as one page: `python -m gallery.demo`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from atelier import cli
from atelier.errors import AtelierError, SettingsError
from atelier.files import atomic_path, refuse_existing, write_text
from atelier.media.images import save_image
from atelier.progress import OnStep, notify_all
from gallery.demo.page import Show, duration, render
from gallery.demo.scenes import SCENES, Exhibit, Scene, SceneConfig

STOPPED = "the demo was stopped before the end of this"


@dataclasses.dataclass(frozen=True)
class DemoArguments(SceneConfig):
    """Show all five tasks on pictures that come with scikit-image, as one page to look at.

    The page holds all it shows and needs no network; the results and the photos that they were
    made from lie beside it.
    """

    out: Path = Path("out/demo")
    """The folder for index.html and the results."""
    tasks: tuple[Literal["nst", "cartoon", "superres", "classify", "detection"], ...] = tuple(
        scene.name for scene in SCENES
    )
    """Which of them to show."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a task on standard output."""

    def __post_init__(self):
        super().__post_init__()
        if not self.tasks:
            raise SettingsError("--tasks: name one or more")


def play(scene: Scene, arguments: DemoArguments, stopped: OnStep) -> Show:
    """Plays a scene and writes its results; tells of a task that fails, and goes on.

    Args:
        scene: of a task.
        arguments: the command's.
        stopped: says whether to stop; the exhibit that is under way is then the last.
    """
    begin = time.perf_counter()
    exhibits: list[Exhibit] = []
    failure = ""
    try:
        with cli.progress_bar(scene.name) as bar:
            for exhibit in scene.play(arguments, notify_all(bar, stopped)):
                write(exhibit, arguments)
                exhibits.append(exhibit)
                if stopped(None):
                    failure = STOPPED
                    break
    except AtelierError as error:
        failure = without_places(str(error), arguments.out)
        cli.print_failure(scene.name, error)
    return Show(scene, tuple(exhibits), time.perf_counter() - begin, failure)


def write(exhibit: Exhibit, arguments: DemoArguments) -> None:
    """Writes a result, and the photo that it was made from, beside the page.

    Raises:
        OutputError: it cannot be written, or exists and may not be replaced.
    """
    photo = arguments.out / "photos" / exhibit.photo.name
    if not photo.exists() or photo.read_bytes() != exhibit.photo.data:
        with atomic_path(photo, overwrite=arguments.overwrite) as path:
            path.write_bytes(exhibit.photo.data)
    save_image(arguments.out / exhibit.file, exhibit.result, overwrite=arguments.overwrite)


def without_places(message: str, out: Path) -> str:
    """A message for the page: whose machine's folders it names is nobody's business."""
    for folder in (out.absolute(), out, Path(__file__).parents[2], Path.cwd(), Path.home()):
        if folder.name:  # Not the root, nor the folder that a command is in, as "." is.
            message = message.replace(f"{folder}/", "")
    return message


def tell(show: Show, arguments: DemoArguments) -> None:
    """Tells of a task on standard error, or as JSON on standard output."""
    name, files = show.scene.name, [str(arguments.out / e.file) for e in show.exhibits]
    if arguments.json:
        record = {"task": name, "seconds": round(show.seconds, 2), "files": files}
        cli.print_json({**record, "error": show.failure or None})
    if files:
        noun = "picture" if len(files) == 1 else "pictures"
        cli.print_note(f"{name}: {len(files)} {noun}, {duration(show.seconds)}")


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(DemoArguments, argv, prog="python -m gallery.demo")
    page = arguments.out / "index.html"
    refuse_existing(page, arguments.overwrite)  # Better now than after all the work.
    shows: list[Show] = []
    with cli.stop_on_signal() as stopped:
        for scene in SCENES:
            if scene.name not in arguments.tasks:
                continue
            if stopped(None):
                shows.append(Show(scene, (), 0.0, STOPPED))
                continue
            shows.append(play(scene, arguments, stopped))
            tell(shows[-1], arguments)
        write_text(page, render(shows), overwrite=arguments.overwrite)
        interrupted = stopped(None)
    cli.print_note(f"{page}: {page.stat().st_size / 1e6:.1f} MB, to be opened in a browser")
    if interrupted:
        raise KeyboardInterrupt
    return cli.SOME_FAILED if any(show.failure for show in shows) else cli.DONE
