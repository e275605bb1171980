"""PyTorch checkpoints read without PyTorch, and without running anything that a file asks for.

Both forms of `torch.save` are read: the zip archive (since 1.6, 2020) and the stream of pickles
before it. What a pickle may ask for is a list of a dozen names; none of them calls anything but
the few lines here. Source: torch/serialization.py and torch/_utils.py of PyTorch.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from atelier.errors import WeightsError

MAGIC = 0x1950A86A20F9469CFC6C
"""What a stream of pickles begins with."""

PROTOCOL = 1001
"""The one version that such streams have had."""

PICKLED = 2**21
"""The most bytes that a checkpoint's pickles may have: 2 MiB, enough for 10,000 tensors."""

BFLOAT16 = "bfloat16"

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""NumPy's types by the names that PyTorch's have in a checkpoint."""


def read_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a state dict that `torch.save` wrote.

    Args:
        path: a checkpoint, of either form.

    Returns:
        Read-only arrays by name, in the file's order, in native byte order, of the type that they
        have in the file; bfloat16, which NumPy lacks, becomes float32. Tensors that share memory
        in the file share it here. All together take no more memory than the file's size, those of
        bfloat16 twice their part of it.

    Raises:
        WeightsError: there is no such file, it is damaged or no checkpoint, it holds something
            else than tensors by name, or asks for something that a state dict has no need of.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no such file")
    try:
        with open(path, "rb") as stream:
            start = stream.read(4)
            stream.seek(0)
            if start.startswith(b"PK\x03\x04"):
                return _read_zip(stream)
            if start.startswith(pickle.PROTO):
                return _read_stream(stream)
        raise _Refusal("it is neither a zip archive nor a stream of pickles")
    except Exception as error:  # Damaged zips and pickles raise two dozen kinds of error.
        reason = "".join(c if c.isprintable() else " " for c in str(error) or repr(error))
        reason = " ".join(reason.split())[:160]
        raise WeightsError(f"{path}: no readable PyTorch state dict ({reason})") from None


class _Refusal(Exception):
    """Why a file is not read."""


# === The two forms ===


def _read_zip(stream: BinaryIO) -> dict[str, np.ndarray]:
    """NAME/data.pkl is the pickle, NAME/data/KEY are the storages, NAME/byteorder their order."""
    with zipfile.ZipFile(stream) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _Refusal("the zip archive holds no data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise _Refusal("the zip archive is compressed, as PyTorch's are not")
        if sum(entry.file_size for entry in entries.values()) > os.fstat(stream.fileno()).st_size:
            raise _Refusal("the zip archive's entries are larger than itself")
        folder = pickles[0].removesuffix("data.pkl")
        order = "little"
        if f"{folder}byteorder" in entries:
            order = archive.read(f"{folder}byteorder").decode("ascii", "replace")
        if order not in ("little", "big"):
            raise _Refusal(f"its byte order is {order!r}")

        if entries[pickles[0]].file_size > PICKLED:
            raise _Refusal("its pickle is larger than that of any state dict")
        content, storages = _unpickle(io.BytesIO(archive.read(pickles[0])))
        memories = {}
        for key, storage in storages.items():
            if f"{folder}data/{key}" not in entries:
                raise _Refusal(f"it lacks the storage {key!r}")
            memories[key] = storage.decode(archive.read(f"{folder}data/{key}"), order)
    return _arrays(content, memories)


def _read_stream(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Five pickles (magic number, version, machine, content, keys of the storages), and after them
    each storage: the count of its elements as int64, and they, all in little-endian order."""
    head = io.BytesIO(stream.read(PICKLED))
    if _unpickle(head)[0] != MAGIC:
        raise _Refusal("its pickle is not one of PyTorch's")
    version = _unpickle(head)[0]
    if version != PROTOCOL:
        other = version if type(version) is int else "none"
        raise _Refusal(f"its version is {other} instead of {PROTOCOL}")
    _unpickle(head)  # Of the machine that wrote it; the storages are the same from each.
    content, storages = _unpickle(head)
    keys = _unpickle(head)[0]
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise _Refusal("its list of storages is none")
    if len(keys) != len(storages) or set(keys) != storages.keys():
        raise _Refusal("its list of storages is not that of its tensors")
    stream.seek(head.tell())
    memories = {}
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    for key in keys:
        size = 8 + storages[key].nbytes
        left -= size
        if left < 0:
            raise _Refusal("it ends early")
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if count != storages[key].count:
            raise _Refusal(f"the storage {key!r} has {count} elements")
        memories[key] = storages[key].decode(stream.read(size - 8), "little")
    if left:
        raise _Refusal(f"it has {left} bytes too many")
    return _arrays(content, memories)


