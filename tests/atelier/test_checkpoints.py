"""PyTorch's checkpoints, written here opcode for opcode: what is read, and what is refused."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from atelier.errors import WeightsError
from atelier.nets import checkpoints
from atelier.nets.checkpoints import KNOWN, MAGIC, PROTOCOL, STORAGES, read_checkpoint

FORMS = ("zip", "stream")

KINDS = {kind: name for name, kind in STORAGES.items()}
"""PyTorch's names of storages by NumPy's types."""


class Name:
    """A global of a pickle, for a module that need not exist."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Call:
    """A function of a pickle, with its arguments and, it may be, attributes of what it returns."""

    def __init__(self, function: Name, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state


class Storage:
    """Elements, and the type that PyTorch calls them."""

    def __init__(self, elements: np.ndarray, key: str, name: str | None = None):
        self.elements, self.key, self.count = elements, key, elements.size
        self.name = name or KINDS[elements.dtype.str[1:] if elements.dtype != bool else "?"]


class Pickler(pickle._Pickler):
    """Writes as `torch.save` does: protocol 2, storages by persistent ids."""

    def __init__(self, stream, form: str):
        super().__init__(stream, protocol=2)
        self.form = form

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        view = (None,) if self.form == "stream" else ()
        return ("storage", Name("torch", value.name), value.key, "cpu", value.count, *view)

    def save(self, value, **options):
        if isinstance(value, Name):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
            if value.state is not None:
                self.save(value.state)
                self.write(pickle.BUILD)
        else:
            super().save(value, **options)


def dumps(content, form: str) -> bytes:
    if isinstance(content, bytes):
        return content
    stream = io.BytesIO()
    Pickler(stream, form).dump(content)
    return stream.getvalue()


def tensor(storage, offset=0, size=None, stride=None, **options) -> Call:
    """A view of a storage, the whole of it if nothing else is said."""
    size = (storage.elements.size,) if size is None else size
    stride = (1,) * len(size) if stride is None else stride
    more = (options["metadata"],) if "metadata" in options else ()
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, size, stride, False, OrderedDict(), *more)


def save(
    path, content, storages, form="zip", *, order="little", extra=(), compression=zipfile.ZIP_STORED
):
    """A checkpoint with `content` as its pickle, or with those very bytes."""
    raw = {s.key: s.elements.astype(s.elements.dtype.newbyteorder(order)) for s in storages}
    raw = {key: elements.tobytes() for key, elements in raw.items()}
    if form == "zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", dumps(content, form))
            archive.writestr("archive/byteorder", order)
            for key, data in raw.items():
                archive.writestr(f"archive/data/{key}", data)
            archive.writestr("archive/version", "3\n")
            for name, data in dict(extra).items():
                archive.writestr(name, data)
    else:
        machine = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
        parts = [dumps(part, form) for part in (MAGIC, PROTOCOL, machine, content, list(raw))]
        parts += [struct.pack("<q", s.count) + raw[s.key] for s in storages]
        path.write_bytes(b"".join(parts))
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "net.pth"


def refusal(path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < len(str(path)) + 220
    return text


# === What is read ===


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"bfloat16"}))
def test_types_come_as_they_were_written(file, form, kind, rng):
    elements = (rng.normal(size=6) * 50).astype(kind)
    storage = Storage(elements, "0")
    save(file, {"a": tensor(storage, size=(2, 3), stride=(3, 1))}, [storage], form)
    read = read_checkpoint(file)
    assert list(read) == ["a"]
    assert read["a"].dtype == np.dtype(kind)
    assert read["a"].dtype.isnative
    assert not read["a"].flags.writeable
    np.testing.assert_array_equal(read["a"], elements.reshape(2, 3))


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_becomes_float32(file, form):
    halves = np.array([0x3F80, 0xC000, 0x3F81, 0x7F80], np.uint16)  # The upper half of a float32.
    storage = Storage(halves, "0", "BFloat16Storage")
    save(file, {"a": tensor(storage)}, [storage], form)
    array = read_checkpoint(file)["a"]
    assert array.dtype == np.float32
    assert array.tolist() == [1.0, -2.0, 1.0078125, np.inf]


