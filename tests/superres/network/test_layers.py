"""The network's own layers: literal pixels, merged kernels, and files that give them back."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from superres.fixed_point.rounding import FixedPoint
from superres.network.layers import (
    Conv2D,
    DepthwiseConv2D,
    Interpolation,
    PixelShuffle,
    interpolation_kernel,
    uniform,
)
from superres.resample import bicubic

FORMAT = FixedPoint(5, 6)

LAYERS = {
    "bicubic": (lambda: Interpolation(3, "bicubic"), 1, 9),
    "nearest": (lambda: Interpolation(2, "nearest"), 1, 4),
    "convolution": (lambda: Conv2D(7, (3, 5)), 4, 7),
    "zero mean": (lambda: Conv2D(7, 3, branches="zero_mean"), 4, 7),
    "expanded": (lambda: Conv2D(7, 1, branches="expand"), 4, 7),
    "in fixed point": (lambda: Conv2D(7, 1, branches="expand", kernel_format=FORMAT), 4, 7),
    "depthwise": (lambda: DepthwiseConv2D((1, 5)), 4, 4),
    "depthwise in fixed point": (lambda: DepthwiseConv2D(3, kernel_format=FORMAT), 4, 4),
}
"""Each layer with its channels in and out."""


def impulse(height: int = 7, width: int = 8) -> np.ndarray:
    """A 1 at row 3, column 4 of zeros."""
    image = np.zeros((1, height, width, 1), np.float32)
    image[0, 3, 4, 0] = 1
    return image


# === All layers ===


@pytest.mark.parametrize(("make", "inputs", "outputs"), LAYERS.values(), ids=LAYERS)
def test_layer_is_a_keras_layer(make, inputs, outputs, rng, reload):
    """Shapes, dtype, any size of picture, an exact round trip, and a step of training."""
    image = keras.Input((None, None, inputs))
    layer = make()
    model = keras.Model(image, layer(image))
    assert model.output.shape == (None, None, None, outputs)
    x = rng.normal(size=(2, 6, 9, inputs)).astype(np.float32)
    y = np.asarray(model(x))
    assert y.shape == (2, 6, 9, outputs) == layer.compute_output_shape(x.shape)
    assert y.dtype == np.float32
    assert np.asarray(model(x[:1, :3, :5])).shape == (1, 3, 5, outputs)
    loaded = reload(model)
    np.testing.assert_array_equal(loaded(x), y)
    assert type(loaded.layers[-1]) is type(layer)
    assert loaded.layers[-1].get_config() == layer.get_config()
    before = model.get_weights()
    if not before:
        return
    model.compile(keras.optimizers.SGD(0.1), "mse")
    assert np.isfinite(model.train_on_batch(x, y + 1))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old != new).any()


# === Interpolation ===


@pytest.mark.parametrize("method", ["nearest", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_weights_are_fractions_that_add_up_to_1(scale, method):
    kernel = interpolation_kernel(scale, method)
    assert kernel.shape == (5, 5, 1, scale**2)
    assert (kernel.sum(axis=(0, 1)) == 1).all()
    assert (kernel * 2**14 == np.rint(kernel * 2**14)).all()


def test_interpolation_weights_at_scale_2_are_keys():
    # The upper left pixel lies at -1/4: distances 1.75, 0.75, 0.25 and 1.25 from offsets -2 to 1.
    taps = np.array([-0.0234375, 0.2265625, 0.8671875, -0.0703125, 0])
    kernel = interpolation_kernel(2, "bicubic")[:, :, 0]
    np.testing.assert_array_equal(kernel[..., 0], np.outer(taps, taps))
    np.testing.assert_array_equal(kernel[..., 1], np.outer(taps, taps[::-1]))
    np.testing.assert_array_equal(kernel[..., 2], np.outer(taps[::-1], taps))
    np.testing.assert_array_equal(kernel[..., 3], np.outer(taps[::-1], taps[::-1]))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_matlabs_inside(scale, luma):
    found = PixelShuffle(scale)(Interpolation(scale, "bicubic")(luma))
    inside = slice(2 * scale, -2 * scale)  # At the border one sees zeros, the other nothing.
    for plane, expected in zip(found[..., 0], luma[..., 0], strict=True):
        height, width = expected.shape
        expected = bicubic(expected * 256, (scale * height, scale * width))
        # The weights of scales 3 and 4 are rounded to 2^-14.
        np.testing.assert_allclose(
            np.asarray(plane)[inside, inside] * 256, expected[inside, inside], atol=0.05
        )


def test_bicubic_of_8_bits_is_exact(luma):
    """Integer arithmetic gives the same: 8 bits of luma times 14 bits of weights."""
    found = np.asarray(Interpolation(2, "bicubic")(luma))
    codes = np.pad(np.int64(luma[..., 0] * 256), ((0, 0), (2, 2), (2, 2)))
    weights = np.int64(interpolation_kernel(2, "bicubic") * 2**14)
    windows = np.lib.stride_tricks.sliding_window_view(codes, (5, 5), axis=(1, 2))
    expected = np.einsum("nhwkl,klo->nhwo", windows, weights[:, :, 0])
    np.testing.assert_array_equal(found * 2.0**22, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_in_training_mirrors_the_border_and_is_the_same_inside(scale, luma):
    layer = Interpolation(scale, "bicubic")
    padded = np.pad(luma, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
    expected = np.asarray(layer(padded))[:, 2:-2, 2:-2]
    found = np.asarray(layer(luma, training=True))
    np.testing.assert_array_equal(found, expected)
    used = np.asarray(layer(luma))
    np.testing.assert_array_equal(found[:, 2:-2, 2:-2], used[:, 2:-2, 2:-2])
    assert np.abs(found - used).max() > 0.01, "in use zeros lie beyond the border"


def test_even_grey_stays_even_to_the_border_in_training():
    grey = np.full((1, 4, 5, 1), 0.5, np.float32)
    np.testing.assert_array_equal(Interpolation(2, "bicubic")(grey, training=True), grey + [0] * 4)


def test_nearest_repeats_pixels(luma):
    found = PixelShuffle(3)(Interpolation(3, "nearest")(luma))
    np.testing.assert_array_equal(found, luma.repeat(3, axis=1).repeat(3, axis=2))


# === Pixel shuffle ===


def test_channels_are_the_pixels_row_by_row():
    left, right = [0, 1, 2, 3], [4, 5, 6, 7]
    found = PixelShuffle(2)(np.float32([[[left, right]]]))
    assert np.asarray(found)[0, ..., 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixel_shuffle_is_equation_4(scale, rng):
    t = rng.normal(size=(2, 3, 5, scale**2)).astype(np.float32)
    found = np.asarray(PixelShuffle(scale)(t))
    assert found.shape == (2, 3 * scale, 5 * scale, 1)
    for y, x in np.ndindex(found.shape[1:3]):
        channel = scale * (y % scale) + x % scale
        assert (found[:, y, x, 0] == t[:, y // scale, x // scale, channel]).all()


def test_pixel_shuffle_of_unknown_sizes():
    shuffle = tf.function(
        PixelShuffle(2), input_signature=[tf.TensorSpec((None, None, None, 4), tf.float32)]
    )
    for shape in ((1, 2, 3, 4), (3, 5, 1, 4)):
        assert shuffle(np.zeros(shape, np.float32)).shape == (
            shape[0],
            *np.multiply(2, shape[1:3]),
            1,
        )


# === Convolutions ===


def test_weights_start_uniform():
    values = np.asarray(uniform(9)((200, 500)))
    limit = (1.5 / 9) ** 0.5
    assert abs(values).max() <= limit
    # Of a uniform distribution: mean 0, variance limit² / 3, a quarter beyond half of the limit.
    assert values.mean() == pytest.approx(0, abs=2e-3)
    assert values.var() == pytest.approx(limit**2 / 3, rel=0.02)
    assert np.mean(values > limit / 2) == pytest.approx(0.25, abs=0.01)


def test_convolution_by_hand():
    layer = Conv2D(1, (1, 3))
    layer.build((None, None, None, 1))
    layer.kernel.assign(np.float32([1, 2, 4]).reshape(1, 3, 1, 1))
    # Cross-correlation, with zeros beyond the border.
    found = layer(np.float32([10, 20, 30]).reshape(1, 1, 3, 1))
    assert np.asarray(found).ravel().tolist() == [2 * 10 + 4 * 20, 10 + 40 + 120, 20 + 60]
    assert not layer.use_bias
    assert len(layer.weights) == 1


def test_zero_mean_convolution_sees_no_brightness():
    layer = Conv2D(5, 3, branches="zero_mean")
    y = np.asarray(layer(np.full((1, 7, 8, 1), 0.7, np.float32)))
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], 0, atol=1e-6)
    kernel = np.asarray(layer.kernel)
    np.testing.assert_allclose(layer.effective_kernel(), kernel - kernel.mean((0, 1)), atol=1e-7)
    assert len(layer.weights) == 1


def test_expanded_convolution_is_the_sum_of_both_branches(rng):
    layer = Conv2D(4, 1, branches="expand")
    x = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    y = layer(x)
    assert layer.expansion.shape == (6, 12)  # Twice the wider of the two sides.
    assert layer.squeeze.shape == (12, 4)
    direct = x @ np.asarray(layer.kernel)[0, 0]
    wide = x @ np.asarray(layer.expansion) @ np.asarray(layer.squeeze)
    assert np.abs(wide).max() > 0.1
    np.testing.assert_allclose(y, direct + wide, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [3, (1, 3)])
def test_only_1x1_kernels_expand(kernel_size):
    with pytest.raises(ValueError, match="only 1×1 kernels expand"):
        Conv2D(4, kernel_size, branches="expand")


@pytest.mark.parametrize("branches", ["none", "zero_mean"])
def test_kernel_in_fixed_point_is_the_merged_one_rounded(branches, rng):
    layer = Conv2D(6, 3, branches=branches, kernel_format=FORMAT)
    layer(impulse())
    merged = np.asarray(layer.kernel)
    if branches == "zero_mean":
        merged = merged - merged.mean((0, 1))
    expected = FORMAT.decode(FORMAT.encode(merged))
    found = np.asarray(layer.effective_kernel())
    np.testing.assert_array_equal(found, expected)
    assert (found != merged).any()
    # And it is what the layer convolves with: turned by half a circle around the impulse.
    y = np.asarray(layer(impulse()))
    np.testing.assert_array_equal(y[0, 2:5, 3:6], expected[::-1, ::-1, 0])


def test_expanded_kernel_in_fixed_point_trains_all_branches(rng):
    layer = Conv2D(3, 1, branches="expand", kernel_format=FixedPoint(10, 6))
    x = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(layer(x) - 1))
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.abs(gradient).max() > 0
    merged = layer.kernel + ops.matmul(layer.expansion, layer.squeeze)
    np.testing.assert_allclose(layer.effective_kernel(), merged, atol=2**-7 + 1e-6)
    assert not (np.asarray(layer.effective_kernel()) * 64 % 1).any()


@pytest.mark.parametrize("kernel_size", [(3, 3), (1, 5), (5, 1)])
def test_depthwise_is_that_of_keras(kernel_size, rng):
    ours = DepthwiseConv2D(kernel_size)
    theirs = keras.layers.DepthwiseConv2D(kernel_size, padding="same", use_bias=False)
    x = rng.normal(size=(2, 6, 7, 3)).astype(np.float32)
    ours(x), theirs(x)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(ours(x), theirs(x))


def test_depthwise_in_fixed_point():
    layer = DepthwiseConv2D((1, 3), kernel_format=FixedPoint(4, 2))
    layer(impulse())
    layer.kernel.assign(np.float32([0.3, -0.2, 9]).reshape(1, 3, 1, 1))
    assert np.asarray(layer.effective_kernel()).ravel().tolist() == [0.25, -0.25, 1.75]
    assert np.asarray(layer(impulse()))[0, 3, 3:6, 0].tolist() == [1.75, -0.25, 0.25]
