"""What the tests of detection share: what torchvision computes on the same inputs."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def torchvision_units():
    """part -> {name: array}, written by make_torchvision_units.py."""
    with np.load(Path(__file__).with_name("torchvision_units.npz")) as units:
        parts: dict = {}
        for key in units.files:
            part, name = key.split("/")
            parts.setdefault(part, {})[name] = units[key]
    return parts
