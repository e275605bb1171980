"""Embedded weights, and files that are fetched once."""

import contextlib
import functools
import gc
import hashlib
import http.server
import io
import json
import os
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from atelier.errors import WeightsError
from atelier.nets import weights as stored

# Keras leaves the connections of failed downloads open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def network(units: int = 3) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dense(2, name="last"),
        ],
        name="net",
    )
    model.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in model.get_weights()])
    return model


def refusal(call, *arguments, **options) -> str:
    """The one line with which weights are refused."""
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# === Embedded ===


def test_the_round_trip_rounds_to_float16(tmp_path):
    model = network()
    file = stored.save_embedded(model, "net", {"epochs": 3}, tmp_path)
    assert file == tmp_path / "net.npz"
    other = keras.models.clone_model(model)
    stored.load_embedded(other, "net", tmp_path)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(np.float32(np.float16(ours)), theirs)
    assert stored.card("net", tmp_path) == {"epochs": 3}
    assert sorted(os.listdir(tmp_path)) == ["net.json", "net.npz"]


def test_arrays_are_keyed_by_layer_and_variable(tmp_path):
    stored.save_embedded(network(), "net", {}, tmp_path)
    with np.load(tmp_path / "net.npz") as arrays:
        assert {a.dtype for a in arrays.values()} == {np.dtype(np.float16)}
        assert set(arrays.files) == {
            *("first/kernel", "first/bias", "last/kernel", "last/bias"),
            *("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"),
        }


def test_a_weight_beyond_float16_is_not_written_as_infinity(tmp_path):
    model = network()
    model.get_layer("norm").moving_variance.assign([1, 2, 70_000])
    with pytest.raises(FloatingPointError, match="overflow"):
        stored.save_embedded(model, "net", {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_layers_of_the_same_name_are_not_mixed_up(tmp_path):
    halves = [
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name=name)
        for name in ("a", "b")
    ]
    with pytest.raises(ValueError, match="same name"):
        stored.save_embedded(keras.Sequential([keras.Input((4,)), *halves]), "net", {}, tmp_path)


def test_missing_weights_are_one_line(tmp_path):
    assert refusal(stored.load_embedded, network(), "net", tmp_path) == (
        f"{tmp_path / 'net.npz'} is missing; install the package anew"
    )


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "pickle"])
def test_damaged_weights_are_one_line_and_change_nothing(tmp_path, damage):
    model = network()
    file = stored.save_embedded(model, "net", {}, tmp_path)
    whole = file.read_bytes()
    middle = len(whole) // 8
    if damage == "pickle":
        np.savez(file, **{"first/kernel": np.array([{}], object)})
    else:
        file.write_bytes(
            {
                "empty": b"",
                "text": b"no weights",
                "cut": whole[: len(whole) // 2],
                "flipped": whole[:middle] + bytes(20) + whole[middle + 20 :],
            }[damage]
        )
    before = model.get_weights()
    said = refusal(stored.load_embedded, model, "net", tmp_path)
    assert said.startswith(f"{file} is damaged (")
    assert said.endswith("); install the package anew")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "kernel",
    [
        np.full((4, 3), "text"),
        np.full((4, 3), 1j),
        pytest.param(
            np.ones((4, 3), np.longdouble),
            marks=pytest.mark.skipif(np.longdouble(0).itemsize == 8, reason="of 8 bytes here"),
        ),
        np.zeros((4, 3), "M8[s]"),
        np.zeros((4, 3), [("x", "f4")]),
        np.full((4, 3), None),
    ],
    ids=lambda kernel: kernel.dtype.kind,
)
def test_arrays_of_anything_but_numbers_are_refused_unread(tmp_path, monkeypatch, kernel):
    np.savez(tmp_path / "net.npz", **{"first/kernel": kernel})
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read"))
    assert "holds no numbers" in refusal(stored.load_embedded, network(), "net", tmp_path)


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_arrays_in_later_versions_of_numpys_format_are_refused_unread(
    tmp_path, monkeypatch, version
):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.zeros((4, 3)), version)
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("first/kernel.npy", file.getvalue())
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read"))
    assert "is not as numpy.savez" in refusal(stored.load_embedded, network(), "net", tmp_path)


