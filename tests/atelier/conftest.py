"""What tests of clusters share."""

import contextlib
import fcntl
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest


class Head(NamedTuple):
    """A Ray cluster that runs."""

    address: str
    """For Ray Client."""
    process: subprocess.Popen


@pytest.fixture
def head(free_ports):
    """A cluster of three cores that runs already; one at a time on this machine, as servers of Ray
    Client all take their ports from 23000 on."""
    port, client_port = free_ports(2)
    words = "start --head --block --num-cpus=3 --include-dashboard=false --disable-usage-stats "
    words += f"--port={port} --ray-client-server-port={client_port}"
    with contextlib.ExitStack() as stack:
        turn = stack.enter_context(open(Path(tempfile.gettempdir()) / "atelier-ray-head", "w"))
        fcntl.flock(turn, fcntl.LOCK_EX)
        # Names of sockets are short: pytest's own folders are too long for them.
        folder = tempfile.mkdtemp(prefix="ray-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ray"), *words.split(), f"--temp-dir={folder}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", client_port), timeout=1).close()
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield Head(f"ray://127.0.0.1:{client_port}", process)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    process.kill()
    process.wait()
