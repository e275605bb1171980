"""Packages that only some uses need, which the extras of this one bring along."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from atelier.errors import SettingsError


def missing(package: str, extra: str = "export") -> str:
    """What to say of a package that only some need: how it is installed."""
    return f"{package} is missing: pip install 'atelier-vision[{extra}]'"


def require(packages: Iterable[tuple[str, str]]) -> None:
    """Ends a command before its work if something is missing for some of it.

    Args:
        packages: names of packages, each with the extra that brings it.

    Raises:
        SettingsError: one of them is not installed.
    """
    for package, extra in packages:
        if importlib.util.find_spec(package) is None:
            raise SettingsError(missing(package, extra))