@pytest.mark.parametrize("form", FORMS)
def test_strides_offsets_and_shared_memory(file, form):
    storage = Storage(np.arange(12, dtype=np.float32), "7")
    content = {
        "whole": tensor(storage, size=(3, 4), stride=(4, 1)),
        "turned": tensor(storage, size=(4, 3), stride=(1, 4)),
        "part": tensor(storage, 5, (2, 2), (4, 2)),
        "last": tensor(storage, 11, (), ()),
        "none": tensor(storage, 0, (0, 5), (5, 1)),
        "windows": tensor(storage, 0, (3, 3), (1, 1)),
    }
    save(file, content, [storage], form)
    read = read_checkpoint(file)
    whole = np.arange(12).reshape(3, 4)
    assert list(read) == list(content)
    assert read["whole"].tolist() == whole.tolist()
    assert read["turned"].tolist() == whole.T.tolist()
    assert read["part"].tolist() == [[5, 7], [9, 11]]
    assert read["last"].shape == ()
    assert read["last"] == 11
    assert read["none"].shape == (0, 5)
    assert read["windows"].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert np.shares_memory(read["whole"], read["turned"])


@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_as_modules_give_it(file, form):
    """An OrderedDict with an attribute `_metadata`, as `Module.state_dict` returns it."""
    weight, count = Storage(np.ones(4, np.float32), "0"), Storage(np.array([3]), "1")
    state = Call(
        Name("collections", "OrderedDict"), state={"_metadata": OrderedDict({"": {"version": 1}})}
    )
    content = dumps(state, form)
    items = {"conv.weight": tensor(weight), "bn.num_batches_tracked": tensor(count, 0, (), ())}
    # Items are set between the making and the attributes.
    make, build = content[2:].split(pickle.REDUCE, 1)
    puts = pickle.MARK
    for name, value in items.items():
        puts += dumps(name, form)[2:-1] + dumps(value, form)[2:-1]
    whole = content[:2] + make + pickle.REDUCE + puts + pickle.SETITEMS + build
    save(file, whole, [weight, count], form)
    read = read_checkpoint(file)
    assert list(read) == ["conv.weight", "bn.num_batches_tracked"]
    assert read["bn.num_batches_tracked"] == 3


def test_parameters_are_tensors(file):
    storage = Storage(np.ones(4, np.float32), "0")
    rebuild = Name("torch._utils", "_rebuild_parameter")
    save(file, {"a": Call(rebuild, tensor(storage), True, OrderedDict())}, [storage])
    assert read_checkpoint(file)["a"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["f4", "i8", "f2", "?"])
def test_the_byte_order_is_the_files(file, kind):
    storage = Storage(np.array([1, 0, 77]).astype(kind), "0")
    save(file, {"a": tensor(storage)}, [storage], order="big")
    read = read_checkpoint(file)["a"]
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, storage.elements)


def test_an_empty_state_dict(file):
    for form in FORMS:
        assert read_checkpoint(save(file, {}, [], form)) == {}


# === What is refused: calls ===

CALLS = []


def record() -> None:
    CALLS.append("called")


class Recorded:
    """Asks for a call of `record` when it is unpickled."""

    def __reduce__(self):
        return record, ()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_functions_that_are_not_on_the_list_are_not_called(file, form, protocol):
    save(file, pickle.dumps({"a": Recorded()}, protocol), [], form)
    said = refusal(file)
    if protocol == 2:
        assert f"it asks for {record.__module__}.record" in said
    else:
        assert "its pickle uses the opcode " in said
    assert not CALLS


