"""DeepLabv3 against torchvision's, and its weights."""

import hashlib
import math
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from atelier.errors import WeightsError
from cartoon.people import deeplab_weights
from cartoon.people.deeplab import CLASSES, build_deeplabv3
from cartoon.people.deeplab_weights import (
    SHA256_PREFIX,
    URL,
    deeplabv3_resnet101,
    fetch_checkpoint,
    load_torchvision,
    torchvision_shapes,
)
from cartoon.people.layers import ResizeLike

SMALL = {"classes": 5, "width": 4, "depths": (2, 2, 2, 2), "head": 6, "rates": (2, 3, 5)}

# What torchvision 0.28's own ResNet, ASPP and DeepLabV3 give, cut to SMALL and filled by `drawn`,
# of the second of two random pictures: logits by place.
EXPECTED = {
    (64, 64): {
        (0, 0): [-0.9571, -0.2143, 0.0846, -0.1632, -0.5200],
        (32, 21): [-0.9799, 0.6542, -0.4985, -0.1580, 0.5010],
        (63, 63): [-1.7936, 3.4630, -2.7826, -0.5005, -3.0394],
    },
    (75, 50): {
        (0, 0): [-1.0951, -0.5879, 0.3748, -0.3235, -0.0904],
        (37, 16): [-1.1084, 1.5673, -0.6911, -0.3739, 0.9352],
        (74, 49): [-1.6476, 3.2128, -2.5397, -0.4180, -2.9237],
    },
}

KEYS = "fecb8e9c85f05383a03b22e2a9d5994c12303adf7979333097f44ad9de73b8a7"
"""sha256 of the sorted lines `name (shape)` of torchvision 0.28's deeplabv3_resnet101, without
aux_classifier.* and *.num_batches_tracked."""


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights by a rule that torchvision's model was filled by as well."""
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape)
    if len(shape) == 4:
        uniform = (uniform - 0.5) * math.sqrt(24 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        uniform += 0.5
    else:
        uniform += 0.2 if name.endswith("weight") else -0.5
    return uniform.astype(np.float32)


def state_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: drawn(name, shape) for name, shape in torchvision_shapes(model).items()}


def pictures(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(height).random((count, height, width, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    model = build_deeplabv3(**SMALL)
    load_torchvision(model, state_of(model))
    return model


@pytest.fixture(scope="module")
def full() -> keras.Model:
    return build_deeplabv3()


def refusal(call, *arguments, **options) -> str:
    """The one line with which weights are refused."""
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# === The network ===


@pytest.mark.parametrize("size", EXPECTED)
@pytest.mark.parametrize("graph", [False, True])
def test_logits_are_torchvisions(small, size, graph):
    x = pictures(*size)
    logits = small.predict(x, verbose=0) if graph else ops.convert_to_numpy(small(x))
    assert logits.shape == (2, *size, SMALL["classes"])
    assert logits.dtype == np.float32
    for (row, column), expected in EXPECTED[size].items():
        np.testing.assert_allclose(logits[1, row, column], expected, atol=1e-3)


def test_names_and_shapes_are_torchvisions(full):
    lines = sorted(f"{name} {shape}" for name, shape in torchvision_shapes(full).items())
    assert len(lines) == 557
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS
    assert "backbone.layer3.22.conv2.weight (256, 256, 3, 3)" in lines


def test_the_full_network(full):
    assert full.input_shape == (None, None, None, 3)
    assert full.output_shape == (None, None, None, len(CLASSES))
    assert len(CLASSES) == 21
    assert CLASSES[15] == "person"
    names = [f"backbone_layer{stage}_1_conv2" for stage in (1, 2, 3, 4)]
    assert [full.get_layer(name).dilation_rate[0] for name in names] == [1, 1, 2, 4]
    # The first block of a stage sees the stage before, which is not yet as dilated.
    names = [f"backbone_layer{stage}_0_conv2" for stage in (1, 2, 3, 4)]
    assert [full.get_layer(name).dilation_rate[0] for name in names] == [1, 1, 1, 2]
    assert [full.get_layer(name).strides[0] for name in names] == [1, 2, 1, 1]
    rates = [full.get_layer(f"classifier_0_convs_{i}_0").dilation_rate[0] for i in (1, 2, 3)]
    assert rates == [12, 24, 36]


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (33, 16)])
def test_any_size_is_taken(small, size):
    logits = ops.convert_to_numpy(small(pictures(*size)))
    assert logits.shape == (2, *size, SMALL["classes"])
    assert np.isfinite(logits).all()


def test_pictures_of_a_batch_do_not_meet(small):
    x = pictures(40, 32)
    together, alone = (ops.convert_to_numpy(small(batch)) for batch in (x, x[1:]))
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_a_network_of_another_number_of_stages():
    with pytest.raises(ValueError, match="four stages, not 3"):
        build_deeplabv3(depths=(1, 1, 1))


def test_the_round_trip_is_exact(small, tmp_path):
    small.save(tmp_path / "net.keras")
    read = keras.saving.load_model(tmp_path / "net.keras")
    x = pictures(40, 32)
    for picture in (x, pictures(33, 47)):
        np.testing.assert_array_equal(small(picture), read(picture))


def test_mixed_precision_gives_float32_logits_close_by(small):
    mixed = build_deeplabv3(**SMALL, dtype="mixed_bfloat16")
    load_torchvision(mixed, state_of(mixed))
    assert {str(w.dtype) for w in mixed.weights} <= {"float32", "uint32", "int64"}
    x = pictures(40, 32)
    logits = ops.convert_to_numpy(mixed(x))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, small(x), atol=0.3)


