"""Weights of strangers: archives that unfold, arrays of something else, pickles that act."""

import contextlib
import io
import os
import pickle
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.checkpoints import MAGIC, PROTOCOL, read_checkpoint
from atelier.runs import RunFolder, load_run
from atelier.weights import fill
from classify.pickles import load_batch
from fuzz.readers import Settings, arrays, batches, checkpoints
from nst.teacher import SmallTeacher


class Acts:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def variables() -> dict[str, keras.Variable]:
    return {"a/kernel": keras.Variable(np.ones((3, 2))), "a/bias": keras.Variable(np.ones(2))}


def npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    """An array's file with any header."""
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + content


def archive(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"


# === Arrays ===


@pytest.mark.parametrize(
    "kernel",
    [
        npy(HEADER % ("<f4", "(3000000000, 2)"), bytes(10_000_000)),
        npy(HEADER % ("<f4", "(10000, 10000)"), bytes(1000)),
        npy(HEADER % ("<f4", "(-3, 2)")),
        npy(HEADER % ("<f4", f"({'9' * 400}, 2)")),
        npy(HEADER % ("<f4", "(" * 3000)),
        npy(HEADER % ("|O", "(3, 2)"), pickle.dumps([1] * 6)),
        npy(HEADER % ("<U1000", "(3, 2)"), bytes(24_000)),
        npy(HEADER % ("|V8", "(3, 2)"), bytes(48)),
        npy(HEADER % ("<M8[s]", "(3, 2)"), bytes(48)),
        npy(HEADER % ("<c16", "(3, 2)"), bytes(96)),
        npy(HEADER % ("<f4", "(3, 2)"), bytes(24), version=2),
        npy("__import__('os').mkdir('owned')\n"),
        npy(" " * 60_000),
        b"",
    ],
    ids=[
        "large",
        "short",
        "negative",
        "huge",
        "nest",
        "O",
        "U",
        "V",
        "M",
        "c",
        "2",
        "code",
        "long",
        "none",
    ],
)
def test_arrays_that_are_not_those_of_the_network(tmp_path, refusal, kernel):
    file = archive(tmp_path / "a.npz", {"a/kernel.npy": kernel, "a/bias.npy": kernel})
    own = variables()
    assert refusal(fill, own, file, advice="delete it").endswith("; delete it")
    assert (np.asarray(own["a/kernel"]) == 1).all()
    assert refusal(SmallTeacher, file)


def test_an_archive_that_unfolds_takes_no_memory(tmp_path, traced_peak):
    zeros = npy(HEADER % ("<f4", "(5000, 10000)"), bytes(20_000_000))
    file = archive(tmp_path / "a.npz", {"a/kernel.npy": zeros, "a/bias.npy": zeros})
    del zeros
    assert file.stat().st_size < 1_000_000
    assert traced_peak(fill, variables(), file, advice="delete it") < 2_000_000
    assert traced_peak(SmallTeacher, file) < 2_000_000


def test_pickles_among_arrays_are_not_loaded(tmp_path, refusal):
    file = io.BytesIO()
    np.save(file, np.array([Acts(tmp_path / "owned")], object), allow_pickle=True)
    archive(tmp_path / "a.npz", {"a/kernel.npy": file.getvalue(), "a/bias.npy": file.getvalue()})
    assert "damaged" in refusal(fill, variables(), tmp_path / "a.npz", advice="delete it")
    assert refusal(SmallTeacher, tmp_path / "a.npz")
    assert not (tmp_path / "owned").exists()


@given(seed=st.sampled_from(arrays()), place=st.integers(0, 2000), value=st.integers(0, 255))
def test_damage_leaves_the_network_as_it_was_or_fills_it(
    tmp_path_factory, survives, seed, place, value
):
    file = tmp_path_factory.getbasetemp() / "damaged.npz"
    data = bytearray(seed)
    data[place % len(data)] = value
    file.write_bytes(data)
    own = variables()
    survives(fill, own, file, advice="delete it")
    values = np.concatenate([np.asarray(variable).ravel() for variable in own.values()])
    assert (values == 1).all() or (values == 0).all()


# === Checkpoints of PyTorch ===


@given(
    seed=st.sampled_from([*checkpoints(), pickle.dumps(MAGIC, 2) + pickle.dumps(PROTOCOL, 2)]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    more=st.binary(max_size=30),
)
def test_any_checkpoint(tmp_path_factory, survives, seed, changes, more):
    file = tmp_path_factory.getbasetemp() / "any.pth"
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    file.write_bytes(bytes(data) + more)
    found = survives(read_checkpoint, file)
    assert sum(array.size for array in (found or {}).values()) <= len(data)


@pytest.mark.parametrize("form", ["zip", "stream"])
def test_no_pickle_acts(tmp_path, refusal, form):
    pickled = pickle.dumps({"w": Acts(tmp_path / "owned")}, 2)
    file = tmp_path / "a.pth"
    if form == "zip":
        archive(file, {"net/data.pkl": pickled}, zipfile.ZIP_STORED)
    else:
        head = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {})]
        file.write_bytes(b"".join([*head, pickled]))
    assert "it asks for " in refusal(read_checkpoint, file)
    assert not (tmp_path / "owned").exists()


def doubled(times: int) -> bytes:
    """A pickle of some hundred bytes, of tuples that hold the same tuple twice, so many deep."""
    steps = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(times))
    return b"\x80\x02)" + steps + b"."


