"""Packages that are missing are named with the extra that brings them."""

import pytest

from atelier.errors import SettingsError, missing_extra, require_extras


def test_require_names_what_is_missing_and_how_it_is_installed():
    require_extras([])
    require_extras([("numpy", "export"), ("keras", "hls")])
    with pytest.raises(SettingsError, match=r"no_such_package is missing.*atelier-vision\[hls\]"):
        require_extras([("numpy", "export"), ("no_such_package", "hls")])
    assert missing_extra("onnx") == "onnx is missing: pip install 'atelier-vision[export]'"
