"""What a user is told when something is theirs to mend: one line, no traceback."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable

LONGEST = 2000
"""Characters of a message; what quotes a stranger's file may be of any length."""


def one_line(text: str) -> str:
    """A text on one line, fit for a terminal, whatever names it quotes.

    White space becomes a space. What else has no picture of its own is spelled as Python does:
    control characters, which terminals obey, marks that turn the direction of writing, and bytes
    of file names that are not UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = (
        c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
    return "".join(shown)


class AtelierError(Exception):
    """A mistake in what was asked for; its text is one line that says what to do."""

    def __str__(self) -> str:
        text = one_line(super().__str__())
        if len(text) <= LONGEST:
            return text
        # What is wrong stands at the start, what to do about it at the end.
        return f"{text[: LONGEST // 2]}…{text[1 - LONGEST // 2 :]}"


class ImageError(AtelierError):
    """A picture that cannot be read, or is outside the stated bounds."""


class KindError(ImageError, TypeError):
    """A picture in memory whose numbers are of a type that pictures do not have."""


class DataError(AtelierError):
    """A data set that is missing, damaged or not what it should be."""


class WeightsError(AtelierError):
    """Weights that are missing, damaged or not what they should be."""


class SettingsError(AtelierError):
    """A setting, or a combination of settings, that makes no sense."""


class OutputError(AtelierError):
    """A result that cannot be written where it was asked to go."""


class TrainingError(AtelierError):
    """A training that cannot go on: its loss or its weights are no longer numbers."""


class WorkerError(AtelierError):
    """Another worker of a training that has stopped, or cannot be reached."""


def describe_os_error(error: OSError) -> str:
    """Returns why a file could not be read or written, in the system's own few words."""
    if isinstance(error, FileExistsError):
        return f"{error.filename} is a file, not a folder"
    # HDF5 says the system's reason in the midst of three lines of addresses.
    quoted = re.search(r"error message = '([^']+)'", str(error))
    return quoted[1] if quoted else error.strerror or str(error)


def missing_extra(package: str, extra: str = "export") -> str:
    """Returns how to install a package that an extra of this one brings along."""
    return f"{package} is missing: pip install 'atelier-vision[{extra}]'"


def require_extras(packages: Iterable[tuple[str, str]]) -> None:
    """Checks before a command begins that the optional packages it needs are installed.

    Args:
        packages: names of packages, each with the extra that brings it.

    Raises:
        SettingsError: one of them is not installed.
    """
    for package, extra in packages:
        if importlib.util.find_spec(package) is None:
            raise SettingsError(missing_extra(package, extra))
