"""The workers of a training on several machines: TF_CONFIG, and that all of them are there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import socket
import time
from collections.abc import Mapping

from atelier.errors import SettingsError, WorkerError

PATIENCE = 120.0
"""Seconds that workers wait for each other at the start."""

EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
"""Of TF_CONFIG."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who takes part in a training, and which of them this process is."""

    addresses: tuple[str, ...]
    """HOST:PORT of each; the first is the chief's."""
    place: int
    """Of this process among them."""

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.place == 0

    def __len__(self) -> int:
        return len(self.addresses)


def read_workers(environment: Mapping[str, str] = os.environ) -> Workers:
    """The workers that TF_CONFIG names, as TensorFlow defines it.

    Its cluster has jobs `worker` and, where one is apart, `chief`, lists of HOST:PORT; its task is
    the `type`, one of these, and the `index` of this process.

    Raises:
        SettingsError: there is none, or it is not that.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        raise SettingsError(f"--strategy multiworker needs TF_CONFIG, such as {EXAMPLE}")
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], task["index"]
        chiefs, others = jobs.get("chief", []), jobs.get("worker", [])
        unknown = jobs.keys() - {"chief", "worker"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SettingsError(f"TF_CONFIG is no such JSON as {EXAMPLE}: {text[:200]}") from None
    addresses = [*chiefs, *others] if isinstance(chiefs, list) and isinstance(others, list) else []
    if unknown or not addresses or len(chiefs) > 1 or not all(map(_is_address, addresses)):
        raise SettingsError(f"TF_CONFIG: its cluster is not as in {EXAMPLE}: {str(jobs)[:200]}")
    if len(set(addresses)) < len(addresses):
        raise SettingsError(f"TF_CONFIG: two workers have one address: {str(jobs)[:200]}")
    counts = {"chief": len(chiefs), "worker": len(others)}
    whole = isinstance(index, int) and not isinstance(index, bool)
    if not isinstance(kind, str) or not whole or not 0 <= index < counts.get(kind, 0):
        raise SettingsError(f"TF_CONFIG: its task {str(task)[:100]} is none of {str(jobs)[:200]}")
    return Workers(tuple(addresses), index + (len(chiefs) if kind == "worker" else 0))


def _is_address(value: object) -> bool:
    match = re.fullmatch(r"[^\s/]+:(\d{1,5})", value) if isinstance(value, str) else None
    return match is not None and 0 < int(match[1]) < 2**16


def meet(workers: Workers, patience: float = PATIENCE) -> None:
    """Waits until all workers are there: TensorFlow's own wait has neither an end nor a message.

    Each listens on its own port, which is free again afterwards, and knocks at the others'.

    Raises:
        SettingsError: this worker's port is in use.
        WorkerError: one does not answer for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    port = int(workers.addresses[workers.place].rpartition(":")[2])
    with contextlib.closing(_listener(port)):
        for place, address in enumerate(workers.addresses):
            while place != workers.place and (reason := _silent(address)):
                if time.monotonic() >= deadline:
                    raise WorkerError(
                        f"worker {place} of TF_CONFIG, {address}, does not answer ({reason}); "
                        f"start the same command on every worker within {patience:.0f} seconds"
                    )
                time.sleep(0.2)


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"TF_CONFIG: this worker cannot listen on its port {port} ({error.strerror})"
        ) from None


def _silent(address: str) -> str:
    """Why nobody answers there; empty if somebody does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
