"""The pictures that a command line names, and where their results go."""

from __future__ import annotations

import collections
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from atelier import cli
from atelier.cli import records
from atelier.errors import ImageError, SettingsError, describe_os_error
from atelier.files import files_below, read_bounded
from atelier.media.images import READABLE, file_bound, passed_over

MAX_LIST = 1 << 30
"""Bytes of a list of files: ten million paths."""


@dataclasses.dataclass(frozen=True)
class Input:
    """One picture that a command was given."""

    name: str
    """What the user is told it is."""
    source: Path | bytes
    """What `load_image` takes."""
    relative: Path
    """Its place under the output folder, with the input's suffix."""


def find_inputs(
    paths: Sequence[str | os.PathLike],
    suffixes: Sequence[str] = READABLE,
    *,
    outs: Iterable[Path | None] = (),
) -> list[Input]:
    """The pictures that a command line names: files, folders with all below them, lists, or `-`.

    Files are taken as they are, to be judged when they are read; of folders, the files with one of
    `suffixes`, which are lower case, sorted, without those that this project's commands have
    written. A file whose suffix is .txt is a list of files, see `read_list`.

    Args:
        paths: what was typed.
        suffixes: of the files to look for in folders.
        outs: files and folders that results go to: they are left out, with a line that says so.

    Raises:
        ImageError: a folder without pictures, a list that is none, or `-` where there is no
            standard input.
    """
    inputs, places = [], {os.path.realpath(out) for out in outs if out is not None}
    for given in map(os.fspath, paths):
        path = Path(given)
        if given == "-":
            inputs.append(Input("standard input", _standard_input(), Path("stdin.png")))
        elif path.is_dir():
            files, others = _walk(path, suffixes, places)
            # `photos/*` names the folder for results, too.
            if not files and not (len(paths) > 1 and _is_below(path, places)):
                told = f" ({others})" if others else ""
                raise ImageError(f"{path}: no pictures in this folder{told}")
            inputs += [Input(str(file), file, file.relative_to(path)) for file in files]
        elif path.suffix.lower() == ".txt":
            inputs += read_list(path)
        else:
            inputs.append(Input(given, path, Path(path.name)))
    if paths and not inputs:
        raise ImageError(f"{paths[0]}: no pictures in this folder")
    return inputs


def _walk(top: Path, suffixes: Sequence[str], places: set[str]) -> tuple[list[Path], str]:
    """The files below a folder that are inputs, and folders that cannot be listed, sorted; and what
    there is to say of other files."""
    unread: list[OSError] = []
    left_out, known = [], _known_above(top)

    def skip(folder: Path) -> bool:
        if folder.name == records.FOLDER:
            return True
        if os.path.realpath(folder) in places:
            left_out.append(folder)
            return True
        known.update(records.results_known_in(folder))
        return False

    everything = [
        file
        for file in files_below(top, on_error=unread.append, skip=skip)
        if not file.name.startswith(".")
    ]
    found = [file for file in everything if _is_wanted(file, suffixes)]

    def is_result(file: Path) -> bool:
        return os.path.abspath(file) in known or os.path.realpath(file) in places

    files = [file for file in found if not is_result(file)]
    results = len(found) - len(files)
    others = set(everything) - set(found)
    told = passed_over([file for file in others if not is_result(file)])
    # A folder that cannot be listed is an input like the others: one that fails, by name.
    files += [Path(error.filename) for error in unread]
    if top in files:
        raise ImageError(f"{top}: cannot be read ({describe_os_error(unread[0])})")
    for folder in left_out:
        cli.print_note(f"{folder}: left out, as results go there")
    if results:
        what = (
            "1 result of an earlier run is"
            if results == 1
            else f"{results:,} results of earlier runs are"
        )
        cli.print_note(f"{top}: {what} left out")
    if told and files:
        cli.print_note(f"{top}: {told}")
    return sorted(files), told


