"""Receptive fields: against gradients, published numbers, and the report's formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from atelier.errors import SettingsError
from detection.receptive import (
    input_coordinate,
    input_extent,
    output_extent,
    receptive_field,
    receptive_fields,
    simplified_to_map,
    simplified_to_picture,
)

# === Against gradients ===


def seen(model, layer: str, position) -> np.ndarray:
    """Which pixels the output of a layer at a position depends on: bool (H, W)."""
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    rng = np.random.default_rng(0)
    for weight in part.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    picture = tf.constant(rng.uniform(0.5, 1.5, (1, *model.input_shape[1:])), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(picture)
        value = tf.reduce_sum(part(picture, training=False)[0, position[0], position[1]])
    return tape.gradient(value, picture).numpy()[0].any(axis=-1)


def span(axis: np.ndarray) -> tuple[int, int]:
    (places,) = axis.nonzero()
    return int(places[0]), int(places[-1])


def assert_field(model, layer: str, *, dense: bool = True) -> None:
    """The gradient's support at the corners and in the middle is the field within the picture."""
    field = receptive_field(model, layer)
    height, width = field.map_size
    assert tuple(model.get_layer(layer).output.shape[1:3]) == field.map_size
    rows, columns = model.input_shape[1:3]
    inside = 0
    for position in [(height // 2, width // 2), (0, 0), (height - 1, width - 1), (0, width // 3)]:
        support = seen(model, layer, position)
        x1, y1, x2, y2 = field.box(position).astype(int)
        inside += x1 >= 0 and y1 >= 0 and x2 <= columns and y2 <= rows
        expected = np.zeros_like(support)
        expected[max(y1, 0) : y2, max(x1, 0) : x2] = True
        if dense:
            np.testing.assert_array_equal(support, expected, f"{layer} at {position}")
        else:
            for axis in (0, 1):
                assert span(support.any(axis=axis)) == span(expected.any(axis=axis))
    assert inside, "no position whose field lies wholly in the picture was tried"


def convolution(filters=2, kernel=3, **options):
    return layers.Conv2D(filters, kernel, activation="relu", **options)


def chain(*steps, size=(61, 54), name="chain") -> keras.Model:
    return keras.Sequential([keras.Input((*size, 2)), *steps], name=name)


CHAINS = {
    "valid": [convolution(), convolution(kernel=(5, 2)), convolution(kernel=1)],
    "same": [convolution(padding="same"), convolution(kernel=4, padding="same")],
    "strided": [convolution(strides=2), convolution(kernel=(3, 4), strides=(3, 2))],
    "strided same": [
        convolution(strides=2, padding="same"),
        convolution(kernel=5, strides=3, padding="same"),
        convolution(padding="same"),
    ],
    "VGG's": [
        convolution(padding="same"),
        layers.AveragePooling2D(2),
        convolution(padding="same"),
        convolution(padding="same"),
        layers.AveragePooling2D(2),
        convolution(padding="same"),
    ],
    "pooling, overlapping": [
        layers.AveragePooling2D(3, 2, padding="same"),
        layers.AveragePooling2D((2, 3), strides=2),
    ],
    "padding": [
        layers.ZeroPadding2D(((0, 1), (2, 3))),
        convolution(strides=2),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Cropping2D(((1, 2), (0, 3))),
        convolution(),
    ],
    "depthwise": [
        layers.DepthwiseConv2D(3, strides=2, padding="same"),
        layers.SeparableConv2D(2, 5, padding="same"),
        layers.Dropout(0.5),
        layers.Dense(3),
    ],
    "dilated": [convolution(), convolution(dilation_rate=3, padding="same"), convolution()],
    "dilated along one side": [convolution(kernel=(3, 5)), convolution(dilation_rate=(4, 1))],
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_field_of_a_chain_is_the_gradients_support(name):
    model = chain(*CHAINS[name])
    assert_field(model, model.layers[-1].name, dense="dilated along" not in name)


@pytest.mark.parametrize("size", [(33, 40), (34, 41), (35, 42), (36, 43)])
def test_the_padding_of_same_depends_on_the_pictures_size(size):
    model = chain(
        convolution(strides=2, padding="same"),
        layers.AveragePooling2D(3, 2, padding="same", name="last"),
        size=size,
    )
    assert_field(model, "last")


def test_sizes_that_differ_by_one_differ_in_offset():
    def offset(size):
        return receptive_field(
            chain(convolution(strides=2, padding="same", name="c"), size=size), "c"
        ).offset

    assert offset((33, 34)) == (0.0, 1.0), "one row of padding in front, or none"


def residual() -> keras.Model:
    """Two blocks with shortcuts and a concatenation, of fields that differ."""
    picture = keras.Input((72, 65, 2))
    x = convolution(name="stem", padding="same", strides=2)(picture)
    y = convolution(padding="same", kernel=5)(x)
    y = convolution(padding="same")(y)
    x = layers.Add(name="sum")([x, y])
    left = convolution(padding="same", strides=2)(x)
    right = layers.AveragePooling2D(2, padding="same")(x)
    x = layers.Concatenate(name="both")([left, right])
    x = x + convolution(4, kernel=1)(x)
    return keras.Model(picture, layers.ReLU(name="end")(x), name="residual")


@pytest.mark.parametrize("layer", ["stem", "sum", "both", "end"])
def test_of_branches_the_smallest_span_that_holds_all_counts(layer):
    assert_field(residual(), layer)


def test_branches_that_lie_beside_each_other_are_held_by_one_span():
    picture = keras.Input((30, 30, 2))
    left = layers.Cropping2D(((0, 6), (0, 6)))(convolution()(picture))
    right = layers.Cropping2D(((6, 0), (6, 0)))(convolution()(picture))
    model = keras.Model(picture, layers.Average(name="end")([left, right]))
    field = receptive_field(model, "end")
    assert (field.size, field.first, field.offset) == ((9, 9), (0, 0), (4.0, 4.0))
    assert_field(model, "end", dense=False)


def test_a_nested_models_layers_are_listed_by_path():
    inner = chain(
        convolution(name="a", strides=2), convolution(name="b"), size=(30, 30), name="inner"
    )
    picture = keras.Input((32, 32, 2))
    x = inner(layers.ZeroPadding2D(1)(convolution(kernel=5)(picture)))
    model = keras.Model(picture, convolution(name="end")(x))
    fields = receptive_fields(model)
    assert [name for name in fields if "/" in name] == ["inner/a", "inner/b"]
    assert fields["inner/b"].size == fields["inner"].size == (11, 11)
    assert_field(model, "end")


# === Against published numbers ===


@pytest.fixture(scope="module")
def vgg16():
    return keras.applications.VGG16(weights=None, include_top=False)


def test_vgg16_as_published(vgg16):
    """Araujo, Norris & Sim (2019), "Computing receptive fields", table 1: 212 and 32 at the end."""
    fields = receptive_fields(vgg16, (600, 800))
    last, conv5 = fields["block5_pool"], fields["block5_conv3"]
    assert (last.size, last.stride, last.map_size) == ((212, 212), (32, 32), (18, 25))
    assert (conv5.size, conv5.stride, conv5.map_size) == ((196, 196), (16, 16), (37, 50))
    assert conv5.offset == (7.5, 7.5), "half of the stride of 16, less half a pixel"
    assert conv5.first == (-90, -90)


@pytest.mark.parametrize(("name", "size"), [("ResNet50", 483), ("MobileNet", 315)])
def test_others_as_published(name, size):
    """From the same table. Of networks with "same" paddings only front and back vary."""
    model = getattr(keras.applications, name)(weights=None, include_top=False)
    last = list(receptive_fields(model, (224, 224)).values())[-1]
    assert (last.size, last.stride, last.map_size) == ((size, size), (32, 32), (7, 7))


# === The report's formulas ===


def test_the_cascade_from_the_last_layer_to_the_first_gives_the_same(vgg16):
    steps = [(3, 1)] * 2 + [(2, 2)] + [(3, 1)] * 2 + [(2, 2)]
    steps += ([(3, 1)] * 3 + [(2, 2)]) * 2 + [(3, 1)] * 3
    extent = 1
    centre, map_extent = 20.0, 608
    for kernel, stride in reversed(steps):
        extent = input_extent(extent, kernel, stride)
        centre = input_coordinate(centre, kernel, stride, padding=1 if kernel == 3 else 0)
    for kernel, stride in steps:
        map_extent = output_extent(map_extent, kernel, stride, padding=1 if kernel == 3 else 0)
    field = receptive_field(vgg16, "block5_conv3", (608, 608))
    assert (extent, extent) == field.size
    assert (map_extent, map_extent) == field.map_size
    np.testing.assert_array_equal(field.to_picture((20, 20)), (centre, centre))


def test_extents_by_hand():
    assert output_extent(224, 7, 2, 3) == 112
    assert input_extent(112, 7, 2, 3) == 223, "the 224th column is seen by none"
    assert input_extent(1, 3, 2) == 3


def test_with_odd_kernels_padded_by_half_the_simplified_mapping_is_the_general_one():
    steps = [
        step
        for kernel in (3, 5, 7)
        for step in (layers.ZeroPadding2D(kernel // 2), convolution(kernel=kernel, strides=2))
    ]
    model = chain(*steps, size=(65, 65))
    field = receptive_field(model, model.layers[-1].name)
    positions = np.asarray([[0, 0], [3, 5], [8, 8]])
    np.testing.assert_array_equal(field.to_picture(positions), positions * 8)
    np.testing.assert_array_equal(simplified_to_picture(positions, 8), positions * 8)
    np.testing.assert_array_equal(simplified_to_map(positions * 8, 8), positions)


def test_to_map_undoes_to_picture(vgg16):
    field = receptive_field(vgg16, "block4_conv1", (301, 200))
    positions = np.asarray([[[0, 1.5], [20, 3]]])
    pixels = field.to_picture(positions)
    np.testing.assert_array_equal(pixels, positions * 8 + 3.5)
    np.testing.assert_array_equal(field.to_map(pixels), positions)


def test_a_box_is_centred_half_a_pixel_behind_its_centre(vgg16):
    field = receptive_field(vgg16, "block5_conv3", (608, 608))
    box = field.box((2, 19))
    assert box.dtype == np.float32
    np.testing.assert_array_equal(box, [16 * 19 - 90, 32 - 90, 16 * 19 + 106, 32 + 106])
    y, x = field.to_picture((2, 19))
    assert ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) == (x + 0.5, y + 0.5)


# === What has no field ===


def gated() -> keras.Model:
    picture = keras.Input((32, 32, 2))
    x = convolution(name="before")(picture)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    gate = layers.Conv2D(2, 1, activation="relu", name="gate")(gate)
    x = convolution(name="after")(layers.Multiply(name="gated")([x, gate]))
    return keras.Model(picture, layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x)))


def test_a_gate_of_a_global_pooling_is_told_apart():
    fields = receptive_fields(gated())
    assert {name: field.whole for name, field in fields.items()} == {
        "before": False,
        "gated": True,
        "after": True,
    }
    assert fields["after"].size == (5, 5)
    assert seen(gated(), "gated", (9, 9)).all(), "as `whole` says"


@pytest.mark.parametrize("layer", ["pool", "gate", "flat", "logits"])
def test_behind_a_global_pooling_there_is_none(layer):
    with pytest.raises(SettingsError, match="sees the whole picture"):
        receptive_field(gated(), layer)


class Wavy(layers.Layer):
    def call(self, x):
        return x[:, ::-1]


class Mirrored(layers.Conv2D):
    def call(self, x):
        return super().call(x)[:, ::-1]


@pytest.mark.parametrize("own", [Wavy, lambda name: Mirrored(2, 3, name=name)])
def test_a_layer_of_unknown_geometry_is_named_behind_it_too(own):
    model = chain(convolution(name="a"), own(name="own"), convolution(name="b"))
    assert list(receptive_fields(model)) == ["a"]
    with pytest.raises(SettingsError, match=r"'b' has no receptive field: own is a (Wavy|Mirr)"):
        receptive_field(model, "b")


def test_strides_that_disagree_are_named():
    picture = keras.Input((9, 9, 2))
    fine = convolution(kernel=7)(picture)
    coarse = convolution(kernel=5, strides=2)(picture)
    model = keras.Model(picture, layers.Add(name="sum")([fine, coarse]))
    with pytest.raises(SettingsError, match=r"sum joins branches of strides \[1, 2\]"):
        receptive_field(model, "sum")


def test_maps_beside_each_other_are_no_one_map():
    picture = keras.Input((9, 9, 2))
    model = keras.Model(picture, layers.Concatenate(axis=1, name="tall")([picture, picture]))
    with pytest.raises(SettingsError, match="beside each other"):
        receptive_field(model, "tall")


def test_mistakes_are_one_line(vgg16):
    with pytest.raises(SettingsError, match=r"did you mean .*block5_conv3"):
        receptive_field(vgg16, "block5_conv", (64, 64))
    with pytest.raises(SettingsError, match="any size: say of which"):
        receptive_fields(vgg16)
    with pytest.raises(SettingsError, match=r"too small, .* behind block3_pool"):
        receptive_field(vgg16, "block5_conv3", (7, 300))
    with pytest.raises(SettingsError, match="takes pictures of 61×54"):
        receptive_fields(chain(convolution()), (60, 60))
    with pytest.raises(SettingsError, match="one picture as input"):
        receptive_fields(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(SettingsError, match="one picture as input"):
        receptive_fields(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
