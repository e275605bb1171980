"""Faults, and words of unknown origin in messages."""

from __future__ import annotations


class FaultError(Exception):
    """What is wrong with one picture's annotations, or with one object; `Collector.guard` keeps
    it as a `Fault`.

    Args:
        reason: what is wrong.
        what: the object, where it is one that costs its picture.
    """

    def __init__(self, reason: str, what: str = ""):
        super().__init__(reason)
        self.what = what


def described(number: int | str, label: str) -> str:
    """What faults call an object."""
    return f"object {number} ({plain(label)})" if label else f"object {number}"


def plain(text: str, longest: int = 60) -> str:
    """A stranger's text, fit to be printed on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun, such as "1 box" and "2 boxes"."""
    return f"{number:,} {one if number == 1 else many}"
