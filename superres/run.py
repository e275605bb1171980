"""Enlarges pictures and videos: `python -m superres.run INPUT… --out FOLDER`."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from atelier import cli
from atelier.errors import SettingsError
from atelier.files import refuse_existing
from atelier.images import READABLE, load_image, resize, sample, save_image
from atelier.movies import VIDEOS
from atelier.progress import notify_all
from superres.compare import comparison
from superres.upscale import UpscaleConfig, upscale
from superres.video import upscale_video


@dataclasses.dataclass(frozen=True)
class RunArguments(UpscaleConfig):
    """Enlarge pictures and videos two, three or four times, with more detail than bicubic.

    With no input, a picture that comes with scikit-image is halved, compressed and enlarged again.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures and videos: files, folders, or - for a picture on standard input."""
    out: Path = Path("out/superres")
    """Where to: a folder, in which results keep the inputs' names, as .png or .mp4; or the name of
    a picture's or video's file."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""
    compare: bool = False
    """Also write, for each picture, NAME.compare.png: bicubic interpolation and the result side by
    side, where they differ most."""


def enlarge(item: cli.Input, path: Path, arguments: RunArguments):
    """Enlarges one input into `path`.

    Returns:
        The `Upscaled` or the `UpscaledVideo`.
    """
    refuse_existing(path, arguments.overwrite)
    with cli.progress_bar(path.name) as bar, cli.stop_on_signal() as stopped:
        work = _enlarge_video if is_video(item) else _enlarge_picture
        (width, height), result, why = work(item, path, arguments, notify_all(bar, stopped))
        interrupted = stopped(None)
    if arguments.json:
        cli.print_json(
            {
                "input": item.name,
                "output": str(path),
                "width": width,
                "height": height,
                "model": result.model,
                "scale": result.scale,
                "seconds": round(result.seconds, 2),
            }
        )
    cli.say(f"{path}: {width}×{height}, {why}, {result.seconds:.1f} s")
    if interrupted:
        raise KeyboardInterrupt
    return result


def _enlarge_picture(item: cli.Input, path: Path, arguments: RunArguments, on_step):
    compared = path.with_name(f"{path.stem}.compare.png")
    if arguments.compare:
        refuse_existing(compared, arguments.overwrite)
    config = dataclasses.asdict(cli.settings(UpscaleConfig, arguments))
    result = upscale(item.source, **config, on_step=on_step)
    image = result.image
    save_image(path, image[..., 0] if result.grey else image, overwrite=arguments.overwrite)
    if arguments.compare:
        sheet = comparison(load_image(item.source, alpha="keep")[..., :3], image[..., :3])
        save_image(compared, sheet, overwrite=arguments.overwrite)
    return image.shape[1::-1], result, f"{result.model} ({result.reason})"


def _enlarge_video(item: cli.Input, path: Path, arguments: RunArguments, on_step):
    config = dataclasses.asdict(cli.settings(UpscaleConfig, arguments))
    result = upscale_video(
        item.source, path, **config, on_step=on_step, overwrite=arguments.overwrite
    )
    return (result.width, result.height), result, f"{result.frames} frames, {result.model}"


def is_video(item: cli.Input) -> bool:
    """Whether an input is a video, by its suffix."""
    return item.relative.suffix.lower() in VIDEOS


def example() -> cli.Input:
    """The astronaut of scikit-image, halved, as a JPEG file of quality 75."""
    data = halved(load_image(sample("astronaut.png")), 75)
    return cli.Input("astronaut.jpg", data, Path("astronaut.jpg"))


def halved(picture: np.ndarray, quality: int | None) -> bytes:
    """A picture at half its size, as a JPEG file of a quality; None: as PNG."""
    file = io.BytesIO()
    half = Image.fromarray(resize(picture, (picture.shape[0] // 2, picture.shape[1] // 2)))
    if quality is None:
        half.save(file, "PNG")
    else:
        half.save(file, "JPEG", quality=quality)
    return file.getvalue()


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(RunArguments, argv, prog="python -m superres.run")
    inputs = cli.find_inputs(arguments.inputs, (*READABLE, *VIDEOS)) or [example()]
    paths = cli.output_paths(
        inputs,
        arguments.out,
        suffix=lambda item: ".mp4" if is_video(item) else ".png",
        files=(*READABLE, *VIDEOS),
    )
    for item, path in zip(inputs, paths, strict=True):
        if is_video(item) != (path.suffix.lower() in VIDEOS):
            kind, other = ("video", ".mp4") if is_video(item) else ("picture", ".png")
            raise SettingsError(f"{item.name} is a {kind}: name it {other}, not --out {path}")
    return cli.for_each(
        (item.name, lambda item=item, path=path: enlarge(item, path, arguments))
        for item, path in zip(inputs, paths, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
