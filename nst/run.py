"""Repaints photos: `python -m nst.run PHOTO PAINTING… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from atelier import cli
from atelier.errors import SettingsError
from atelier.files import refuse_existing, write_table
from atelier.images import load_image, sample, save_image
from atelier.progress import notify_all
from nst import styles
from nst.animation import Frames, Snapshots, plot_history
from nst.config import PRESETS, StyleTransferConfig
from nst.stylize import output_size, stylize

DEFAULT_STYLE = "impasto"


@dataclasses.dataclass(frozen=True)
class RunArguments(StyleTransferConfig):
    """Repaint photos in the style of paintings.

    With one picture, it is repainted in the style `impasto`; with none, a picture that comes with
    scikit-image is.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """The photo (a file, a folder of photos, or - for standard input), then one or several
    paintings: files, or impasto, ink, mosaic, pointillist, stained_glass, watercolor, woodcut."""
    out: Path = Path("out/nst")
    """Where to: a folder, in which results keep the photos' names, or a picture's file name."""
    preset: Literal["fast", "report"] = "fast"
    """Settings to start from; flags change single ones. `report` is the report's own way."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    every: int = 0
    """Also write the picture every so many steps; 0: never."""
    animation: Literal["none", "gif", "mp4"] = "none"
    """Also write the way to the picture as an animation."""
    history: bool = False
    """Also write the losses of all steps as .csv and as a plot."""


def repaint(item: cli.Input, paintings: Sequence[str], path: Path, arguments: RunArguments):
    """Repaints one photo and writes all that was asked for beside `path`.

    Returns:
        The `Stylization`.
    """
    config = cli.settings(StyleTransferConfig, arguments)
    animation = path.with_suffix(f".{arguments.animation}")
    table, plot = path.with_suffix(".csv"), path.with_name(f"{path.stem}.history.png")
    if animation == path:
        raise SettingsError(f"--animation would replace the picture {path}; choose another --out")
    targets = [path]
    if arguments.animation != "none":
        targets.append(animation)
    if arguments.history:
        targets += [table, plot]
    for target in targets:
        refuse_existing(target, arguments.overwrite)
    content = load_image(item.source, alpha="keep")
    frames = Frames(output_size(content, config)) if arguments.animation != "none" else None
    snapshots = None
    if arguments.every:
        snapshots = Snapshots(path, arguments.every, arguments.overwrite)
    with cli.progress_bar(path.name) as bar, cli.stop_on_signal() as stopped:
        on_step = notify_all(bar, stopped, frames, snapshots)
        result = stylize(content, paintings, config, on_step=on_step)
        interrupted = stopped(None)
    save_image(path, result.image, overwrite=arguments.overwrite)
    if frames is not None and frames.frames:
        frames.save(animation, overwrite=arguments.overwrite)
    if arguments.history and result.history:
        write_table(table, result.history)
        plot_history([result], [path.stem], plot)
    if arguments.json:
        cli.print_json(
            {
                "input": item.name,
                "styles": list(paintings),
                "output": str(path),
                "height": result.image.shape[0],
                "width": result.image.shape[1],
                "features": result.features,
                "steps": len(result.history),
                "loss": result.loss.total,
                **dataclasses.asdict(result.loss),
                "seconds": round(result.seconds, 2),
            }
        )
    cli.say(f"{path}: {result.seconds:.1f} s, {result.features}, loss {result.loss.total:.4g}")
    if interrupted:
        raise KeyboardInterrupt
    return result


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m nst.run", presets=PRESETS)
    if arguments.every < 0:
        raise SettingsError(f"--every must be 0 or more, not {arguments.every}")
    photo, *paintings = arguments.inputs or [sample("astronaut.png")]
    paintings = paintings or [DEFAULT_STYLE]
    for painting in paintings:
        styles.open_style(painting)  # A bad painting fails all photos: better at once.
    inputs = cli.find_inputs([photo])
    paths = cli.output_paths(inputs, arguments.out)
    return cli.for_each(
        (item.name, lambda item=item, path=path: repaint(item, paintings, path, arguments))
        for item, path in zip(inputs, paths, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
