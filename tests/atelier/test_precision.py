"""The choice of precision: by times, measured once a machine and kept; what was asked for wins."""

import json
import math
import os
import time

import pytest

from atelier.nets import precision
from atelier.nets.precision import Work, choose, dtype_policy, fastest

TINY = Work(1, 8, 2, ((3,), (4,)), weights=True)

KEY = precision.cache_key("features", "M")

DAMAGED = {
    "empty": b"",
    "cut off": b'{"%s": {"float32": 0.0' % KEY.encode(),
    "no JSON": b"\xff\x00",
    "a list": b"[1, 2]",
    "no times": json.dumps({KEY: 3}).encode(),
    "one time": json.dumps({KEY: {"float32": 1.0}}).encode(),
    "words": json.dumps({KEY: {"float32": "fast", "bfloat16": 1.0}}).encode(),
    "no number": json.dumps({KEY: {"float32": math.nan, "bfloat16": 1.0}}).encode(),
    "no duration": json.dumps({KEY: {"float32": -1.0, "bfloat16": 1.0}}).encode(),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder; gives the file of times. The machine is called M."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "machine_key", lambda: "M")
    precision.measured.cache_clear()
    yield precision.cache_file()
    precision.measured.cache_clear()


@pytest.fixture
def probes(monkeypatch, cache):
    """Sets what the probe measures, in seconds; gives a list of the work that was probed."""
    seen = []

    def measure(float32: float, bfloat16: float) -> list[Work]:
        def probe(work):
            seen.append(work)
            return {"float32": float32, "bfloat16": bfloat16}

        monkeypatch.setattr(precision, "probe", probe)
        return seen

    return measure


# === The choice ===


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected"),
    [(0.02, 0.01, "bfloat16"), (0.01, 0.02, "float32"), (0.0105, 0.01, "float32")],
)
def test_auto_takes_what_is_clearly_faster(probes, float32, bfloat16, expected):
    probes(float32, bfloat16)
    choice = choose("auto")
    assert choice.precision == expected
    assert dtype_policy("auto") == choice.policy
    assert choice.policy == ("mixed_bfloat16" if expected == "bfloat16" else "float32")
    words = f"float32 {1e3 * float32:.1f} ms, bfloat16 {1e3 * bfloat16:.1f} ms"
    assert choice.reason == f"measured here: {words}"


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken_and_nothing_measured(probes, cache, asked):
    seen = probes(0.01, 1.0)
    choice = choose(asked)
    assert (choice.precision, choice.reason) == (asked, "as asked")
    assert not seen
    assert not cache.exists()


def test_each_kind_of_work_is_measured_for_itself(probes):
    seen = probes(0.02, 0.01)
    assert choose("auto", "training").precision == "bfloat16"
    probes(0.01, 0.02)
    assert choose("auto", "features").precision == "float32"
    assert choose("auto", "training").precision == "bfloat16"
    assert seen == [precision.WORKS["training"], precision.WORKS["features"]]


def test_where_bfloat16_cannot_be_computed_it_is_float32(monkeypatch, cache):
    def fails(work):
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(precision, "probe", fails)
    choice = choose("auto")
    assert (choice.precision, choice.reason) == ("float32", "bfloat16 cannot be computed here")
    assert not cache.exists()


# === The cache ===


def test_times_are_kept_for_the_next_process(probes, cache):
    seen = probes(0.02, 0.01)
    choose("auto")
    assert json.loads(cache.read_text()) == {KEY: {"float32": 0.02, "bfloat16": 0.01}}
    precision.measured.cache_clear()  # As another process begins.
    probes(0.01, 0.02)
    assert choose("auto").precision == "bfloat16"
    assert len(seen) == 1


def test_another_machine_is_measured_and_both_are_kept(probes, cache, monkeypatch):
    seen = probes(0.02, 0.01)
    choose("auto")
    monkeypatch.setattr(precision, "machine_key", lambda: "another")
    probes(0.01, 0.02)
    assert choose("auto").precision == "float32"
    assert len(seen) == 2
    assert set(json.loads(cache.read_text())) == {KEY, KEY[:-1] + "another"}


