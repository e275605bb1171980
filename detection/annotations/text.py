"""Words of unknown origin in messages."""

from __future__ import annotations


def described(number: int | str, label: str) -> str:
    """What faults call an object."""
    return f"object {number} ({plain(label)})" if label else f"object {number}"


def plain(text: str, longest: int = 60) -> str:
    """A stranger's text, fit to be printed on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
