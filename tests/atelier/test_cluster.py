"""The connection to Ray: addresses, and what is said where there is none."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

from atelier.cluster import check_address, connected
from atelier.errors import SettingsError


@pytest.mark.parametrize("address", [None, "auto", "ray://host:10001", "ray://192.0.2.1:1"])
def test_addresses(address):
    check_address(address)


@pytest.mark.parametrize(
    "address", ["", "here", "http://host:80", "ray://host", "ray://host:1/x", "ray://:1", "auto "]
)
def test_what_is_no_address_is_one_line(address):
    with pytest.raises(SettingsError, match=r"^--cluster is auto or ray://HOST:PORT, not '"):
        check_address(address)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "ray://127.0.0.1:99999"])
def test_no_cluster_there_is_one_line_at_once(address):
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(SettingsError, match=f"^--cluster {address}: no cluster answers"),
        connected(address),
    ):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


PROGRAM = """
import ray  # As in a notebook that has used it before.
from atelier.cluster import connected
from atelier.errors import SettingsError

try:
    with connected("ray://127.0.0.1:1"):
        pass
except SettingsError as error:
    print(error)
with connected("auto"):
    print(ray.get(ray.put("connected")))
"""


@pytest.mark.soak
def test_after_a_cluster_that_did_not_answer_another_does(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    # Not a cluster that happens to run on this machine.
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_ADDRESS": "local"}
    environment.pop("RAY_AUTH_MODE", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert "no cluster answers" in done.stdout
    assert done.stdout.endswith("\nconnected\n"), done.stderr


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(SettingsError, match=r"^ray is missing: pip install .*\[cluster\]"),
        connected("auto"),
    ):
        pass