def test_what_shares_its_parts_is_not_spelled_out(tmp_path, refusal):
    file = tmp_path / "a.pth"
    file.write_bytes(pickle.dumps(MAGIC, 2) + doubled(60) * 4)
    assert "its version is none instead of 1001" in refusal(read_checkpoint, file)
    archive(file, {"net/data.pkl": doubled(60)}, zipfile.ZIP_STORED)
    assert refusal(read_checkpoint, file)


@pytest.mark.parametrize("opcode", [b"]", b"(", b")", b"}", b"N", b"K\1", b"]q\0", b"h\0"])
def test_the_largest_pickles_take_no_longer(tmp_path, survives, opcode):
    pickled = b"\x80\x02]q\0" + opcode * ((2**18 - 10) // len(opcode)) + b"."
    file = archive(tmp_path / "a.pth", {"net/data.pkl": pickled}, zipfile.ZIP_STORED)
    assert not survives(read_checkpoint, file)


def test_entries_that_overlap_or_lie_about_their_size(tmp_path, refusal):
    file = archive(
        tmp_path / "a.pth",
        {"net/data.pkl": b"\x80\x02}.", "net/data/0": bytes(40)},
        zipfile.ZIP_STORED,
    )
    data = bytearray(file.read_bytes())
    central = data.index(b"PK\1\2")
    data[central + 20 : central + 28] = struct.pack("<II", 2**31, 2**31)
    file.write_bytes(data)
    assert "larger than itself" in refusal(read_checkpoint, file)


# === CIFAR-10's batches ===


@given(
    seed=st.sampled_from(batches()),
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
)
def test_any_batch(seed, changes):
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    with contextlib.suppress(Exception):  # Of any kind: whoever reads a batch knows.
        load_batch(io.BytesIO(bytes(data)))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"cnumpy\nndarray\n((I100000\nI100000\nttR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I9999999999\ntU\1btR.",
        b"c_codecs\nencode\n(Vx\nVzip\ntR.",
        b"}((" + b")\x85" * 10 + b"K\1s.",
        b"\x80\x02" + b")\x85" * 300_000 + b"\x8f.",
    ],
    ids=["memo", "ndarray", "reconstruct", "codec", "key", "set"],
)
def test_batches_made_to_unfold(traced_peak, pickled):
    assert traced_peak(load_batch, io.BytesIO(pickled)) < 100_000_000


# === Networks of Keras ===


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished run."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    RunFolder(tmp_path / "run", Settings()).finish(model, {})
    return tmp_path / "run"


def rewritten(file, change):
    """A .keras file with its entries changed."""
    with zipfile.ZipFile(file) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    return archive(file, change(entries))


def test_networks_with_code_in_them_are_refused(tmp_path, finished, refusal):
    code = f"__import__('os').mkdir({str(tmp_path / 'owned')!r})"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(eval("lambda x: x"))]).save(
        finished / "model.keras"
    )
    assert "is damaged" in refusal(load_run, finished)
    for module, name, config in (
        ("builtins", "eval", code),
        ("os", "mkdir", str(tmp_path / "owned")),
        (
            "keras.src.utils",
            "get_file",
            {"fname": str(tmp_path / "owned"), "origin": "file:///etc/passwd"},
        ),
    ):
        layer = {"module": module, "class_name": name, "config": config, "registered_name": None}
        layer = str(layer).replace("'", '"').replace("None", "null").encode()
        rewritten(
            finished / "model.keras", lambda entries, layer=layer: entries | {"config.json": layer}
        )
        assert "is damaged" in refusal(load_run, finished)
    assert not (tmp_path / "owned").exists()


def test_networks_whose_weights_lie_elsewhere_are_refused(tmp_path, finished, refusal):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(24))

    def changed(entries, how):
        (tmp_path / "weights.h5").write_bytes(entries["model.weights.h5"])
        with h5py.File(tmp_path / "weights.h5", "a") as file:
            group = next(
                g
                for g in (file[n] for n in places(file))
                if isinstance(g, h5py.Group) and "0" in g and "1" in g
            )
            del group["0"]
            if how == "external":
                group.create_dataset("0", (3, 2), "f4", external=[(str(secret), 0, 24)])
            elif how == "link":
                group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
            else:
                group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000), fillvalue=1)
        return entries | {"model.weights.h5": (tmp_path / "weights.h5").read_bytes()}

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros((3, 2), np.float32)
    whole = (finished / "model.keras").read_bytes()
    for how in ("external", "link", "large"):
        (finished / "model.keras").write_bytes(whole)
        rewritten(finished / "model.keras", lambda entries, how=how: changed(entries, how))
        assert "is damaged" in refusal(load_run, finished), how


def places(file):
    names = []
    file.visit(names.append)
    return names


@pytest.mark.parametrize("part", ["config.json", "metadata.json", "model.weights.h5"])
def test_networks_with_damaged_parts_are_refused(finished, refusal, part):
    rng = np.random.default_rng(0)
    whole = (finished / "model.keras").read_bytes()
    for content in (b"", b"[" * 10_000, b"null", b"{}", bytes(30_000_000), rng.bytes(1000)):
        (finished / "model.keras").write_bytes(whole)
        rewritten(
            finished / "model.keras", lambda entries, content=content: entries | {part: content}
        )
        if part != "metadata.json":
            assert refusal(load_run, finished)


@pytest.mark.parametrize("name", ["../../owned", "/tmp/owned-by-a-test"])
def test_archives_with_paths_that_lead_out_are_refused(finished, tmp_path, refusal, name):
    rewritten(finished / "model.keras", lambda entries: entries | {name: b"x"})
    assert "is damaged" in refusal(load_run, finished)
    assert not (tmp_path / "owned").exists()
    assert not os.path.lexists("/tmp/owned-by-a-test")