def test_a_negative_shape_is_refused():
    file, header = io.BytesIO(), {"descr": "<f4", "fortran_order": False, "shape": (-1, 2)}
    with zipfile.ZipFile(file, "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(ValueError, match=r"a\.npy holds no numbers"):
        stored.array_shapes(file)


def test_weights_of_another_network_are_one_line_and_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read"))
    file = stored.save_embedded(network(), "net", {}, tmp_path)
    more = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")])
    for other in (network(units=5), more):
        said = refusal(stored.load_embedded, other, "net", tmp_path)
        assert said == f"{file} holds the weights of another network; install the package anew"


# === Fetched ===

CONTENT = b"the weights" * 5000
GOOD = hashlib.md5(CONTENT).hexdigest()
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:8]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves CONTENT as net.h5, half of it as half.h5, and counts."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/missing.h5":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        half = len(CONTENT) // 2
        self.wfile.write(CONTENT[:half])
        if self.path == "/slow.h5":
            self.wfile.flush()
            time.sleep(0.3)
        if self.path != "/half.h5":
            self.wfile.write(CONTENT[half:])

    def log_message(self, *arguments):
        pass


def kept(cache) -> list[str]:
    """The files in the cache, without the lock."""
    return sorted(name for name in os.listdir(cache) if name != ".lock") if cache.exists() else []