def test_other_shapes_are_measured_anew(probes, cache, monkeypatch):
    seen = probes(0.02, 0.01)
    choose("auto")
    monkeypatch.setitem(precision.WORKS, "features", TINY)
    precision.measured.cache_clear()
    probes(0.01, 0.02)
    assert choose("auto").precision == "float32"
    assert len(seen) == 2


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_cache_is_measured_anew(probes, cache, content):
    cache.write_bytes(content)
    seen = probes(0.02, 0.01)
    assert choose("auto").precision == "bfloat16"
    assert len(seen) == 1
    assert json.loads(cache.read_text())[KEY] == {"float32": 0.02, "bfloat16": 0.01}


def test_a_cache_beyond_its_bound_is_measured_anew(probes, cache, monkeypatch):
    times = {"float32": 0.01, "bfloat16": 0.02}
    cache.write_text(json.dumps({KEY: times}))
    monkeypatch.setattr(precision, "MAX_CACHE_BYTES", 20)
    probes(0.02, 0.01)
    assert choose("auto").precision == "bfloat16"


def test_a_cache_that_cannot_be_written_does_no_harm(probes, cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    seen = probes(0.02, 0.01)
    assert choose("auto").precision == choose("auto").precision == "bfloat16"
    assert len(seen) == 1, "once a process at least"


def test_the_key_names_what_times_depend_on(monkeypatch):
    import tensorflow as tf

    key = precision.machine_key()
    assert tf.__version__ in key
    assert "threads" in key
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    without = precision.machine_key()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert without != precision.machine_key()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    assert "64 threads" in precision.machine_key()


# === The probe ===


def test_the_least_time_counts_and_runs_alternate():
    order, ticks = [], iter([0, 5, 5, 9, 9, 11, 11, 17, 17, 20, 20, 23])
    passes = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    # a takes 5, 2 and 3; b takes 4, 6 and 3.
    assert fastest(passes, 2, clock=lambda: next(ticks)) == {"a": 2, "b": 3}
    assert order == ["a", "b"] * 3


def test_processor_time_counts_and_on_a_gpu_the_wall_clock(monkeypatch):
    import tensorflow as tf

    for gpus, clock in (([], time.process_time), (["GPU:0"], time.perf_counter)):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind, gpus=gpus: gpus)
        assert precision._clock() is clock


def test_a_hopeless_side_runs_twice_at_most():
    now, calls = [0.0], {"a": 0, "b": 0}

    def run(name, seconds):
        calls[name] += 1
        now[0] += seconds

    passes = {"a": lambda: run("a", 1), "b": lambda: run("b", 50)}
    assert fastest(passes, 5, clock=lambda: now[0]) == {"a": 1, "b": 50}
    assert calls == {"a": 6, "b": 2}


def test_what_is_hopeless_in_small_is_not_tried_in_large(monkeypatch):
    large, tried = Work(5, 192, 2, ((3,), (4,)), weights=False), []

    def compiled(work, kind):
        tried.append((work.batch, work.side, kind))
        return lambda: None

    monkeypatch.setattr(precision, "compiled", compiled)
    for times, stages in (
        ({"float32": 0.001, "bfloat16": 0.1}, [(4, 128)]),
        ({"float32": 0.001, "bfloat16": 0.002}, [(4, 128), (5, 192)]),
    ):
        tried.clear()
        monkeypatch.setattr(precision, "fastest", lambda passes, repeats, clock, times=times: times)
        assert precision.probe(large) == times
        assert tried == [(*stage, kind) for stage in stages for kind in ("float32", "bfloat16")]


@pytest.mark.parametrize("weights", [False, True])
def test_the_probe_does_its_work_in_both_precisions(weights):
    work = Work(TINY.batch, TINY.side, TINY.channels, TINY.blocks, weights)
    found = {name: precision.compiled(work, name)() for name in ("float32", "bfloat16")}
    assert len(found["float32"]) == (3 if weights else 1)  # Of the picture, and of each kernel.
    largest = max(map(abs, found["float32"]))
    for fine, coarse in zip(*found.values(), strict=True):
        assert coarse != fine
        assert coarse == pytest.approx(fine, abs=0.3 * largest)
    times = precision.probe(work)
    assert list(times) == ["float32", "bfloat16"]
    assert all(seconds > 0 for seconds in times.values())
