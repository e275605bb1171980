"""Public names of a package that are loaded when they are first used.

`import superres` then costs nothing, and `superres.upscale` what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import lazy_loader


def attach(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Gives a package's `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: its `__name__`.
        names: the public names by the submodule that defines them. None may be the name of a
            submodule, which would take its place once that is imported.

    Example:
        >>> __getattr__, __dir__, __all__ = attach(__name__, {"upscaling": ["upscale"]})
    """
    return lazy_loader.attach(package, submod_attrs={k: list(v) for k, v in names.items()})
