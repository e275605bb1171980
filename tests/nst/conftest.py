"""What the tests of style transfer share: a tiny feature network, and no waiting for a big one."""

import importlib

import keras
import numpy as np
import pytest

from atelier.media.images import save_image
from atelier.nets.vgg import VGG


@pytest.fixture(scope="session")
def network() -> VGG:
    """Random weights, with the report's layers; features of photos are of the order of 100."""
    keras.utils.set_random_seed(1)
    network = VGG(widths=(12, 8, 8, 8, 8), depths=(1, 1, 1, 1, 2), padding="edge", name="tiny")
    network.set_weights([2 * w if w.ndim > 1 else w + 1 for w in network.get_weights()])
    return network


@pytest.fixture
def tiny_features(monkeypatch, network) -> VGG:
    """Commands take the tiny network, whichever features they are told to take."""
    for module in ("nst.transfer", "nst.evaluate"):
        # By import: the function `nst.stylize` hides the module of that name.
        module = importlib.import_module(module)
        monkeypatch.setattr(module, "load_features", lambda name, **options: network)
    return network


@pytest.fixture
def files(tmp_path, photo, painting):
    """photo.png and painting.png in `tmp_path`, which is given back."""
    save_image(tmp_path / "photo.png", photo)
    save_image(tmp_path / "painting.png", painting)
    return tmp_path


@pytest.fixture(scope="session")
def noise_photo() -> np.ndarray:
    """A smooth random picture, uint8 (70, 90, 3)."""
    rng = np.random.default_rng(5)
    waves = rng.normal(0, 1, (70, 90, 3)).cumsum(0).cumsum(1)
    waves = (waves - waves.min()) / np.ptp(waves)
    return np.uint8(255 * waves)


@pytest.fixture(scope="session")
def ycc():
    """Gives JPEG's YCbCr of an RGB picture, without offsets."""

    def convert(image):
        r, g, b = np.moveaxis(np.float64(image), -1, 0)
        y = 0.299 * r + 0.587 * g + 0.114 * b
        return np.stack([y, (b - y) * 0.564, (r - y) * 0.713], axis=-1)

    return convert


@pytest.fixture
def teacher_file(tmp_path):
    """A small teacher of the published shape but random weights, predicting 7 channels a tap."""
    rng = np.random.default_rng(3)
    arrays, before = {}, 3

    def convolution(name, inputs, outputs, side):
        spread = np.sqrt(2 / (inputs * side**2))
        arrays[f"{name}.weight"] = np.float32(rng.normal(0, spread, (outputs, inputs, side, side)))
        arrays[f"{name}.bias"] = np.float32(rng.normal(0, 0.1, outputs))

    shape = ((16, 2), (32, 2), (64, 4), (128, 4), (128, 1))
    for block, (width, depth) in enumerate(shape, start=1):
        for index in range(1, depth + 1):
            convolution(f"conv{block}{index}", before, width, 3)
            before = width
        convolution(f"conv{block}1_aux", width, 7, 1)
    arrays["conv11.weight"] /= 60  # Features are of the order of 1, as the published ones.
    np.savez(tmp_path / "teacher.npz", **arrays)
    return tmp_path / "teacher.npz"
