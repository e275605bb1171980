"""Several devices: the same numbers as on one, whatever the shares; workers that come and go."""

import contextlib
import importlib.util
import json
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError, WorkerError
from atelier.training.strategy import ONE, DeviceArguments, opened, start, synchronize
from atelier.training.workers import Workers, meet, read_workers

SCRIPT = Path(__file__).with_name("small_training.py")


@pytest.fixture(scope="module")
def small_training():
    spec = importlib.util.spec_from_file_location("small_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def whole(small_training, tmp_path_factory) -> Path:
    """The folder of four epochs on one device. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    small_training.train(folder)
    return folder


def command(folder: Path, *flags) -> list[str]:
    return [sys.executable, str(SCRIPT), "--out", str(folder), *map(str, flags)]


# === Shares ===


@pytest.mark.parametrize(("size", "count"), [(8, 2), (7, 2), (1, 2), (2, 4), (5, 3), (0, 2)])
def test_shares_are_all_of_a_batch_and_near_equal(size, count):
    starts = [start(size, count, place) for place in range(count + 1)]
    assert (starts[0], starts[-1]) == (0, size)
    shares = np.diff(starts)
    assert shares.min() >= 0
    assert np.ptp(shares) <= 1


def test_batch_normalisation_is_synchronised_wherever_it_is():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), inner])
    synchronize(model)
    assert model.layers[0].synchronized
    assert inner.layers[0].synchronized


# === The same as on one device ===


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.soak)])
def test_mirrored_is_one_device(count, whole, on_workers, tmp_path, assert_same_run):
    folder = tmp_path / "run"
    on_workers(command(folder, "--strategy", "mirrored", "--devices", count), alone=True).finish()
    assert_same_run(whole, folder)


@pytest.mark.soak
def test_workers_go_on_with_what_one_device_began(
    whole, small_training, on_workers, tmp_path, assert_same_run
):
    """The chief alone has the folder, and alone writes; the end is that of one device."""
    folder = tmp_path / "0"
    small_training.train(folder, epochs=2)
    said = on_workers(
        lambda place: command(tmp_path / str(place), "--strategy", "multiworker")
    ).finish()
    assert_same_run(whole, folder)
    assert not (tmp_path / "1").exists()
    weights = {re.search(r"2 devices of 2 workers: ([\d.]+)", text)[1] for text in said}
    assert len(weights) == 1, "all have the same network in the end"
    assert not any("error" in text.lower() for text in said)


@pytest.mark.soak
@pytest.mark.parametrize("dying", [0, 1], ids=["chief", "other"])
def test_dead_worker_ends_the_others_and_all_go_on_again(
    dying, whole, on_workers, tmp_path, assert_same_run
):
    folder = tmp_path / "run"
    flags = ("--strategy", "multiworker")
    group = on_workers(command(folder, *flags, "--pause", 2))
    group.wait_for(lambda: (folder / "checkpoint").exists())
    group.processes[dying].send_signal(signal.SIGKILL)
    other = group.processes[1 - dying]
    killed = time.monotonic()
    said = other.communicate(timeout=90)[0]
    assert time.monotonic() - killed < 60
    assert other.returncode == 2
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "another worker has stopped" in line
    assert len(list((folder / "checkpoint").iterdir())) == 1
    on_workers(command(folder, *flags)).finish()
    assert_same_run(whole, folder)


@pytest.mark.soak
def test_frozen_worker_ends_the_others(on_workers, tmp_path):
    group = on_workers(command(tmp_path / "run", "--strategy", "multiworker", "--pause", 1))
    group.wait_for(lambda: (tmp_path / "run" / "checkpoint").exists())
    group.processes[1].send_signal(signal.SIGSTOP)
    said = group.processes[0].communicate(timeout=90)[0]
    assert group.processes[0].returncode == 2
    assert "another worker has stopped" in said


@pytest.mark.soak
def test_mirrored_goes_on_with_what_workers_began(whole, on_workers, tmp_path, assert_same_run):
    folder = tmp_path / "run"
    on_workers(command(folder, "--strategy", "multiworker", "--epochs", 2)).finish()
    mirrored = command(folder, "--strategy", "mirrored", "--devices", 2)
    on_workers(mirrored, alone=True).finish()
    assert_same_run(whole, folder)


# === What cannot be had ===


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (DeviceArguments("mirrored", -1), "--devices must be 0 or more"),
        (DeviceArguments("one", 2), "--devices is for --strategy mirrored"),
        (DeviceArguments("multiworker", 2), "--devices is for --strategy mirrored"),
        (DeviceArguments("multiworker"), "--strategy multiworker needs TF_CONFIG, such as {"),
    ],
)
def test_senseless_devices_are_refused_in_one_line(arguments, words, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(SettingsError) as caught, opened(arguments):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with (
        pytest.raises(SettingsError, match="needs Keras on TensorFlow, not on jax"),
        opened(DeviceArguments("mirrored", 2)),
    ):
        pass


def test_more_parts_than_the_processor_has_are_refused_once_tensorflow_has_begun():
    keras.ops.zeros(1) + 1
    with (
        pytest.raises(SettingsError, match="--devices 97: TensorFlow has computed something"),
        opened(DeviceArguments("mirrored", 97)),
    ):
        pass


def test_smaller_batches_than_devices_are_refused():
    with opened(DeviceArguments("one")) as devices:
        assert devices is ONE
    ONE.check(1)
    several = type("Several", (type(ONE),), {"count": 3, "__str__": lambda self: "3 devices"})()
    several.check(3)
    with pytest.raises(SettingsError, match="--batch 2 has less than one example for each of 3"):
        several.check(2)
    for examples in (0, 3, 5, 8, 10):
        several.check(5, examples)
    for examples, left in ((1, 1), (6, 1), (12, 2)):
        with pytest.raises(SettingsError, match=f"leaves {left} of {examples} examples"):
            several.check(5, examples)


# === Workers ===

TWO = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(
    ("cluster", "task", "addresses", "place"),
    [
        (TWO, {"type": "worker", "index": 0}, ("a:1", "b:2"), 0),
        (TWO, {"type": "worker", "index": 1}, ("a:1", "b:2"), 1),
        ({"chief": ["c:3"], **TWO}, {"type": "chief", "index": 0}, ("c:3", "a:1", "b:2"), 0),
        ({"chief": ["c:3"], **TWO}, {"type": "worker", "index": 0}, ("c:3", "a:1", "b:2"), 1),
    ],
)
def test_workers_of_tf_config(cluster, task, addresses, place):
    found = read_workers({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})
    assert found == Workers(addresses, place)
    assert found.chief == (place == 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs TF_CONFIG"),
        ("{", "is no such JSON"),
        ("[]", "is no such JSON"),
        ('{"cluster": {"worker": ["a:1"]}}', "is no such JSON"),
        *[
            (json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}), words)
            for cluster, words in [
                ([], "is no such JSON"),
                ({}, "its cluster is not as in"),
                ({"worker": "a:1"}, "its cluster is not as in"),
                ({"worker": ["a"]}, "its cluster is not as in"),
                ({"worker": ["a:0"]}, "its cluster is not as in"),
                ({"worker": ["a:99999"]}, "its cluster is not as in"),
                ({"worker": [1]}, "its cluster is not as in"),
                ({**TWO, "ps": ["c:3"]}, "its cluster is not as in"),
                ({**TWO, "chief": ["c:3", "d:4"]}, "its cluster is not as in"),
                ({"worker": ["a:1", "a:1"]}, "two workers have one address"),
            ]
        ],
        *[
            (json.dumps({"cluster": TWO, "task": task}), "its task")
            for task in (
                {"type": "worker", "index": 2},
                {"type": "worker", "index": -1},
                {"type": "worker", "index": "0"},
                {"type": "worker", "index": True},
                {"type": "chief", "index": 0},
                {"type": ["worker"], "index": 0},
            )
        ],
    ],
)
def test_bad_tf_config_gives_one_line(text, words):
    with pytest.raises(SettingsError) as caught:
        read_workers({"TF_CONFIG": text})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_tf_config_on_which_python_gives_up_gives_one_line(monkeypatch):
    monkeypatch.setattr(json, "loads", Mock(side_effect=RecursionError))
    with pytest.raises(SettingsError, match="is no such JSON"):
        read_workers({"TF_CONFIG": "{}"})


def test_workers_that_come_late_are_met(free_ports):
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(3))
    failures = []

    def come(place: int) -> None:
        time.sleep(0.3 * place)
        try:
            meet(Workers(addresses, place), patience=20)
            # As TensorFlow's server does from here on.
            port = int(addresses[place].rpartition(":")[2])
            servers.enter_context(contextlib.closing(socket.create_server(("", port))))
        except Exception as error:
            failures.append(error)

    with contextlib.ExitStack() as servers:
        threads = [threading.Thread(target=come, args=(place,)) for place in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert not failures


def test_worker_that_does_not_come_is_named(free_ports):
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(2))
    with pytest.raises(
        WorkerError, match=f"worker 1 of TF_CONFIG, {addresses[1]}, does not answer"
    ):
        meet(Workers(addresses, 0), patience=0.5)


def test_port_in_use_is_named(free_ports):
    (port,) = free_ports(1)
    with (
        contextlib.closing(socket.create_server(("", port))),
        pytest.raises(SettingsError, match=f"cannot listen on its port {port}"),
    ):
        meet(Workers((f"127.0.0.1:{port}",), 0))