def test_it_trains():
    keras.utils.set_random_seed(0)
    model = build_deeplabv3(**{**SMALL, "width": 16, "head": 32})
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)  # Tracing takes longer.
    x = pictures(32, 32)
    labels = np.broadcast_to(np.arange(32) // 16, (2, 32, 32)).astype("int32")  # Left and right.
    losses = model.fit(x, labels, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.any(old != ops.convert_to_numpy(weight)), weight.path


# === ResizeLike ===


def test_interpolation_by_hand():
    maps = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2, 1)
    resized = ops.convert_to_numpy(ResizeLike()([maps, np.zeros((1, 2, 4, 3), np.float32)]))
    # Pixels' centres: new ones at 0.125, 0.375 … of the width, old ones at 0.25 and 0.75.
    np.testing.assert_allclose(resized[0, :, :, 0], [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (17, 31), (5, 7)])
def test_interpolation_is_that_of_keras(rng, size):
    maps = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)
    resized = ResizeLike()([maps, np.zeros((2, *size, 1), np.float32)])
    expected = ops.image.resize(maps, size, interpolation="bilinear", antialias=False)
    np.testing.assert_allclose(resized, expected, atol=1e-5)


def test_one_value_is_spread_exactly():
    maps = np.float32([[[[0.1, -3.3]]]])
    resized = ops.convert_to_numpy(ResizeLike()([maps, np.zeros((1, 9, 13, 4), np.float32)]))
    assert np.unique(resized[..., 0]) == maps[..., 0]
    assert np.unique(resized[..., 1]) == maps[..., 1]


# === Weights ===


