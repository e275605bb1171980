"""The connection to a Ray cluster: one that runs, or one of this machine's own for a while."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from atelier.errors import SettingsError, require_extras

AUTO = "auto"


def check_address(address: str | None) -> None:
    """Raises `SettingsError` if `address` is not what `--cluster` takes."""
    if address is None or address == AUTO or re.fullmatch(r"ray://[^\s/]+:\d{1,5}", address):
        return
    raise SettingsError(f"--cluster is auto or ray://HOST:PORT, not {address!r}")


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Ray, within the block; what it started is stopped at the end, what it found goes on.

    Args:
        address: ray://HOST:PORT, or auto: the cluster that this machine is part of (Ray's own
            rules: RAY_ADDRESS, then one started here by `ray start`), else one of this machine's
            cores alone.

    Raises:
        SettingsError: no such address, no cluster there, or Ray is not installed.
    """
    check_address(address)
    require_extras([("ray", "cluster")])
    # Read when Ray is first imported: nothing leaves the machine unasked.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A call on a connection that has ended would start a cluster of this machine's own.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    # Without it, Ray warns of what a later version will do.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if address != AUTO:
        _use_token(ray)
    ours = not ray.is_initialized()
    if ours:
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            if address != AUTO:
                _knock(address)  # Ray's own attempts take half a minute.
            options = {"log_to_driver": False, "logging_level": logging.ERROR}
            if address == AUTO:
                ray.init(include_dashboard=False, **options)
            else:
                # What it says of a connection that fails or ends, we say in our own line.
                logging.getLogger("ray.util.client").setLevel(logging.CRITICAL)
                with warnings.catch_warnings(action="ignore"):
                    ray.init(address, **options)
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:160]
            raise SettingsError(f"--cluster {address}: no cluster answers ({reason})") from None
        finally:
            # Ray's own handler would end the command before it has put things in order.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)
    try:
        with _hushed(ray):
            yield
    finally:
        if ours:
            ray.shutdown()


def count_room(user: str, cpus: int = 1, gpus: float = 0) -> int:
    """How many workers or trials the cluster that is connected has room for, if it is free; at
    least 1.

    Args:
        user: worker or trial, as in the flags that say what it takes.
        cpus: cores of one.
        gpus: GPUs of one, or a part of one.

    Raises:
        SettingsError: no host of it is large enough for one.
    """
    import ray

    hosts = [host["Resources"] for host in ray.nodes() if host["Alive"]]
    rooms = [
        min(host.get("CPU", 0) // cpus, host.get("GPU", 0) // gpus if gpus else math.inf)
        for host in hosts
    ]
    if not any(rooms):
        wanted = f"{cpus} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        raise SettingsError(
            f"no host of the cluster has {wanted} for a {user}; lower --{user}-cpus or "
            f"--{user}-gpus"
        )
    return int(sum(rooms))


def _use_token(ray) -> None:
    """Sends the token that this machine has, if any, as Ray itself does for auto alone."""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token")
    known = os.environ.get("RAY_AUTH_TOKEN") or os.path.exists(path)
    if known and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        ray._raylet.Config.initialize("")  # Ray has read it when it was imported, maybe long ago.


@contextlib.contextmanager
def _hushed(ray) -> Iterator[None]:
    """Keeps Ray from telling of dead workers, which it replaces, on our standard output."""
    private = ray._private.worker
    printing = getattr(private, "print_to_stdstream", None)
    private.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        private.print_to_stdstream = printing


def _knock(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()
