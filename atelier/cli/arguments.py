"""Settings to flags and back: one frozen dataclass is a command line."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from atelier.errors import SettingsError

Arguments = TypeVar("Arguments")


def parse(
    arguments: type[Arguments],
    argv: Sequence[str],
    *,
    prog: str = "",
    presets: Mapping[str, object] | None = None,
) -> Arguments:
    """Reads a command line into a dataclass, whose fields are the flags.

    Args:
        arguments: a dataclass with a docstring a field; its own docstring describes the command.
        argv: the command line, without the program's name.
        prog: the program's name, for the help text, to which errors point if it is given.
        presets: values of settings by preset name. If given, `arguments` has a field `preset`,
            and the fields of the preset that it names take the place of the defaults of the same
            name.

    Raises:
        SettingsError: what was typed makes no sense; one line. `--help` exits, as usual.
    """
    default = None
    if presets is not None:
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--preset", default=None)
        try:
            name = early.parse_known_args(argv)[0].preset
        except argparse.ArgumentError as error:
            raise SettingsError(str(error)) from None
        name = arguments.preset if name is None else name
        if name is not None and name not in presets:
            raise SettingsError(f"no preset {name!r}; choose one of {', '.join(presets)}")
        if name is not None:
            default = dataclasses.replace(arguments(), **field_values(presets[name]))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                arguments,
                prog=prog,
                args=list(argv),
                default=default,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        hint = f" (see {prog} --help)" if prog else ""
        raise SettingsError(f"{_without_box(said.getvalue())}{hint}") from None


def settings(kind: type[Arguments], arguments: object) -> Arguments:
    """The fields of a settings dataclass `kind` out of a command's `arguments`."""
    return kind(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(kind)})


def as_flags(arguments: object) -> str:
    """The flags that differ from the defaults, as a shell takes them: `--epochs 3 --data photos`.

    Paths are given by their last part alone, as cards show the flags to others.
    """
    words = []
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if value == field.default:
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        values = value if isinstance(value, tuple) else (value,)
        words.append(f"--{flag}")
        words += [Path(v).name if isinstance(v, Path) or "/" in str(v) else str(v) for v in values]
    return shlex.join(words)


def field_values(instance: object) -> dict[str, object]:
    """A dataclass's fields by name, their values as they are."""
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}


def _without_box(text: str) -> str:
    """What tyro says below its title, up to the next rule, as one line.

    The title stands in the box's upper edge; where standard output is not UTF-8, as in notebooks,
    there is no box, and it stands above a rule of hyphens.
    """
    sections = [[]]
    for line in text.splitlines():
        line = line.strip(" │╭╮╰╯")
        if "──" in line or (len(line) > 2 and set(line) == {"-"}):
            sections.append([])
        else:
            sections[-1].append(line)
    return " ".join(" ".join(sections[:2][-1]).split()) or "bad usage"
