"""Holds back the dozen lines that TensorFlow writes as it is imported.

They name its build options and missing CUDA drivers, go past Python to standard error, and no log
level silences them. They are shown after all if the import fails.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator


def install() -> None:
    """Makes the first import of TensorFlow a quiet one, whoever asks for it."""
    if "tensorflow" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # Of what TensorFlow says later on, errors are for users; warnings are about its estimates.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _held_back():
            self._loader.exec_module(module)
            module.config.list_physical_devices("GPU")  # Says what it has to say about CUDA.

    def __getattr__(self, name):
        return getattr(self._loader, name)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Keeps what is written to standard error from anybody, unless the block fails."""
    try:
        kept = os.dup(2)
    except OSError:  # Standard error is closed: TensorFlow may say what it likes.
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