@pytest.mark.parametrize(
    "name",
    [
        ("builtins", "print"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch", "load"),
        ("torch", "FloatStorage.__init__"),
        ("torch.nn.modules.conv", "Conv2d"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("torch._utils", "_rebuild_tensor_v3"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_on_the_list_is_named(file, form, name):
    save(file, {"a": Call(Name(*name), "text")}, [], form)
    assert refusal(file).endswith(f"(it asks for {name[0]}.{name[1]})")


def test_a_name_is_cut_and_made_printable(file):
    save(file, {"a": Name("\x1b[31m" + "long" * 100, "name")}, [])
    assert "it asks for [31mlonglong" in refusal(file)


def test_attributes_of_what_is_on_the_list_are_not_set(file):
    storage = Storage(np.ones(4, np.float32), "0")
    names = ("torch._utils", "_rebuild_tensor_v2")
    state = dumps({"note": 1}, "zip")[2:-1]
    refusal(save(file, dumps(Name(*names), "zip")[:-1] + state + pickle.BUILD + pickle.STOP, []))
    assert not vars(KNOWN[names])
    save(file, {"a": tensor(storage)}, [storage])
    assert read_checkpoint(file)["a"].shape == (4,)


def test_opcodes_that_state_dicts_have_no_need_of(file):
    make = dumps(Name("collections", "OrderedDict"), "zip")[:-1]
    for code, name in {
        pickle.EMPTY_TUPLE + pickle.NEWOBJ: "NEWOBJ",
        pickle.EXT1 + b"\1": "EXT1",
        pickle.DUP: "DUP",
        b"\xfe": "254",
    }.items():
        save(file, make + code + pickle.STOP, [])
        assert f"the opcode {name}, as no state dict does" in refusal(file)


# === What is refused: memory ===


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 3), (3, 1)),
        (0, (2,), (4,)),
        (-1, (2,), (1,)),
        (3, (4,), (-1,)),
        (0, (-4,), (1,)),
        (0, (5,), (0,)),
        (0, (3, 2), (0, 0)),
        (0, (2,), (9,)),
        (0, (4,), (1, 1)),
        (0, (0, 2**31), (1, 1)),
        (0, (1,) * 65, (1,) * 65),
        (0, (4.0,), (1,)),
        (0, (True,), (1,)),
        ("0", (4,), (1,)),
        (0, [4], (1,)),
    ],
)
def test_tensors_beyond_their_storage(file, form, offset, size, stride):
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage, offset, size, stride)}, [storage], form)
    assert "a tensor" in refusal(file)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [5, 3, -1])
def test_storages_of_another_size_than_said(file, form, count):
    storage = Storage(np.ones(4, np.float32), "0")
    storage.count = count
    save(file, {"a": tensor(storage, 0, (1,))}, [storage], form)
    said = refusal(file)
    assert "storage" in said or "it ends early" in said or "bytes too many" in said


def test_a_storage_of_two_types(file):
    one, other = Storage(np.ones(4, np.float32), "0"), Storage(np.ones(4, np.int32), "0")
    save(file, {"a": tensor(one), "b": tensor(other)}, [one])
    assert "the storage '0' is of two types" in refusal(file)


def test_storages_that_are_not_there(file):
    storage = Storage(np.ones(4, np.float32), "0")
    for form in FORMS:
        save(file, {"a": tensor(storage)}, [], form)
        assert "storage" in refusal(file)


@pytest.mark.parametrize("key", ["../../outside", "/outside", "..", ""])
def test_names_lead_nowhere_but_into_the_archive(file, key):
    (file.parent / "outside").write_bytes(bytes(16))
    storage = Storage(np.ones(4, np.float32), key)
    save(file, {"a": tensor(storage)}, [])
    assert f"it lacks the storage {key!r}" in refusal(file)


def test_nothing_is_unpacked(file):
    storage = Storage(np.ones(4, np.float32), "0")
    extra = {"../outside": b"x", "archive/../../outside": b"x", "archive/code/a.py": b"1 / 0"}
    save(file, {"a": tensor(storage)}, [storage], extra=extra)
    assert read_checkpoint(file)["a"].shape == (4,)
    assert os.listdir(file.parent) == ["net.pth"]
    assert not (file.parent.parent / "outside").exists()


def test_compressed_archives_are_refused(file):
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage], compression=zipfile.ZIP_DEFLATED)
    assert "the zip archive is compressed" in refusal(file)


