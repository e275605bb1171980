"""What the tests of cartoons share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def literal():
    """The module beside this one: the report's program, written plainly."""
    file = Path(__file__).parent / "literal.py"
    spec = importlib.util.spec_from_file_location("literal", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
