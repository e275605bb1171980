"""What the tests of classification share: ten colours in CIFAR-10's form, and a run on them."""

import dataclasses
import io
import pickle
import shutil
import struct
from typing import ClassVar

import keras
import numpy as np
import pytest

from atelier.nets.weights import save_embedded
from classify import networks
from classify.data import Cifar10, Split
from classify.networks import Network, load_network
from classify.report import build_report
from classify.train import TrainConfig, train

COLOURS = np.array(
    [
        *((230, 30, 30), (30, 230, 30), (30, 30, 230), (230, 230, 30), (230, 30, 230)),
        *((30, 230, 230), (240, 240, 240), (15, 15, 15), (128, 128, 128), (230, 128, 30)),
    ]
)
"""Of each class."""


@pytest.fixture(scope="session")
def colours() -> np.ndarray:
    """The colour of each class, (10, 3)."""
    return COLOURS


@pytest.fixture(scope="session")
def drawn() -> Cifar10:
    """300 pictures to train on and 100 to test: each class a colour, with noise.

    Colours vary from picture to picture, so that some cannot be told apart.
    """
    rng = np.random.default_rng(7)

    def draw(count: int) -> Split:
        labels = np.arange(count) % 10
        colours = COLOURS[labels] + rng.normal(0, 40, (count, 3))
        images = colours[:, None, None] + rng.normal(0, 30, (count, 32, 32, 3))
        return Split(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))

    return Cifar10(draw(300), draw(100), "drawn")


class _Python2Pickler(pickle._Pickler):
    """Writes as Python 2 did, in which the official files were made: bytes are its strings."""

    def save_bytes(self, value):
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


@pytest.fixture(scope="session")
def official_bytes():
    """Gives a value as the official files hold it: protocol 2 of Python 2, and NumPy 1's names."""

    def dump(value: object) -> bytes:
        stream = io.BytesIO()
        _Python2Pickler(stream, protocol=2).dump(value)
        return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")

    return dump


@pytest.fixture(scope="session")
def official(drawn, official_bytes, tmp_path_factory):
    """A folder that holds `cifar-10-batches-py` with `drawn`. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("data")
    parts = {f"data_batch_{n}": drawn.train[60 * n - 60 : 60 * n] for n in range(1, 6)}
    (folder / "cifar-10-batches-py").mkdir()
    for name, part in {**parts, "test_batch": drawn.test}.items():
        rows = np.ascontiguousarray(part.images.transpose(0, 3, 1, 2)).reshape(len(part), 3072)
        content = {b"batch_label": b"drawn", b"labels": part.labels.tolist(), b"data": rows}
        (folder / "cifar-10-batches-py" / name).write_bytes(official_bytes(content))
    return folder


@pytest.fixture
def copy(official, tmp_path):
    """The official files themselves, to be damaged."""
    return shutil.copytree(official / "cifar-10-batches-py", tmp_path / "copy")


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """A tiny strong network and some epochs of ten steps; `out` is to be replaced."""
    return TrainConfig(
        network="strong",
        widths=(8, 16),
        held_back=50,
        epochs=5,
        batch=25,
        optimizer="muon",
        learning_rate=0.24,
        momentum=0.6,
        label_smoothing=0.2,
        flip="alternating",
        translate=2,
        views=6,
    )


@pytest.fixture(scope="session")
def run(tiny, drawn, tmp_path_factory):
    """The folder of a finished run of `tiny`. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "strong"
    train(dataclasses.replace(tiny, out=folder), data=drawn)
    return folder


@pytest.fixture(scope="session")
def network(run) -> Network:
    """What that run has trained. Tests leave it as it is."""
    return Network.load(run)


@pytest.fixture(scope="session")
def namer() -> Network:
    """A network of literal weights: the class whose colour is nearest to the mean of a picture."""
    image = keras.Input((32, 32, 3))
    cells = keras.layers.AveragePooling2D(4)(image)
    head = keras.layers.Dense(10)
    model = keras.Model(image, head(keras.layers.GlobalAveragePooling2D()(cells)))
    colours = np.float32(COLOURS / 255)
    # -20 · |x - c|², without the part that is the same for all classes.
    head.set_weights([40 * colours.T, -20 * (colours**2).sum(axis=1)])
    return Network(model, {"network": "namer", "parameters": 40, "views": 1})


@pytest.fixture
def report_network() -> Network:
    """The report's network, untrained, but as sure of itself as a trained one."""
    keras.utils.set_random_seed(0)
    model = build_report()
    model.set_weights([2 * w if w.ndim > 1 else w + 0.1 for w in model.get_weights()])
    card = {"network": "report", "shape": {"network": "report"}, "parameters": 2915114, "views": 1}
    return Network(model, card)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """An empty folder of embedded networks."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(networks, "WEIGHTS", folder)
    load_network.cache_clear()
    yield folder
    load_network.cache_clear()


@pytest.fixture
def embedded(weights, network) -> Network:
    """Takes the trained tiny network for the embedded `strong`."""
    save_embedded(network.model, "strong", network.card, weights)
    return load_network("strong")


@pytest.fixture
def reload(tmp_path):
    """Gives a model after a round trip through a .keras file."""

    def through_a_file(model: keras.Model) -> keras.Model:
        model.save(tmp_path / "model.keras")
        return keras.saving.load_model(tmp_path / "model.keras")

    return through_a_file
