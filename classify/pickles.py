"""CIFAR-10's batches, which are pickles, read without running anything that a file asks for."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import BinaryIO

import numpy as np


def load_batch(stream: BinaryIO) -> dict[str, object]:
    """What a pickle of plain values and of arrays of numbers holds.

    An array's numbers stand in the pickle, so that all of it takes a few times the file's size.

    Args:
        stream: the file, as Python 2 or 3 wrote it.

    Returns:
        Values by name; bytes as text in Latin-1, which is one character a byte.

    Raises:
        Exception: of a dozen kinds; the pickle is damaged or asks for something else.
    """
    content = _Unpickler(stream, encoding="latin1").load()
    if type(content) is not dict:
        raise pickle.UnpicklingError(f"it holds no values by name but one {type(content).__name__}")
    return {_text(key): _value(value) for key, value in content.items()}


class _Type:
    """Stands for NumPy's dtype."""

    def __init__(self, code: object, *_):
        if not re.fullmatch(r"[uif][1248]", _text(code)):
            raise pickle.UnpicklingError("it holds arrays of something else than numbers")
        self.code, self.order = _text(code), "="

    def fill(self, state: tuple) -> None:
        order = _text(state[1])
        self.order = order if order in ("<", ">") else "="


class _Array:
    """Stands for an array; at first without content, as NumPy has it."""

    def __init__(self, *_):
        self.value = np.empty(0)

    def fill(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        dtype = np.dtype(kind.order + kind.code)
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.value = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _bytes(text: str, encoding: str) -> bytes:
    """Of bytes, where Python 3 wrote in the old protocol."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("it asks for another encoding than latin1")
    return text.encode(encoding)


def _class(*_) -> None:
    raise pickle.UnpicklingError("it asks for an array of its own making")


_NAMES: dict[tuple[str, str], Callable] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _class,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _bytes,
}
"""All that a pickle may ask for, and what it gets."""


def _build(unpickler: pickle._Unpickler) -> None:
    state = unpickler.stack.pop()
    if type(unpickler.stack[-1]) not in (_Type, _Array):
        raise pickle.UnpicklingError("it holds something else than arrays and plain values")
    unpickler.stack[-1].fill(state)


def _put(unpickler: pickle._Unpickler, items: list) -> None:
    """Keys and values in turn; keys that are no text, bytes or numbers are refused."""
    if type(unpickler.stack[-1]) is not dict or any(
        type(key) not in (str, bytes, int) for key in items[::2]
    ):
        raise pickle.UnpicklingError("it holds something else than values by name")
    unpickler.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _set_item(unpickler: pickle._Unpickler) -> None:
    _put(unpickler, [unpickler.stack.pop(-2), unpickler.stack.pop()])


def _set_items(unpickler: pickle._Unpickler) -> None:
    _put(unpickler, unpickler.pop_mark())


def _dict(unpickler: pickle._Unpickler) -> None:
    items = unpickler.pop_mark()
    unpickler.stack.append({})
    _put(unpickler, items)


_REFUSED = (
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.INST, pickle.OBJ),
    *(pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.PERSID, pickle.BINPERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _Unpickler(pickle._Unpickler):
    """The one that is written in Python, whose opcodes can be chosen."""

    dispatch = {  # noqa: RUF012 - as the class above has it.
        **{k: v for k, v in pickle._Unpickler.dispatch.items() if bytes([k]) not in _REFUSED},
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _dict,
    }

    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _NAMES[module, name]


def _value(value: object) -> object:
    return value.value if isinstance(value, _Array) else value


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