# === Pickles ===


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name that a pickle may ask for and that stands for no function: a type of storage."""

    dtype: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    """The memory of one tensor or of several, before it is read."""

    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * (2 if self.dtype == BFLOAT16 else np.dtype(self.dtype).itemsize)

    def decode(self, raw: bytes, order: str) -> np.ndarray:
        """The elements, (count,), read-only: the bytes themselves wherever they can be."""
        if len(raw) != self.nbytes:
            raise _Refusal(f"the storage {self.key!r} has {len(raw)} bytes, not {self.nbytes}")
        stored = np.dtype({BFLOAT16: "u2", "?": "u1"}.get(self.dtype, self.dtype))
        elements = np.frombuffer(raw, stored.newbyteorder(order))
        if self.dtype == BFLOAT16:  # The upper half of a float32.
            elements = (elements.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif self.dtype == "?":
            elements = elements != 0
        else:
            elements = elements.astype(stored, copy=False)
        elements.flags.writeable = False
        return elements


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements, before that is read."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, memory: np.ndarray) -> np.ndarray:
        strides = tuple(step * memory.itemsize for step in self.stride)
        start = self.offset * memory.itemsize
        return np.ndarray(self.size, memory.dtype, memory.data, start, strides)


def _rebuild_tensor(storage, offset, size, stride, requires_grad, hooks, metadata=None) -> _Tensor:
    """A tensor, once it is known to lie inside its storage and to have no more elements."""
    if not isinstance(storage, _Storage) or type(size) is not tuple or type(stride) is not tuple:
        raise _Refusal("a tensor's parts are not what they should be")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise _Refusal("a tensor's sizes are not what they should be")
    if len(size) != len(stride) or len(size) > 64 or max(size, default=0) >= 2**31:
        raise _Refusal("a tensor's sizes are not what they should be")
    if metadata:
        raise _Refusal("a tensor is a conjugate or negative view")
    if 0 in size:
        return _Tensor(storage, 0, size, (0,) * len(size))
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= storage.count or math.prod(size) > storage.count:
        raise _Refusal(f"a tensor is larger than its storage {storage.key!r}")
    return _Tensor(storage, offset, size, stride)


def _rebuild_parameter(tensor, requires_grad, hooks) -> _Tensor:
    return tensor


def _ordered_dict() -> dict:
    """An empty one; PyTorch gives it no arguments."""
    return {}


def _build(unpickler: _Unpickler) -> None:
    """Drops an object's attributes: a state dict has `_metadata`, which holds no tensors."""
    unpickler.stack.pop()


def _set_item(unpickler: _Unpickler) -> None:
    _put(unpickler, [unpickler.stack.pop(-2), unpickler.stack.pop()])


def _set_items(unpickler: _Unpickler) -> None:
    _put(unpickler, unpickler.pop_mark())


def _put(unpickler: _Unpickler, items: list) -> None:
    """Names and values in turn; keys of any other kind are refused."""
    if type(unpickler.stack[-1]) is not dict or any(type(name) is not str for name in items[::2]):
        raise _Refusal("it holds something else than values by name")
    unpickler.stack[-1].update(zip(items[::2], items[1::2], strict=True))


KNOWN: dict[tuple[str, str], _Name | Callable] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _Name(dtype) for name, dtype in STORAGES.items()},
}
"""All that a pickle may ask for, and what it gets."""

OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINUNICODE, pickle.SHORT_BINSTRING),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    pickle.EMPTY_DICT,
)
"""What state dicts are pickled with, in pickle's protocol 2, besides the three below."""


class _Unpickler(pickle._Unpickler):
    """Makes plain values and descriptions of tensors, and refuses to make anything else.

    It builds on the unpickler that is written in Python, whose opcodes can be chosen.
    """

    dispatch = {  # noqa: RUF012 - as the class above has it.
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES},
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }

    def __init__(self, stream: BinaryIO):
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def load(self):
        try:
            return super().load()
        except KeyError as error:  # Of the dispatch.
            opcode = pickletools.code2op.get(chr(error.args[0]))
            name = opcode.name if opcode else error.args[0]
            raise _Refusal(f"its pickle uses the opcode {name}, as no state dict does") from None
        except (EOFError, IndexError, struct.error):
            raise _Refusal("its pickle is damaged or ends early") from None

    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise _Refusal(f"it asks for {module}.{name}")
        return KNOWN[module, name]

    def persistent_load(self, pid) -> _Storage:
        """("storage", type, key, device, count), and in streams a view of it, which is None."""
        kind, name, key, _, count, *view = pid
        if kind != "storage" or not isinstance(name, _Name) or any(view):
            raise _Refusal("it asks for a storage of an unknown kind")
        if type(key) is not str or type(count) is not int or count < 0:
            raise _Refusal("a storage's parts are not what they should be")
        storage = _Storage(key, name.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise _Refusal(f"the storage {key!r} is of two types or sizes")
        return storage


def _unpickle(stream: BinaryIO) -> tuple[object, dict[str, _Storage]]:
    """The next pickle's content, and the storages that it speaks of, by key."""
    unpickler = _Unpickler(stream)
    return unpickler.load(), unpickler.storages


def _arrays(content: object, memories: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if type(content) is not dict:
        raise _Refusal(f"it holds no tensors by name but one {type(content).__name__.strip('_')}")
    for name, value in content.items():
        if type(name) is not str or not isinstance(value, _Tensor):
            kind = type(value).__name__.strip("_")
            raise _Refusal(f"under {name!r} it holds no tensor but a {kind}")
    return {name: tensor.view(memories[tensor.storage.key]) for name, tensor in content.items()}