def _is_wanted(file: Path, suffixes: Sequence[str]) -> bool:
    kind = file.suffix.lower()
    return kind in suffixes and (kind != ".ts" or _is_transport_stream(file))


def _is_transport_stream(file: Path) -> bool:
    """Whether a .ts file may be a video: TypeScript has this suffix, too, and no file of it begins
    with the letter that each packet of MPEG-TS begins with (ISO/IEC 13818-1, 2.4.3.2)."""
    try:
        with open(file, "rb") as stream:
            return stream.read(189)[::188] == b"GG"
    except OSError:
        return True  # It fails by name.


def _known_above(folder: Path) -> set[str]:
    """The results that records in a folder or in one above it name."""
    whole, known = Path(os.path.abspath(folder)), set()
    for place in (whole, *whole.parents):
        known |= records.results_known_in(place)
    return known


def _is_below(folder: Path, places: set[str]) -> bool:
    whole = Path(os.path.realpath(folder))
    return any(str(place) in places for place in (whole, *whole.parents))


def read_list(file: Path) -> list[Input]:
    """The files that a list names, a path a line in UTF-8, as `find … > list.txt` writes it.

    Relative paths start from the current folder; empty lines are skipped, and a file that is named
    twice is taken once. Each keeps its place below the longest folder that all share.

    Raises:
        ImageError: the list cannot be read, is empty, or is no text.
    """
    try:
        text = read_bounded(file, MAX_LIST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = describe_os_error(error) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ImageError(f"{file}: not a list of files ({why})") from None
    if "\0" in text:
        raise ImageError(f"{file}: not a list of files (it is no text in UTF-8)")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    # Without `..`, so that no result can come to lie outside its folder.
    places = {os.path.abspath(line): line for line in lines if line.strip()}
    if not places:
        raise ImageError(f"{file}: no files in this list")
    shared = os.path.commonpath([os.path.dirname(place) for place in places])
    relative = ((line, os.path.relpath(place, shared)) for place, line in places.items())
    # The root of all is no file, but must have a name to be told so.
    return [Input(line, Path(line), Path(to if to != "." else "root")) for line, to in relative]


def _standard_input() -> bytes:
    bound = file_bound()
    try:
        content = sys.stdin.buffer.read(bound + 1)
    except (OSError, AttributeError, ValueError):  # Closed, or a notebook's.
        raise ImageError("-: there is no standard input to read") from None
    if len(content) > bound:
        raise ImageError(f"standard input: more than {bound:,} bytes, which no picture takes")
    return content


def output_paths(
    inputs: Sequence[Input],
    out: Path,
    suffix: str | Callable[[Input], str] = ".png",
    files: Sequence[str] = READABLE,
) -> list[Path]:
    """Where each input's result goes: `out` itself if it is a file's name and there is one input,
    else a file in the folder `out` with the input's name.

    Inputs whose names differ by their suffixes alone keep them: a.jpg.png beside a.webp.png.

    Args:
        inputs: of the command.
        out: as it was given.
        suffix: of the results in a folder, or a function that gives that of an input's.
        files: the suffixes, in lower case, by which `out` is a file's name.

    Raises:
        SettingsError: `out` is a file's name, but there are several inputs; or two inputs would
            have the same output.
    """
    if out.suffix.lower() in files and not out.is_dir():
        if len(inputs) > 1:
            raise SettingsError(f"--out {out} is one file, but there are {len(inputs)} inputs")
        return [out]
    stems = [item.relative.with_suffix("") for item in inputs]
    times = collections.Counter(stems)
    paths = []
    for item, stem in zip(inputs, stems, strict=True):
        name = stem.name if times[stem] == 1 else item.relative.name
        ending = suffix if isinstance(suffix, str) else suffix(item)
        paths.append(out / stem.parent / f"{name}{ending}")
    twice = [path for path, count in collections.Counter(paths).items() if count > 1]
    if twice:
        raise SettingsError(f"two inputs would both be written to {twice[0]}; run them apart")
    return paths
