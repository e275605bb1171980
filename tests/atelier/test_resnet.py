"""ResNet's parts by hand, and torchvision's arrays in Keras' layers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from atelier.errors import WeightsError
from atelier.nets.resnet import Blocks, fill, layer_slots, resnet


def stages(size, **options):
    inputs = keras.Input((None, None, 3))
    outputs = resnet(inputs, Blocks(), "body", width=2, depths=(2, 1, 2, 1), **options)
    maps = keras.Model(inputs, outputs)(np.ones((1, *size, 3), np.float32))
    return [tuple(each.shape[1:]) for each in maps]


@pytest.mark.parametrize(
    ("dilated", "expected"),
    [
        (0, [(17, 10, 8), (9, 5, 16), (5, 3, 32), (3, 2, 64)]),
        (1, [(17, 10, 8), (9, 5, 16), (5, 3, 32), (5, 3, 64)]),
        (2, [(17, 10, 8), (9, 5, 16), (9, 5, 32), (9, 5, 64)]),
    ],
)
def test_each_stage_halves_odd_sizes_upwards_or_is_dilated(dilated, expected):
    assert stages((66, 37), dilated=dilated) == expected


def test_dilation_starts_with_the_second_block_of_a_stage():
    inputs = keras.Input((None, None, 3))
    outputs = resnet(inputs, Blocks(), "body", width=2, depths=(2, 2, 2, 2), dilated=2)
    model = keras.Model(inputs, outputs)
    rates = [
        [model.get_layer(f"body_layer{stage}_{block}_conv2").dilation_rate[0] for block in (0, 1)]
        for stage in (1, 2, 3, 4)
    ]
    assert rates == [[1, 1], [1, 1], [1, 2], [2, 4]]


def test_strided_convolutions_are_padded_alike_on_all_sides():
    """Of the rows 0 to 3, a 3×3 convolution is centred on 0 and 2, where Keras' is on 1 and 3."""
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, Blocks().conv(inputs, "conv", 1, 3, stride=2))
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1
    model.get_layer("conv").set_weights([kernel])
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(model(x)[0, :, :, 0], [[0, 2], [8, 10]])


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_normalisation_keeps_its_statistics(frozen):
    inputs = keras.Input((None, None, 1))
    build = Blocks(epsilon=0.0, frozen=frozen)
    model = keras.Model(inputs, build.norm(inputs, "norm"))
    model.get_layer("norm").set_weights(
        [np.array([value], np.float32) for value in (3, 1, 2, 4)]  # γ, β, mean, variance.
    )
    x = np.array([4, 8], np.float32).reshape(1, 1, 2, 1)
    in_use = 3 * (x - 2) / 2 + 1
    np.testing.assert_array_equal(model(x), in_use)
    in_training = ops.convert_to_numpy(model(x, training=True))
    kept = np.array_equal(in_training, in_use)
    assert kept == frozen
    assert (model.get_layer("norm").moving_mean[0] == 2) == frozen
    assert len(model.trainable_weights) == (0 if frozen else 2)


def test_another_number_of_stages():
    with pytest.raises(ValueError, match="four stages, not 3"):
        resnet(keras.Input((8, 8, 3)), Blocks(), "body", depths=(1, 1, 1))


# === Weights ===


@pytest.fixture
def slots():
    inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(3, (1, 2), name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    outputs = layers.Dense(4, use_bias=False, name="dense")(layers.ReLU(name="relu")(x))
    model = keras.Model(inputs, outputs)
    return {
        name: slot
        for layer in model.layers
        for name, slot in layer_slots(layer, f"net.{layer.name}")
    }


def state_of(slots, rng):
    return {name: rng.random(slot.shape).astype(np.float32) for name, slot in slots.items()}


def test_names_and_shapes_are_pytorchs(slots):
    assert {name: slot.shape for name, slot in slots.items()} == {
        "net.conv.weight": (3, 2, 1, 2),
        "net.conv.bias": (3,),
        "net.norm.weight": (3,),
        "net.norm.bias": (3,),
        "net.norm.running_mean": (3,),
        "net.norm.running_var": (3,),
        "net.dense.weight": (4, 3),
    }


def test_arrays_come_into_the_order_of_keras(slots, rng):
    state = state_of(slots, rng)
    fill(slots, {**state, "net.norm.num_batches_tracked": np.array(7)})
    kernel = slots["net.conv.weight"].variable.numpy()
    assert kernel[0, 1, 1, 2] == state["net.conv.weight"][2, 1, 0, 1]
    assert slots["net.dense.weight"].variable.numpy()[2, 3] == state["net.dense.weight"][3, 2]
    variance = slots["net.norm.running_var"].variable
    assert variance.path.endswith("norm/moving_variance")
    np.testing.assert_array_equal(variance, state["net.norm.running_var"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net.conv.bias": None, "net.dense.weight": None}, "lacks net.conv.bias and 1 more"),
        ({"net.dense.bias": np.zeros(4, np.float32)}, "has net.dense.bias"),
        ({"net.conv.bias": np.zeros(4, np.float32)}, "net.conv.bias is float32 (4,), not float"),
        ({"net.dense.weight": np.zeros((4, 3), int)}, "net.dense.weight is int64 (4, 3), not fl"),
    ],
)
def test_another_state_is_refused_and_changes_nothing(slots, rng, change, said):
    before = {name: slot.variable.numpy() for name, slot in slots.items()}
    state = {**state_of(slots, rng), **change}
    with pytest.raises(WeightsError) as caught:
        fill(slots, {name: array for name, array in state.items() if array is not None})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    for name, slot in slots.items():
        np.testing.assert_array_equal(slot.variable, before[name])
