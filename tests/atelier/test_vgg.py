"""The VGG class: names, shapes, borders, serialisation, and equality with Keras' own VGG19."""

import keras
import numpy as np
import pytest
from keras import ops

from atelier.nets.vgg import CAFFE_MEAN, VGG, PaddedConv2D, deprocess, preprocess

VGG19_LAYERS = [
    f"block{block}_conv{index}"
    for block, depth in enumerate((2, 2, 4, 4, 4), start=1)
    for index in range(1, depth + 1)
]


def tiny(**options) -> VGG:
    """Two blocks, three convolutions."""
    return VGG(**{"widths": (4, 6), "depths": (2, 1), **options})


def batch(height: int = 12, width: int = 10, count: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(-100, 100, (count, height, width, 3)).astype(np.float32)


def arrays(outputs: dict) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(ops.cast(x, "float32")) for name, x in outputs.items()}


# === preprocess and deprocess ===


def test_preprocess_by_hand():
    x = preprocess(np.array([[[255, 0, 10]]], np.uint8))
    assert x.dtype == np.float32
    # Red, green, blue to blue, green, red, less the mean of each.
    np.testing.assert_allclose(x, [[[10 - 103.939, 0 - 116.779, 255 - 123.68]]], rtol=1e-6)


def test_preprocess_is_keras_own(photo):
    expected = keras.applications.vgg19.preprocess_input(photo[None].astype(np.float32))
    np.testing.assert_allclose(preprocess(photo[None]), expected, atol=1e-4)


def test_deprocess_inverts_preprocess_exactly(photo):
    levels = np.arange(256, dtype=np.uint8)
    every = np.stack([levels, levels[::-1], levels], -1)
    for image in (photo, every, photo[None]):
        np.testing.assert_array_equal(deprocess(preprocess(image)), image)


def test_deprocess_rounds_and_clips():
    x = np.array([[-200.0, 0.1, 300.0], [0.4, -0.2, 0.3]]) - [0, 0.879, 0]
    # Blue 103.939 - 200; green 116.779 + 0.1 - 0.879 = 116; red 423.68.
    assert deprocess(x).tolist() == [[255, 116, 0], [124, 116, 104]]
    assert CAFFE_MEAN == (103.939, 116.779, 123.68)


# === Names and shapes ===


def test_the_default_is_vgg19_without_its_top():
    network = VGG()
    assert list(network.convolutions) == VGG19_LAYERS
    assert network.count_params() == 20_024_384  # As Keras' summary of VGG19 says.
    shapes = {name: tuple(x.shape) for name, x in network.output.items()}
    assert shapes["block1_conv1"] == (None, None, None, 64)
    assert shapes["block5_conv4"] == (None, None, None, 512)
    pools = [layer.name for layer in network.layers if layer.name.endswith("_pool")]
    assert pools == ["block1_pool", "block2_pool", "block3_pool", "block4_pool"]