def test_entries_larger_than_their_archive_are_refused(file):
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage])
    whole = bytearray(file.read_bytes())
    # The size is at byte 24 of an entry of the directory, its name at byte 46.
    entry = whole.rindex(b"archive/data/0") - 46
    assert whole[entry : entry + 4] == b"PK\1\2"
    whole[entry + 24 : entry + 28] = struct.pack("<I", len(whole))
    file.write_bytes(whole)
    assert "larger than itself" in refusal(file)


@pytest.mark.parametrize(
    ("form", "said"), [("zip", "its pickle is larger"), ("stream", "is damaged")]
)
def test_bytes_of_a_pickle_are_bounded(file, monkeypatch, form, said):
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage], form)
    assert read_checkpoint(file)["a"].shape == (4,)
    monkeypatch.setattr(checkpoints, "PICKLED", 100)
    assert said in refusal(file)


@pytest.mark.parametrize("put", [b"N" + pickle.SETITEM, b"N" + pickle.SETITEMS])
def test_tuples_are_no_names(file, put):
    mark = b"(" if put.endswith(pickle.SETITEMS) else b""
    save(file, b"\x80\x02}" + mark + pickle.EMPTY_TUPLE + pickle.TUPLE1 + put + b".", [])
    assert "something else than values by name" in refusal(file)


# === What is refused: other files ===


@pytest.mark.parametrize("form", FORMS)
def test_every_truncation_is_refused(file, form):
    storage = Storage(np.arange(9, dtype=np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage], form)
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        refusal(file)


@pytest.mark.parametrize("form", FORMS)
def test_any_flipped_byte_gives_arrays_or_one_line(file, form):
    storage = Storage(np.arange(9, dtype=np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage], form)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            read = read_checkpoint(file)
        except WeightsError:
            refusal(file)
        else:
            assert sum(array.nbytes for array in read.values()) <= 72


@pytest.mark.parametrize(
    "content",
    [b"", b"no weights", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80\x02.", b"\x80\x02N."],
)
def test_other_files(file, content):
    file.write_bytes(content)
    assert "no readable PyTorch state dict" in refusal(file)


def test_other_zips(file):
    np.savez(file.with_suffix(".npz"), a=np.ones(3))
    assert "the zip archive holds no data.pkl" in refusal(file.with_suffix(".npz"))
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage)}, [storage], extra={"other/data.pkl": b""})
    assert "the zip archive holds no data.pkl" in refusal(file)


def test_a_byte_order_that_is_none(file):
    storage = Storage(np.ones(4, np.float32), "0")
    with pytest.warns(UserWarning, match="Duplicate name"):
        save(file, {"a": tensor(storage)}, [storage], extra={"archive/byteorder": b"middle"})
    assert "its byte order is 'middle'" in refusal(file)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "under 'epoch' it holds no tensor but a int"),
        ({"state_dict": {}}, "under 'state_dict' it holds no tensor but a dict"),
        ([], "it holds no tensors by name but one list"),
        ({3: 4}, "it holds something else than values by name"),
    ],
)
def test_other_contents(file, form, content, said):
    assert said in refusal(save(file, content, [], form))


def test_a_view_that_is_no_plain_one(file):
    storage = Storage(np.ones(4, np.float32), "0")
    save(file, {"a": tensor(storage, metadata={"neg": True})}, [storage])
    assert "a conjugate or negative view" in refusal(file)


def test_streams_of_other_versions(file):
    file.write_bytes(dumps(MAGIC, "stream") + dumps(1000, "stream"))
    assert "its version is 1000 instead of 1001" in refusal(file)
    file.write_bytes(dumps(MAGIC, "stream") + dumps("text", "stream"))
    assert "its version is none instead of 1001" in refusal(file)
    file.write_bytes(dumps({"a": 1}, "stream"))
    assert "its pickle is not one of PyTorch's" in refusal(file)


def test_missing_files_and_folders(tmp_path):
    assert refusal(tmp_path / "net.pth") == f"{tmp_path / 'net.pth'}: no such file"
    assert refusal(tmp_path) == f"{tmp_path}: no such file"
