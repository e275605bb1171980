"""Ready feature networks."""

import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from atelier.errors import WeightsError
from atelier.nets import weights as stored
from atelier.nets.features import VGG19_LITE, load_features, vgg19, vgg19_lite
from atelier.nets.vgg import VGG, preprocess


def save_as_keras_publishes(model: keras.Model, path: Path) -> None:
    """The file format of Keras 2's `save_weights("x.h5")`, of all published weights."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def narrow() -> VGG:
    """VGG19's layers with few channels."""
    return VGG(widths=(2, 2, 3, 3, 4))


def refusal(weights) -> str:
    with pytest.raises(WeightsError) as caught:
        vgg19(weights)
    text = str(caught.value)
    assert "\n" not in text
    return text


# === vgg19-lite ===


def test_the_embedded_network_is_small():
    assert (stored.HERE / "vgg19_lite.npz").stat().st_size < 2_500_000


def test_the_embedded_network_loads_and_sees(photo, painting):
    network = load_features()
    assert network.name == "vgg19_lite"
    assert not network.trainable_variables
    outputs = network.features(["block1_conv1", "block5_conv2"])
    seen = [outputs(preprocess(image[None])) for image in (photo, painting)]
    for first, second in zip(*seen, strict=True):
        assert np.isfinite(first).all()
        assert np.std(first) > 0
        assert np.std(second) > 0
        assert abs(np.mean(first) - np.mean(second)) > 1e-3


def test_the_embedded_network_is_trained():
    """Its weights are not those of a fresh network: all of them have been set."""
    fresh = VGG(**VGG19_LITE)
    for weight, old in zip(vgg19_lite().weights, fresh.weights, strict=True):
        assert weight.shape == old.shape
        if weight.path.endswith("bias"):
            assert np.any(weight != 0), weight.path


def test_options_reach_the_network():
    network = load_features(pooling="average", precision="bfloat16")
    assert network.pooling == "average"
    assert network.policy.name == "mixed_bfloat16"
    assert vgg19_lite().policy.name == "float32"


def test_bfloat16_gives_nearly_the_same_features(photo):
    name = ["block3_conv1"]
    x = preprocess(photo[None])
    exact = np.asarray(vgg19_lite().features(name)(x))
    fast = np.asarray(keras.ops.cast(vgg19_lite(precision="bfloat16").features(name)(x), "float32"))
    assert 0 < np.abs(fast - exact).mean() < 0.02 * np.abs(exact).mean()


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="choose vgg19-lite or vgg19"):
        load_features("vgg16")


# === The real VGG19 ===


def test_keras_published_file_is_read(tmp_path, monkeypatch):
    keras.utils.set_random_seed(3)
    theirs = keras.applications.VGG19(weights=None, include_top=False)
    file = tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    save_as_keras_publishes(theirs, file)
    network = load_features("vgg19", vgg19_weights=file)
    assert not network.trainable_variables
    for weight, expected in zip(network.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)

    # Damage that HDF5 itself finds, beyond the header.
    with open(file, "rb+") as stream:
        stream.truncate(1_000_000)
    assert refusal(file).startswith(f"{file}: not Keras' VGG19 weights without top (")
    with open(file, "rb+") as stream:
        stream.truncate(os.stat(file).st_size - 4)
    assert "not Keras' VGG19 weights" in refusal(file)


def test_without_a_file_keras_is_fetched(tmp_path, monkeypatch):
    asked = []

    def fetch(url, file_hash, *, option):
        asked.append((url, file_hash, option))
        raise WeightsError("no network")

    monkeypatch.setattr(stored, "fetch", fetch)
    assert refusal(None) == "no network"
    from keras.src.applications import vgg19 as theirs

    url, file_hash, option = asked[0]
    assert url == theirs.WEIGHTS_PATH_NO_TOP
    assert option == "--vgg19-weights FILE"
    assert len(file_hash) == 32


def test_a_missing_file_is_told_with_its_source(tmp_path):
    for missing in (tmp_path / "none.h5", tmp_path):
        said = refusal(missing)
        assert said.startswith(f"{missing}: no such file; it should be a copy of https://")


@pytest.mark.parametrize("kind", ["empty.h5", "text.h5", "bytes.npz", "no-suffix"])
def test_files_that_are_no_weights_are_one_line(tmp_path, kind):
    file = tmp_path / kind
    file.write_bytes(b"" if kind == "empty.h5" else b"no weights at all")
    assert refusal(file).startswith(f"{file}: not Keras' VGG19 weights without top (")


def test_weights_of_other_networks_are_one_line(tmp_path):
    file = tmp_path / "other.h5"
    for other in (VGG((2, 2), (1, 1)), narrow()):
        save_as_keras_publishes(other, file)
        assert "not Keras' VGG19 weights without top (" in refusal(file)
    with h5py.File(file, "w") as plain:
        plain["a"] = np.zeros(3)
    assert "not Keras' VGG19 weights without top (" in refusal(file)


def test_an_error_deep_in_hdf5_is_one_line(tmp_path, monkeypatch):
    def fail(self, path):
        raise RuntimeError(
            "Unable to synchronously check link\nexistence (free block size is zero?)"
        )

    monkeypatch.setattr(VGG, "load_weights", fail)
    (tmp_path / "x.h5").touch()
    assert "(Unable to synchronously check link existence (free block" in refusal(tmp_path / "x.h5")
