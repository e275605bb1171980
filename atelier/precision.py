"""In which precision networks compute: float32, or bfloat16 where processors are made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
"""Of a network's arithmetic; weights stay float32. "auto" is bfloat16 where the processor has
instructions for it, and float32 elsewhere."""


def has_bfloat16() -> bool:
    """Whether this machine multiplies in bfloat16 faster than in float32, as far as one can tell.

    True on Linux where /proc/cpuinfo names AVX-512 BF16 or AMX; elsewhere float32 is the choice
    that is never wrong.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def dtype_policy(precision: Precision) -> str:
    """The name of the Keras dtype policy: `mixed_bfloat16` or `float32`."""
    fast = precision == "bfloat16" or (precision == "auto" and has_bfloat16())
    return "mixed_bfloat16" if fast else "float32"