@contextlib.contextmanager
def serve():
    """A server on this machine; gives its address and the list of what was asked for."""
    asked = []
    handler = type("Counting", (Handler,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        gc.collect()


def test_a_file_is_fetched_once(cache, capsys):
    with serve() as (address, asked):
        url = f"{address}/net.h5"
        for _ in range(2):
            path = stored.fetch(url, GOOD, option="--weights FILE")
            assert path == cache / "net.h5"
            assert path.read_bytes() == CONTENT
        assert asked == ["/net.h5"]
    # And with the server gone.
    assert stored.fetch(url, GOOD, option="--weights FILE") == cache / "net.h5"
    assert capsys.readouterr().out == ""  # Standard output is for results.


def test_sha256_is_understood(cache):
    with serve() as (address, _):
        sha = hashlib.sha256(CONTENT).hexdigest()
        assert stored.fetch(f"{address}/net.h5", sha, option="--w").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "file_hash", "reason"),
    [
        ("net.h5", "0" * 32, "hash does not match"),
        ("half.h5", GOOD, "retrieval incomplete"),
        ("missing.h5", GOOD, "404"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_with_both_ways_out(cache, name, file_hash, reason):
    with serve() as (address, _):
        url = f"{address}/{name}"
        said = refusal(stored.fetch, url, file_hash, option="--weights FILE")
    assert said.startswith(f"{name} is missing and cannot be fetched (")
    assert reason in said
    assert (
        f"connect to the network once, or download {url} elsewhere and pass --weights FILE" in said
    )


def test_without_a_network_the_line_is_the_same(cache):
    with serve() as (address, _):
        pass
    said = refusal(stored.fetch, f"{address}/net.h5", GOOD, option="--weights FILE")
    assert said.startswith("net.h5 is missing and cannot be fetched (URL fetch failure")
    assert said.endswith("and pass --weights FILE")
    assert kept(cache) == []


def test_a_damaged_file_in_the_cache_is_fetched_anew(cache):
    cache.mkdir()
    (cache / "net.h5").write_bytes(CONTENT[:100])
    with serve() as (address, asked):
        path = stored.fetch(f"{address}/net.h5", GOOD, option="--w")
        assert path.read_bytes() == CONTENT
        assert asked == ["/net.h5"]


def test_a_bad_file_is_not_taken_the_next_time(cache):
    with serve() as (address, asked):
        for _ in range(2):
            refusal(stored.fetch, f"{address}/net.h5", "0" * 32, option="--w")
        assert len(asked) == 2


def test_the_beginning_of_a_hash_is_understood(cache):
    with serve() as (address, asked):
        url = f"{address}/net.h5"
        for _ in range(2):
            path = stored.fetch(url, option="--w", sha256_prefix=PREFIX)
            assert path == cache / "net.h5"
            assert path.read_bytes() == CONTENT
        assert asked == ["/net.h5"]
    # And with the server gone.
    assert stored.fetch(url, option="--w", sha256_prefix=PREFIX).read_bytes() == CONTENT


@pytest.mark.parametrize("cached", [b"", CONTENT[:100], CONTENT[::-1]])
def test_another_beginning_of_a_hash_in_the_cache_is_fetched_anew(cache, cached):
    cache.mkdir()
    (cache / "net.h5").write_bytes(cached)
    with serve() as (address, asked):
        url = f"{address}/net.h5"
        for _ in range(2):
            path = stored.fetch(url, option="--w", sha256_prefix=PREFIX)
            assert path.read_bytes() == CONTENT
        assert asked == ["/net.h5"]


@pytest.mark.parametrize("file_hash", [None, GOOD])
def test_what_begins_with_another_hash_is_one_line_and_not_kept(cache, file_hash):
    with serve() as (address, asked):
        url = f"{address}/net.h5"
        said = refusal(stored.fetch, url, file_hash, option="--w FILE", sha256_prefix="0" * 8)
        assert asked == ["/net.h5"]
    assert said == (
        "net.h5 came with another content than the published one: try again, or download "
        f"{url} elsewhere and pass --w FILE"
    )
    assert kept(cache) == []


@pytest.mark.parametrize("known", [{"file_hash": GOOD}, {"sha256_prefix": PREFIX}])
def test_several_that_fetch_the_same_file_ask_for_it_once(cache, known):
    out = sys.stdout
    with serve() as (address, asked), ThreadPoolExecutor(4) as pool:
        fetch = functools.partial(stored.fetch, f"{address}/slow.h5", option="--w", **known)
        paths = [work.result() for work in [pool.submit(fetch) for _ in range(4)]]
    assert paths == [cache / "slow.h5"] * 4
    assert paths[0].read_bytes() == CONTENT
    assert asked == ["/slow.h5"]
    assert sys.stdout is out


def test_no_half_file_is_ever_seen_under_the_name(cache):
    with serve() as (address, asked), ThreadPoolExecutor(1) as pool:
        work = pool.submit(stored.fetch, f"{address}/slow.h5", GOOD, option="--w")
        while not work.done():
            with contextlib.suppress(FileNotFoundError):
                assert (cache / "slow.h5").read_bytes() == CONTENT
        assert work.result().read_bytes() == CONTENT
        assert asked == ["/slow.h5"]


def test_what_a_killed_download_left_goes_with_the_next(cache):
    (cache / ".fetching-dead").mkdir(parents=True)
    (cache / ".fetching-dead" / "net.h5").write_bytes(CONTENT[:10])
    with serve() as (address, _):
        stored.fetch(f"{address}/net.h5", GOOD, option="--w")
    assert kept(cache) == ["net.h5"]


def test_a_file_in_a_cache_that_cannot_be_written_is_taken(cache, monkeypatch):
    cache.mkdir()
    (cache / "net.h5").write_bytes(CONTENT)

    def refuse(*arguments, **options):
        raise AssertionError("the cache was locked")

    monkeypatch.setattr(stored, "FileLock", refuse)
    assert stored.fetch("http://127.0.0.1:9/net.h5", GOOD, option="--w") == cache / "net.h5"


@pytest.mark.parametrize("cached", [None, CONTENT[:100]])
def test_without_a_network_a_truncated_file_is_not_taken(cache, cached):
    with serve() as (address, _):
        pass
    url = f"{address}/net.h5"
    cache.mkdir()
    if cached is not None:
        (cache / "net.h5").write_bytes(cached)
    said = refusal(stored.fetch, url, option="--w FILE", sha256_prefix=PREFIX)
    assert said.startswith("net.h5 is missing and cannot be fetched (URL fetch failure")
    assert said.endswith(f"download {url} elsewhere and pass --w FILE")


def test_a_folder_in_the_files_place_is_one_line(cache):
    (cache / "net.h5").mkdir(parents=True)
    said = refusal(stored.fetch, "http://127.0.0.1/net.h5", option="--w FILE", sha256_prefix=PREFIX)
    assert "Is a directory" in said
    assert (cache / "net.h5").is_dir()


def test_cards_are_json():
    card = json.loads((stored.HERE / "vgg19_lite.json").read_text(encoding="utf-8"))
    assert stored.card("vgg19_lite") == card
