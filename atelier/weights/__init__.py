"""Trained weights: those embedded here as float16, and those fetched once and cached.

An embedded network is two files beside this one: `NAME.npz` holds its arrays, keyed by layer and
variable, and `NAME.json` is its card: what trained it, on what, how long, and how good it is.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np

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
    file = Path(folder) / f"{name}.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            arrays = {key: arrays[key].astype(np.float32) for key in arrays.files}
    except FileNotFoundError:
        raise WeightsError(f"{file} is missing; install the package anew") from None
    except Exception as error:  # A damaged zip raises half a dozen kinds of error.
        reason = " ".join(str(error).split())
        raise WeightsError(f"{file} is damaged ({reason}); install the package anew") from None
    variables = {_key(variable): variable for variable in model.variables}
    if variables.keys() != arrays.keys() or any(
        tuple(variables[key].shape) != arrays[key].shape for key in arrays
    ):
        raise WeightsError(f"{file} holds the weights of another network; install the package anew")
    for key, array in arrays.items():
        variables[key].assign(array)


def save_embedded(model: keras.Model, name: str, card: dict, folder: Path = HERE) -> Path:
    """Writes `model`'s variables as float16, and its card; returns the file of weights."""
    file = Path(folder) / f"{name}.npz"
    arrays = {_key(variable): np.float16(variable) for variable in model.variables}
    with atomic_path(file) as temporary:
        np.savez_compressed(temporary, **arrays)
    card_file = file.with_suffix(".json")
    with atomic_path(card_file) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return file


def card(name: str, folder: Path = HERE) -> dict:
    """The card of the embedded weights `name`."""
    return json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8"))


def fetch(url: str, file_hash: str, *, option: str) -> Path:
    """A published file from Keras' cache (`KERAS_HOME`), fetched on first use, checked by hash.

    Args:
        url: where it is published.
        file_hash: its published md5 or sha256.
        option: the flag by which a user may pass a local copy, for the message.

    Raises:
        WeightsError: it cannot be fetched, or what came is something else.
    """
    name = url.rsplit("/", 1)[1]
    advice = f"connect to the network once, or download {url} elsewhere and pass {option}"
    try:
        path = keras.utils.get_file(name, url, cache_subdir="models", file_hash=file_hash)
    except Exception as error:  # get_file raises bare Exception when it is offline.
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"{name} is missing and cannot be fetched ({reason}): {advice}"
        ) from None
    return Path(path)


def _key(variable) -> str:
    return "/".join(variable.path.split("/")[-2:])
