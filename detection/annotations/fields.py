"""Fields of strangers' JSON: numbers as numbers or text, ids as `1`, `1.0` or "1"."""

from __future__ import annotations

import math
import re

from detection.annotations.text import FaultError, plain

LONGEST = 64
"""Characters of a number or of a whole id as text."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_FLAGS = {"0": False, "1": True, "false": False, "true": True, "": False, "none": False}

Id = int | str


def mapping(value: object) -> dict:
    """Returns a JSON object.

    Raises:
        FaultError: it is none.
    """
    if not isinstance(value, dict):
        raise FaultError("not an object")
    return value


def real(value: object, key: str) -> float:
    """Returns a number, which may stand as text, with an exponent too.

    Args:
        value: what the JSON holds.
        key: what a fault calls it.

    Raises:
        FaultError: it is no finite number.
    """
    try:
        if isinstance(value, str) and len(value) <= LONGEST and _NUMBER.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, (int, float)) and math.isfinite(value) and not isinstance(value, bool):
            return float(value)
    except OverflowError:  # Of an integer of hundreds of digits.
        pass
    raise FaultError(f"{key!r} holds {plain(str(value))}, which is no number")


def identity(record: dict, key: str) -> Id:
    """Returns an id: whole numbers as int, however they are written, and else the text.

    Raises:
        FaultError: it is missing, or neither a whole number nor text.
    """
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip():
        text = value.strip()
        whole = len(text) <= LONGEST and _WHOLE.fullmatch(text)
        return int(text.partition(".")[0]) if whole else text
    raise wrong(record, key)


def text(record: dict, key: str) -> str:
    """Returns a text, which may be a whole number, without blanks around it.

    Raises:
        FaultError: it is missing, empty or of another type.
    """
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise wrong(record, key)
    return value.strip()


def flag(record: dict, key: str) -> bool:
    """Returns 0 or 1, `false` or `true`, as such or as text; no value is false.

    Raises:
        FaultError: it is something else.
    """
    value = record.get(key)
    known = _FLAGS.get("" if value is None else str(value)[:8].strip().lower().removesuffix(".0"))
    if known is None:
        raise FaultError(f"{key!r} is {plain(str(value))}, neither 0 nor 1")
    return known


def wrong(record: dict, key: str) -> FaultError:
    """A fault for a field that cannot be used."""
    if key not in record:
        return FaultError(f"{key!r} is missing")
    return FaultError(f"{key!r} is {plain(str(record[key]))}, of a wrong type")
