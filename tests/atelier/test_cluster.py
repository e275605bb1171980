"""The connection to Ray: addresses, and what is said where there is none."""

import importlib.util
import signal

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


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(SettingsError, match=r"^ray is missing: pip install .*\[cluster\]"),
        connected("auto"),
    ):
        pass