@pytest.mark.parametrize("padding", ["zeros", "edge", "reflect"])
@pytest.mark.parametrize(("height", "width"), [(12, 10), (7, 9), (4, 4)])
def test_maps_are_halved_by_each_block(padding, height, width):
    outputs = tiny(padding=padding)(batch(height, width))
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {
        "block1_conv1": (2, height, width, 4),
        "block1_conv2": (2, height, width, 4),
        "block2_conv1": (2, height // 2, width // 2, 6),
    }


def test_a_projection_is_linear_and_feeds_nothing():
    keras.utils.set_random_seed(0)
    network = tiny(projections={"block1_conv2": 9})
    plain = tiny()
    for name in ("block1_conv1", "block1_conv2", "block2_conv1"):
        source = f"{name}_relu" if name == "block1_conv2" else name
        plain.get_layer(name).set_weights(network.get_layer(source).get_weights())
    projected, expected = arrays(network(batch())), arrays(plain(batch()))
    np.testing.assert_allclose(projected["block2_conv1"], expected["block2_conv1"], rtol=1e-4)
    kernel, bias = network.get_layer("block1_conv2").get_weights()
    assert kernel.shape == (1, 1, 4, 9)
    by_hand = expected["block1_conv2"] @ kernel[0, 0] + bias
    np.testing.assert_allclose(projected["block1_conv2"], by_hand, rtol=1e-3, atol=1e-3)
    assert projected["block1_conv2"].min() < 0 <= projected["block1_conv1"].min()


def test_pooling_is_of_its_kind():
    keras.utils.set_random_seed(0)
    largest, mean = tiny(), tiny(pooling="average")
    mean.set_weights(largest.get_weights())
    first = arrays(largest(batch()))["block1_conv2"]
    cells = first.reshape(2, 6, 2, 5, 2, 4)
    for network, pooled in ((largest, cells.max((2, 4))), (mean, cells.mean((2, 4)))):
        expected = network.get_layer("block2_conv1")(pooled)
        got = network(batch())["block2_conv1"]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": (4,), "depths": (1, 1)}, "one width and one depth a block, not 1, 2"),
        ({"projections": {"block9_conv1": 3}}, "no layer 'block9_conv1' to project"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        tiny(**options)


@pytest.mark.parametrize("option", ["padding", "pooling"])
def test_unknown_kinds_are_refused(option):
    with pytest.raises(KeyError):
        tiny(**{option: "other"})


# === Borders ===


@pytest.mark.parametrize(
    ("continuation", "row"), [("symmetric", [1, 1, 2, 3, 3]), ("reflect", [2, 1, 2, 3, 2])]
)
def test_a_padded_convolution_continues_its_input(continuation, row):
    layer = PaddedConv2D(1, (1, 3), continuation, use_bias=False)
    x = np.array([1, 2, 3], np.float32).reshape(1, 1, 3, 1)
    layer.build(x.shape)
    for shift in range(3):
        kernel = np.zeros((1, 3, 1, 1), np.float32)
        kernel[0, shift] = 1
        layer.set_weights([kernel])
        assert ops.convert_to_numpy(layer(x)).ravel().tolist() == row[shift : shift + 3]


def test_a_flat_picture_has_flat_features_but_with_zero_padding():
    flat = np.full((1, 16, 16, 3), 50, np.float32)
    for padding, spread in (("edge", 0), ("reflect", 0), ("zeros", 1)):
        keras.utils.set_random_seed(0)
        feature = arrays(tiny(padding=padding)(flat))["block2_conv1"]
        assert (np.ptp(feature, axis=(1, 2)).max() > 0.01) == spread, padding


def test_edge_padding_takes_maps_of_one_pixel():
    assert tiny(padding="edge")(batch(2, 2))["block2_conv1"].shape == (2, 1, 1, 6)


# === A layer's own test: build, call, dtype, serialise ===


@pytest.mark.parametrize("continuation", ["symmetric", "reflect"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_padded_convolution_as_a_layer(continuation, dtype):
    layer = PaddedConv2D(5, (3, 5), continuation, activation="relu", dtype=dtype)
    x = batch()
    y = layer(x)
    assert y.shape == layer.compute_output_shape(x.shape) == (2, 12, 10, 5)
    assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
    assert layer.kernel.dtype == "float32"
    again = PaddedConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(arrays({"y": again(x)})["y"], arrays({"y": y})["y"])


# === Serialisation ===


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "edge"},
        {"padding": "reflect", "pooling": "average"},
        {"padding": "edge", "projections": {"block1_conv2": 3, "block2_conv1": 2}},
        {"pooling": "average", "projections": {"block1_conv1": 5}},
    ],
    ids=["plain", "edge", "reflect", "projections", "average"],
)
def test_the_keras_round_trip_is_exact(tmp_path, options, dtype):
    network = tiny(**options, dtype=dtype, name="mine")
    network.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert type(loaded) is VGG
    assert loaded.get_config() == network.get_config()
    assert loaded.name == "mine"
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in network.layers]
    before, after = arrays(network(batch())), arrays(loaded(batch()))
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_the_config_holds_every_argument():
    arguments = {
        "widths": (3, 5),
        "depths": (1, 2),
        "padding": "edge",
        "pooling": "average",
        "projections": {"block1_conv1": 2},
        "name": "mine",
    }
    config = VGG(**arguments, dtype="mixed_bfloat16").get_config()
    assert {name: config[name] for name in arguments} == arguments
    assert config["dtype"]["config"] == {"name": "mixed_bfloat16"}