def test_what_only_training_needs_is_passed_over(small):
    model = build_deeplabv3(**SMALL)
    extra = {
        "aux_classifier.0.weight": np.ones((1, 2, 3, 3)),
        "backbone.bn1.num_batches_tracked": np.array(7),
    }
    load_torchvision(model, {**state_of(model), **extra})
    for ours, theirs in zip(model.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classifier.4.bias": None}, "the state lacks classifier.4.bias"),
        (
            {"classifier.4.bias": None, "backbone.bn1.weight": None},
            "the state lacks backbone.bn1.weight and 1 more",
        ),
        ({"fc.weight": np.ones(3)}, "the state has fc.weight"),
        (
            {"classifier.4.bias": np.ones(21, np.float32)},
            "classifier.4.bias is float32 (21,), not float (5,)",
        ),
        (
            {"backbone.conv1.weight": np.ones((7, 7, 3, 4))},
            "backbone.conv1.weight is float64 (7, 7, 3, 4), not float (4, 3, 7, 7)",
        ),
        (
            {"classifier.4.bias": np.ones(5, np.int64)},
            "classifier.4.bias is int64 (5,), not float (5,)",
        ),
    ],
)
def test_other_weights_are_one_line_and_change_nothing(change, said):
    model = build_deeplabv3(**SMALL)
    before = model.get_weights()
    state = {name: a for name, a in {**state_of(model), **change}.items() if a is not None}
    assert refusal(load_torchvision, model, state) == f"not this network's weights: {said}"
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_local_checkpoint(monkeypatch, tmp_path):
    """With the reading of the file left to its own tests, and the network cut to SMALL."""
    model = build_deeplabv3(**SMALL)
    state = state_of(model)
    monkeypatch.setattr(deeplab_weights, "build_deeplabv3", lambda dtype: model)
    monkeypatch.setattr(deeplab_weights, "read_checkpoint", {tmp_path / "net.pth": state}.get)
    read = deeplabv3_resnet101(tmp_path / "net.pth")
    assert not read.trainable
    np.testing.assert_array_equal(
        read.get_layer("classifier_4").bias, drawn("classifier.4.bias", (5,))
    )
    del state["classifier.4.bias"]
    assert refusal(deeplabv3_resnet101, tmp_path / "net.pth") == (
        f"{tmp_path / 'net.pth'}: not this network's weights: the state lacks classifier.4.bias; "
        f"it should be a copy of {URL}"
    )


def test_a_checkpoint_that_is_none(tmp_path):
    file = tmp_path / "net.pth"
    assert refusal(deeplabv3_resnet101, file) == f"{file}: no such file"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "nothing")
    assert "no readable PyTorch state dict" in refusal(deeplabv3_resnet101, file)


# === Fetching ===

CONTENT = b"the weights" * 100


@pytest.fixture
def published(monkeypatch, tmp_path):
    """The file that is published and its place in the cache, which is empty."""
    file = tmp_path / "published" / Path(URL).name
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    cache = tmp_path / "home" / "models"
    cache.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(cache.parent))
    monkeypatch.setattr(deeplab_weights, "URL", file.as_uri())
    prefix = hashlib.sha256(CONTENT).hexdigest()[:8]
    monkeypatch.setattr(deeplab_weights, "SHA256_PREFIX", prefix)
    return file, cache / file.name


@pytest.mark.parametrize("cached", [None, CONTENT, CONTENT[:500], CONTENT[::-1]])
def test_the_published_file_is_told_by_its_hash(published, cached):
    file, place = published
    if cached is not None:
        place.write_bytes(cached)
    for _ in range(2):
        assert fetch_checkpoint() == place
        assert place.read_bytes() == CONTENT
        file.unlink(missing_ok=True)


def test_another_file_is_refused_and_not_kept(published):
    file, place = published
    file.write_bytes(CONTENT[::-1])
    assert refusal(deeplabv3_resnet101) == (
        f"{file.name} came with another content than the published one: try again, or download "
        f"{file.as_uri()} elsewhere and pass --deeplab-weights FILE"
    )
    assert not place.exists()


def test_no_file_and_no_network(published):
    file, place = published
    file.unlink()
    place.write_bytes(CONTENT[:500])
    said = refusal(fetch_checkpoint, option="--weights FILE")
    assert said.startswith(f"{file.name} is missing and cannot be fetched (")
    assert said.endswith(f"download {file.as_uri()} elsewhere and pass --weights FILE")


def test_the_hash_is_that_in_the_files_name():
    assert URL.endswith(f"-{SHA256_PREFIX}.pth")
    assert len(SHA256_PREFIX) == 8
