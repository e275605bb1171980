"""Trained weights: those embedded here as float16, and those fetched once and cached.

An embedded network is two files beside this one: `NAME.npz` holds its arrays, keyed by layer and
variable, and `NAME.json` is its card: what trained it, on what, how long, and how good it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
from filelock import FileLock

from atelier.errors import WeightsError
from atelier.files import atomic_path

HERE = Path(__file__).parent


def load_embedded(model: keras.Model, name: str, folder: Path = HERE) -> None:
    """Fills `model` with the embedded weights `name`.

    Args:
        model: a built model of the architecture that the weights belong to.
        name: the file's name without suffix.
        folder: where it lies; each task has a folder `weights` of its own.

    Raises:
        WeightsError: the file is missing or damaged, or holds another network.
    """
    fill(_by_key(model), Path(folder) / f"{name}.npz", advice="install the package anew")


def fill(variables: Mapping[str, keras.Variable], file: Path, *, advice: str) -> None:
    """Fills all `variables` from the arrays of the same names in a .npz file, or none.

    Raises:
        WeightsError: the file is missing or damaged, or holds another network; it ends with
            `advice`.
    """
    expected = {key: tuple(variable.shape) for key, variable in variables.items()}
    try:
        # NumPy leaves a file that is no zip open, if it opens it itself.
        with open(file, "rb") as stream:
            ours = array_shapes(stream) == expected
            if ours:
                with np.load(stream, allow_pickle=False) as arrays:
                    arrays = {key: arrays[key] for key in arrays.files}
    except FileNotFoundError:
        raise WeightsError(f"{file} is missing; {advice}") from None
    except Exception as error:  # A damaged zip raises half a dozen kinds of error.
        reason = " ".join(str(error).split())
        raise WeightsError(f"{file} is damaged ({reason}); {advice}") from None
    if not ours:
        raise WeightsError(f"{file} holds the weights of another network; {advice}")
    for key, array in arrays.items():
        variables[key].assign(array)


def array_shapes(stream: BinaryIO) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in a .npz file, by name, from their headers alone.

    So the memory that they take is known before they are read. The stream is left at its start.

    Raises:
        ValueError: arrays of something else than numbers of at most 8 bytes, or not written as
            `numpy.savez` writes those.
        Exception: of half a dozen kinds; no .npz file, or a damaged one.
    """
    shapes = {}
    with zipfile.ZipFile(stream) as archive:
        for name, entry in archive.NameToInfo.items():
            with archive.open(entry) as member:
                if np.lib.format.read_magic(member) != (1, 0):
                    raise ValueError(f"{name} is not as numpy.savez writes arrays of numbers")
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            if dtype.kind not in "biuf" or dtype.itemsize > 8 or min(shape, default=0) < 0:
                raise ValueError(f"{name} holds no numbers")
            shapes[name.removesuffix(".npy")] = shape
    stream.seek(0)
    return shapes


def save_embedded(model: keras.Model, name: str, card: dict, folder: Path = HERE) -> Path:
    """Writes `model`'s weights as float16, and its card; returns the file of weights.

    Raises:
        FloatingPointError: a weight is beyond the range of float16, ±65,504.
    """
    file = Path(folder) / f"{name}.npz"
    with np.errstate(over="raise"):
        arrays = {key: np.float16(variable) for key, variable in _by_key(model).items()}
    with atomic_path(file) as temporary:
        np.savez_compressed(temporary, **arrays)
    card_file = file.with_suffix(".json")
    with atomic_path(card_file) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return file


def card(name: str, folder: Path = HERE) -> dict:
    """The card of the embedded weights `name`."""
    return json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8"))


def models_folder() -> Path:
    """Returns the folder of fetched files: `models` in Keras' cache, `KERAS_HOME` or `~/.keras`."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def fetch(
    url: str, file_hash: str | None = None, *, option: str, sha256_prefix: str | None = None
) -> Path:
    """Returns a published file from the cache, fetched on first use and checked by its hash.

    A file takes its place in the cache whole, or not at all. Of several processes or threads that
    ask for the same file one fetches it, and the others wait for it.

    Args:
        url: where it is published.
        file_hash: its published md5 or sha256, in lower case.
        option: the flag by which a user may pass a local copy, for the message.
        sha256_prefix: what its sha256 begins with, in lower case, where no more is published.

    Raises:
        WeightsError: it cannot be fetched, or what came is something else.
    """
    name = url.rsplit("/", 1)[1]
    path = models_folder() / name
    elsewhere = f"download {url} elsewhere and pass {option}"

    def published(file: Path) -> bool:
        return _has_hash(file, file_hash) and _has_hash(file, sha256_prefix, "sha256")

    try:
        if path.exists() and published(path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):
            if path.exists() and published(path):  # Another process has fetched it meanwhile.
                return path
            with _private_folder(path.parent) as folder:
                # Its progress is no result of a command.
                with contextlib.redirect_stdout(sys.stderr):
                    fetched = keras.utils.get_file(
                        name, url, cache_dir=folder, cache_subdir="", file_hash=file_hash
                    )
                if published(fetched):
                    os.replace(fetched, path)
                    return path
    except Exception as error:  # get_file raises bare Exception when it is offline.
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"{name} is missing and cannot be fetched ({reason}): connect to the network once, "
            f"or {elsewhere}"
        ) from None
    raise WeightsError(
        f"{name} came with another content than the published one: try again, or {elsewhere}"
    )


_PRIVATE = ".fetching-"


@contextlib.contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` for one download; `parent` is locked, so older ones are leftovers."""
    for leftover in parent.glob(f"{_PRIVATE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PRIVATE, dir=parent) as folder:
        yield Path(folder)


def _has_hash(file: str | Path, start: str | None, kind: str | None = None) -> bool:
    """Whether the hash of `file` begins with `start`; None is true of each file."""
    if start is None:
        return True
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, kind or ("sha256" if len(start) == 64 else "md5"))
    return digest.hexdigest().startswith(start)


def _by_key(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights, without seeds and metrics, by layer and variable: `block1_conv1/kernel`."""
    named = {"/".join(weight.path.split("/")[-2:]): weight for weight in model.weights}
    if len(named) != len(model.weights):
        raise ValueError(f"two layers of {model.name} have the same name; embedded ones may not")
    return named