def test_a_frozen_network_is_loaded_frozen(tmp_path):
    network = tiny()
    network.trainable = False
    network.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert not loaded.trainable
    assert loaded.trainable_variables == []


def test_mixed_bfloat16_computes_in_it_and_keeps_weights_in_float32():
    network = tiny(dtype="mixed_bfloat16", projections={"block2_conv1": 3})
    for x in network(batch()).values():
        assert keras.backend.standardize_dtype(x.dtype) == "bfloat16"
    assert {w.dtype for w in network.weights} == {"float32"}


@pytest.mark.parametrize("padding", ["zeros", "edge"])
def test_one_train_step_changes_every_weight(padding):
    keras.utils.set_random_seed(0)
    network = tiny(padding=padding, projections={"block1_conv2": 3})
    model = network.features(["block1_conv2", "block2_conv1"])
    model.compile(keras.optimizers.SGD(0.1), loss=["mse", "mse"])
    before = network.get_weights()
    x = batch() / 100
    targets = [np.ones((2, 12, 10, 3), np.float32), np.ones((2, 6, 5, 6), np.float32)]
    first = model.train_on_batch(x, targets)[0]
    assert all((a != b).any() for a, b in zip(before, network.get_weights(), strict=True))
    assert model.train_on_batch(x, targets)[0] < first


# === features ===


def test_features_are_the_named_outputs_in_the_named_order():
    network = tiny()
    whole = arrays(network(batch()))
    model = network.features(["block2_conv1", "block1_conv1"])
    for name, x in zip(["block2_conv1", "block1_conv1"], model(batch()), strict=True):
        np.testing.assert_allclose(x, whole[name], rtol=1e-5, atol=1e-5)
    alone = network.features(["block1_conv2"])(batch())
    np.testing.assert_allclose(alone, whole["block1_conv2"], rtol=1e-5, atol=1e-5)


def test_features_are_cut_after_the_deepest():
    names = [layer.name for layer in tiny().features(["block1_conv2"]).layers]
    assert names == ["bgr", "block1_conv1", "block1_conv2"]


@pytest.mark.parametrize("name", ["block9_conv1", "block1_pool", "bgr", ""])
def test_unknown_layers_are_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match="the layers are block1_conv1, block1_conv2, block2_conv1"):
        tiny().features(["block1_conv1", name])


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_receptive_is_what_a_changed_pixel_reaches(pooling):
    network = VGG((2, 2, 2), (2, 1, 2), pooling=pooling, projections={"block2_conv1": 2})
    ones = [np.ones_like(w) if w.ndim > 1 else np.zeros_like(w) for w in network.get_weights()]
    network.set_weights(ones)  # Nothing cancels and nothing is cut off by ReLU.
    size, centre = 64, 8
    flat = np.ones((size + 1, 1, size, 3), np.float32)
    flat[np.arange(size), 0, np.arange(size)] = 2  # Row i has pixel i changed; the last has none.
    flat = np.repeat(flat, 8, axis=1)
    for name, x in arrays(network(flat)).items():
        stride, reach = network.receptive(name)
        position = centre * (size // stride) // 16
        seen = np.flatnonzero((x[:-1] != x[-1]).any(axis=(1, 3))[:, position])
        cell = position * stride
        assert (seen[0], seen[-1]) == (cell - reach, cell + stride - 1 + reach), name
    strides = {name: network.receptive(name) for name in network.convolutions}
    assert strides == {
        "block1_conv1": (1, 1),
        "block1_conv2": (1, 2),
        "block2_conv1": (2, 4),
        "block3_conv1": (4, 8),
        "block3_conv2": (4, 12),
    }


# === Against Keras' own VGG19 ===


def test_with_the_same_weights_it_is_keras_vgg19():
    keras.utils.set_random_seed(0)
    theirs = keras.applications.VGG19(weights=None, include_top=False)
    ours = VGG()
    ours.set_weights(theirs.get_weights())
    x = batch(32, 48, count=1)
    names = ["block1_conv2", "block3_conv4", "block5_conv4"]
    expected = keras.Model(theirs.input, [theirs.get_layer(name).output for name in names])(x)
    for name, ours_, theirs_ in zip(names, ours.features(names)(x), expected, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-4, atol=1e-3, err_msg=name)
