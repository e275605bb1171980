from pathlib import Path

import pytest

from atelier.precision import dtype_policy, has_bfloat16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse avx2", False), ("avx512f avx512_bf16 fma", True), ("amx_tile amx_bf16", True)],
)
def test_the_processor_says_whether_it_has_bfloat16(monkeypatch, flags, expected):
    monkeypatch.setattr(Path, "read_text", lambda self, **options: f"flags\t: {flags}\n")
    assert has_bfloat16() is expected
    assert dtype_policy("auto") == ("mixed_bfloat16" if expected else "float32")
    assert dtype_policy("float32") == "float32"
    assert dtype_policy("bfloat16") == "mixed_bfloat16"


def test_without_proc_float32_is_never_wrong(monkeypatch):
    def missing(self, **options):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert has_bfloat16() is False
