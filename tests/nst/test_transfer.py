"""`nst.stylize`: the report's program step by step, and what each option does to a picture."""

import dataclasses
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import nst
from atelier.errors import AtelierError, ImageError, SettingsError
from atelier.media.images import resize, save_image
from atelier.nets.vgg import deprocess
from nst.transfer import Pictures, output_size

# Nothing is left to the defaults that matters to what is expected here.
FAST = nst.StyleTransferConfig(
    size=64,
    coarsest=0,
    iterations=4,
    optimizer="lbfgs",
    content_layers=("block4_conv1",),
    style_layers=nst.REPORT.style_layers,
    content_weight=0.1,
    style_weight=1.0,
    tv_weight=0.0,
    normalize=True,
    style_scale=1.0,
    margin=0,
    tile=256,
    precision="float32",
)
RED, BLUE = (np.full((40, 40, 3), color, np.uint8) for color in ([200, 30, 30], [30, 30, 200]))


def difference(a, b):
    """Mean absolute difference in grey levels."""
    return np.abs(np.float32(a) - np.float32(b)).mean()


# === The report ===


def run_report(network, x_img, x_style, iterations, style_weight, content_weight, learning_rate):
    """The report's program, section 3, word for word but for the optimizer, which is TensorFlow
    1's Adam in NumPy; gives the losses, the image of each iteration, and the best picture."""
    style_layers = [f"block{block}_conv1" for block in range(1, 6)]
    model = network.features([*style_layers, "block5_conv2"])

    def gram_matrix(input_tensor):
        channels = int(input_tensor.shape[-1])
        a = tf.reshape(input_tensor, [-1, channels])
        n = tf.shape(a)[0]
        return tf.matmul(a, a, transpose_a=True) / tf.cast(n, tf.float32)

    def compute_loss(init_image):
        outputs = model(init_image)
        style_score = 0
        for target, features in zip(gram_style_features, outputs[:5], strict=True):
            style_score += tf.reduce_mean(tf.square(gram_matrix(features[0]) - target)) / 5
        content_score = tf.reduce_mean(tf.square(outputs[5][0] - content_features))
        return style_weight * style_score + content_weight * content_score

    gram_style_features = [gram_matrix(features[0]) for features in model(x_style)[:5]]
    content_features = model(x_img)[5][0]
    norm_means = np.array([103.939, 116.779, 123.68])
    min_vals, max_vals = -norm_means, 255 - norm_means

    def deprocess_img(processed):
        x = processed[0] + norm_means
        return np.clip(x[:, :, ::-1], 0, 255).astype("uint8")

    beta_1, beta_2, epsilon = 0.99, 0.999, 0.1
    init_image = np.copy(x_img)
    mean, square = np.zeros_like(x_img), np.zeros_like(x_img)
    losses, images, best_loss, best_img = [], [], math.inf, None
    for t in range(1, iterations + 1):
        variable = tf.constant(init_image)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            loss = compute_loss(variable)
        gradient = tape.gradient(loss, variable).numpy()
        losses.append(float(loss))
        images.append(deprocess_img(init_image))
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        rate = learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        init_image = init_image - rate * mean / (np.sqrt(square) + epsilon)
        init_image = np.clip(init_image, min_vals, max_vals).astype(np.float32)
        if losses[-1] < best_loss:
            best_loss, best_img = losses[-1], deprocess_img(init_image)
    return losses, images, best_img


@pytest.fixture(scope="module")
def report_pictures(photo, painting):
    """Neither has sides that are multiples of 16, and neither is resized on the way."""
    return photo[:, 10:80], painting[:, :96]


def preprocess_as_keras(picture):
    return keras.applications.vgg19.preprocess_input(np.float32(picture)[None])


@pytest.mark.parametrize("settings", [{}, {"learning_rate": 4.0, "style_weight": 1e-1}])
def test_report_preset_is_the_reports_program(network, report_pictures, settings):
    config = dataclasses.replace(nst.REPORT, size=0, iterations=6, **settings)
    result = nst.stylize(*report_pictures, config, network=network)
    weights = config.style_weight, config.content_weight, config.learning_rate
    losses, images, _ = run_report(network, *map(preprocess_as_keras, report_pictures), 6, *weights)
    assert [row["loss"] for row in result.history] == pytest.approx(losses, rel=1e-4)
    best = int(np.argmin(losses))
    assert best > 0, "the test needs a loss that falls"
    assert result.loss.total == pytest.approx(losses[best], rel=1e-4)
    assert np.abs(np.int16(result.image) - images[best]).max() <= 1


def test_report_keeps_the_image_one_step_later(network, report_pictures):
    """Ours is kept with its own loss, so with one iteration more it is the report's."""
    config = dataclasses.replace(nst.REPORT, size=0, iterations=4)
    weights = config.style_weight, config.content_weight, config.learning_rate
    losses, images, best_img = run_report(
        network, *map(preprocess_as_keras, report_pictures), 4, *weights
    )
    assert losses == sorted(losses, reverse=True), "the test needs a loss that falls"
    longer = dataclasses.replace(config, iterations=5)
    later = nst.stylize(*report_pictures, longer, network=network).image
    assert np.abs(np.int16(later) - best_img).max() <= 1
    assert difference(later, images[-1]) > 0.5


def test_a_given_networks_precision_is_said(report_pictures, network):
    config = dataclasses.replace(nst.REPORT, size=48, iterations=1)
    result = nst.stylize(*report_pictures, config, network=network)
    assert result.precision == "float32"
    assert result.precision_reason == "that of the network given"


def test_trainable_changes_nothing(network, report_pictures):
    config = dataclasses.replace(nst.REPORT, size=0, iterations=4)
    weights = [np.array(w) for w in network.get_weights()]
    frozen = nst.stylize(*report_pictures, config, network=network)
    config = dataclasses.replace(config, trainable=True)
    network.trainable = False
    seen = []
    thawed = nst.stylize(
        *report_pictures, config, network=network, on_step=lambda _: seen.append(network.trainable)
    )
    np.testing.assert_array_equal(thawed.image, frozen.image)
    assert all(seen)
    assert not network.trainable  # It is the caller's.
    for before, after in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_other_faults_of_a_network_are_not_taken_for_settings(report_pictures, network):
    class Broken:
        trainable = False
        features = receptive = property(lambda self: int("a fault of the program"))

    with pytest.raises(ValueError, match="invalid literal"):
        nst.stylize(*report_pictures, FAST, network=Broken())


# === The result ===


def test_result_has_what_it_says(network, photo, painting):
    result = nst.stylize(photo[:80], painting, FAST, network=network)
    assert result.image.dtype == np.uint8
    assert result.image.shape == (53, 64, 3)
    assert len(result.history) == 4
    assert [row["step"] for row in result.history] == [1, 2, 3, 4]
    for row in result.history:
        assert row["loss"] == pytest.approx(row["content"] + row["style"] + row["variation"])
        assert (row["height"], row["width"]) == (53, 64)
    assert result.loss.total == min(row["loss"] for row in result.history)
    assert result.seconds > 0


def test_embedded_features_lower_the_loss_of_the_default_preset(photo):
    config = nst.StyleTransferConfig(size=48, iterations=6)
    start = nst.stylize(photo, "woodcut", dataclasses.replace(config, iterations=0))
    result = nst.stylize(photo, "woodcut", config)
    assert result.features == "vgg19-lite"
    assert result.image.shape == (48, 48, 3)
    assert result.loss.total < 0.9 * start.loss.total
    assert difference(result.image, resize(photo, (48, 48))) > 3


def test_sources_of_all_kinds_give_the_same(network, files, photo, painting):
    expected = nst.stylize(photo, painting, FAST, network=network).image
    path, data = files / "photo.png", (files / "painting.png").read_bytes()
    for content, style in ((str(path), data), (Image.fromarray(photo), [files / "painting.png"])):
        result = nst.stylize(content, style, FAST, network=network)
        np.testing.assert_array_equal(result.image, expected)


# === Options ===


def test_several_styles_by_weight(network, photo, painting):
    """All weight on one style is that style alone; equal weights are something between."""
    other = painting[::-1, ::-1, ::-1].copy()

    def paint(style, weights=()):
        settings = dataclasses.replace(FAST, style_weights=weights, iterations=6)
        return nst.stylize(photo, style, settings, network=network).image

    first, second, both = paint(painting), paint(other), paint([painting, other])
    np.testing.assert_array_equal(paint([painting, other], (1, 0)), first)
    np.testing.assert_array_equal(paint([painting, other], (0, 5)), second)
    assert 1 < difference(both, first) < difference(second, first)
    assert 1 < difference(both, second) < difference(second, first)


def test_weights_are_relative(network, photo):
    one, two = (
        nst.stylize(photo, [RED, BLUE], dataclasses.replace(FAST, style_weights=w), network=network)
        for w in ((1, 3), (0.5, 1.5))
    )
    np.testing.assert_array_equal(one.image, two.image)


def test_masks_give_each_style_its_place(network, photo, tmp_path):
    left = np.zeros((30, 30), np.uint8)
    left[:, :15] = 255
    save_image(tmp_path / "left.png", left)
    save_image(tmp_path / "right.png", 255 - left)
    masks = (tmp_path / "left.png", tmp_path / "right.png")
    config = dataclasses.replace(
        FAST, content_weight=0.0, iterations=15, style_masks=masks, style_layers=("block1_conv1",)
    )

    def halves(masks):
        settings = dataclasses.replace(config, style_masks=masks)
        image = np.float32(nst.stylize(photo, [RED, BLUE], settings, network=network).image)
        redness = image[..., 0] - image[..., 2]
        return redness[:, :28].mean(), redness[:, 36:].mean()

    left_redness, right_redness = halves(masks)
    assert left_redness > right_redness + 20
    left_redness, right_redness = halves(masks[::-1])
    assert right_redness > left_redness + 20


def test_kept_luminance_colors_are_the_contents(network, photo, painting, ycc):
    config = dataclasses.replace(FAST, preserve_color="luminance", iterations=6)
    image = nst.stylize(photo, painting, config, network=network).image
    content = resize(photo, (64, 64))
    # Where nothing is clipped, chroma is the content's, whatever the style's.
    inside = ((image > 0) & (image < 255)).all(axis=2)
    assert inside.mean() > 0.5
    chroma = np.abs(ycc(image) - ycc(content))[inside][:, 1:]
    assert chroma.max() < 1.5
    assert difference(ycc(image)[..., 0], ycc(content)[..., 0]) > 2
    plain = dataclasses.replace(config, preserve_color="none")
    painted = nst.stylize(photo, painting, plain, network=network).image
    assert difference(ycc(painted)[..., 1:], ycc(content)[..., 1:]) > 2


def test_histogram_recolors_the_style(network, photo, painting):
    config = dataclasses.replace(
        FAST, content_weight=0.0, iterations=20, preserve_color="histogram", init="noise"
    )
    content = resize(photo, (64, 64))

    def distance(config):
        image = nst.stylize(photo, painting, config, network=network).image
        return np.abs(image.mean((0, 1)) - content.mean((0, 1))).max()

    pictures = Pictures(photo, [painting], config)
    np.testing.assert_allclose(pictures.styles[0].mean((0, 1)), photo.mean((0, 1)), atol=15)
    assert distance(config) < distance(dataclasses.replace(config, preserve_color="none"))


def test_start_from_content_style_or_noise(network, photo, painting):
    starts = {
        init: nst.stylize(
            photo, painting, dataclasses.replace(FAST, init=init, iterations=0), network=network
        ).image
        for init in ("content", "style", "noise")
    }
    np.testing.assert_array_equal(starts["content"], resize(photo, (64, 64)))
    # The style is fitted to 64 pixels, then stretched to the picture's shape.
    style = resize(resize(painting, (51, 64)), (64, 64))
    assert np.abs(np.int16(starts["style"]) - style).max() <= 3
    assert starts["noise"].std() == pytest.approx(255 / math.sqrt(12), rel=0.03)


def test_seed_decides_the_noise(network, photo, painting):
    config = dataclasses.replace(FAST, init="noise", iterations=2)
    first, again, other = (
        nst.stylize(photo, painting, dataclasses.replace(config, seed=seed), network=network).image
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert difference(first, other) > 10


def test_size_zero_keeps_the_contents_size(network, photo, painting):
    config = dataclasses.replace(FAST, size=0, iterations=1)
    assert nst.stylize(photo[:37, :90], painting, config, network=network).image.shape == (
        *(37, 90, 3),
    )


@pytest.mark.parametrize("turned", [False, True])
def test_aspect_of_one_to_four(network, noise_photo, painting, turned):
    content = noise_photo[:20, :80]
    content = content.swapaxes(0, 1) if turned else content
    config = dataclasses.replace(FAST, size=160, coarsest=40, margin=16, iterations=2)
    image = nst.stylize(content, painting, config, network=network).image
    assert image.shape == ((160, 40, 3) if turned else (40, 160, 3))


def test_alpha_is_kept(network, photo, painting):
    alpha = np.tile(np.uint8(np.linspace(0, 255, 96)), (96, 1))
    image = nst.stylize(np.dstack([photo, alpha]), painting, FAST, network=network).image
    assert image.shape == (64, 64, 4)
    np.testing.assert_array_equal(image[..., 3], resize(alpha, (64, 64)))


def test_opaque_content_gets_no_alpha(network, photo, painting):
    config = dataclasses.replace(FAST, iterations=0)
    assert nst.stylize(photo, painting, config, network=network).image.shape[2] == 3


def test_total_variation_weight_smooths(network, photo, painting):
    def variation(weight):
        config = dataclasses.replace(FAST, tv_weight=weight, init="noise", iterations=10)
        result = nst.stylize(photo, painting, config, network=network)
        return np.abs(np.diff(np.float32(result.image), axis=0)).mean(), result.loss.variation

    rough, none = variation(0.0)
    smooth, some = variation(0.01)
    assert none == 0 < some
    assert smooth < 0.7 * rough


def test_layers_by_name_with_weights(network, photo, painting):
    def styled(*layers, **settings):
        config = dataclasses.replace(FAST, style_layers=layers, iterations=3, **settings)
        return nst.stylize(photo, painting, config, network=network).history[0]

    assert styled("block1_conv1")["style"] != styled("block3_conv1")["style"]
    assert styled("block1_conv1:2", "block3_conv1:6") == styled("block1_conv1", "block3_conv1:3")
    assert styled("block1_conv1", "block3_conv1:3") != styled("block1_conv1", "block3_conv1")


def test_one_layer_alone_is_enough(network, photo, painting):
    config = dataclasses.replace(FAST, content_layers=(), style_layers=("block2_conv1",))
    result = nst.stylize(photo, painting, config, network=network)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_unknown_layer_is_named_with_all_that_are(network, photo, painting):
    config = dataclasses.replace(FAST, content_layers=("relu4_2",))
    with pytest.raises(SettingsError) as caught:
        nst.stylize(photo, painting, config, network=network)
    message = str(caught.value)
    assert "\n" not in message
    assert "relu4_2" in message
    assert all(name in message for name in network.convolutions)


def test_pooling_changes_the_features(photo, painting):
    config = dataclasses.replace(FAST, iterations=0, content_layers=())
    losses = [
        nst.stylize(photo, painting, dataclasses.replace(config, pooling=pooling)).loss.style
        for pooling in ("max", "average")
    ]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)


def test_style_scale_sizes_the_style(photo):
    # Stripes look coarser at twice the scale.
    stripes = np.uint8(np.indices((64, 64)).sum(0)[..., None].repeat(3, 2) % 8 * 36)
    found = []
    for scale in (0.5, 1.0, 2.0):
        pictures = Pictures(photo, [stripes], dataclasses.replace(FAST, style_scale=scale))
        found.append(pictures.at((64, 48))[1][0].shape)
    assert found == [(1, 32, 32, 3), (1, 64, 64, 3), (1, 128, 128, 3)]


def test_tiles_give_the_same_picture(network, photo, painting):
    whole, tiled = (
        nst.stylize(
            photo, painting, dataclasses.replace(FAST, size=112, tile=tile), network=network
        )
        for tile in (256, 32)
    )
    assert [row["loss"] for row in tiled.history] == pytest.approx(
        [row["loss"] for row in whole.history], rel=1e-3
    )
    assert difference(tiled.image, whole.image) < 0.5


# === Mistakes ===


@pytest.mark.parametrize(
    ("content", "size"), [((1, 1), 512), ((10, 400), 512), ((400, 10), 0), ((31, 31), 0)]
)
def test_picture_too_small_is_refused(content, size, painting):
    config = nst.StyleTransferConfig(size=size)
    with pytest.raises(ImageError, match="too small to stylize"):
        nst.stylize(np.zeros((*content, 3), np.uint8), painting, config)


@pytest.mark.parametrize(
    ("styles", "settings", "message"),
    [
        ([], {}, "no style"),
        ([RED], {"style_weights": (1, 2)}, "1 styles need as many --style-weights"),
        ([RED, BLUE], {"style_weights": (1,)}, "2 styles need as many --style-weights"),
        (["no such file"], {}, "no such file, nor a painting by name"),
        (["gone.png"], {}, "gone.png: no such file"),
    ],
)
def test_styles_that_do_not_fit_are_refused(photo, styles, settings, message):
    with pytest.raises(AtelierError, match=message):
        nst.stylize(photo, styles, dataclasses.replace(FAST, **settings))


def test_masks_and_styles_must_be_equally_many(photo, files):
    config = dataclasses.replace(FAST, style_masks=(files / "photo.png",))
    with pytest.raises(SettingsError, match="as many masks"):
        nst.stylize(photo, [RED, BLUE], config)


def test_missing_mask_is_named(photo, tmp_path):
    config = dataclasses.replace(FAST, style_masks=(tmp_path / "gone.png",))
    with pytest.raises(ImageError, match=r"gone.png: no such file"):
        nst.stylize(photo, RED, config)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_loss_that_is_no_number_is_an_error(network, photo, painting, optimizer):
    config = dataclasses.replace(
        FAST, optimizer=optimizer, normalize=False, style_weight=3e38, content_weight=3e38
    )
    with pytest.raises(SettingsError, match="no longer a number"):
        nst.stylize(photo, painting, config, network=network)


@pytest.mark.parametrize("style", [np.zeros((40, 40, 3), np.uint8), np.zeros((1, 1), np.uint8)])
@pytest.mark.parametrize("preserve", ["none", "luminance", "histogram"])
def test_flat_or_tiny_style_gives_a_picture(network, photo, style, preserve):
    config = dataclasses.replace(FAST, preserve_color=preserve, iterations=2)
    result = nst.stylize(photo, style, config, network=network)
    assert math.isfinite(result.loss.total)


# === Steps ===


def test_steps_are_told(network, photo, painting):
    told = []
    config = dataclasses.replace(FAST, size=96, coarsest=48, iterations=3)
    result = nst.stylize(photo, painting, config, on_step=told.append, network=network)
    numbers = [step.number for step in told]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {step.total for step in told} == {5 + 3}
    assert [step.metrics for step in told] == list(result.history)
    assert told[0].image().shape == (48, 48, 3)
    assert told[-1].image().shape == (96, 96, 3)


def test_stop_keeps_the_best_so_far(network, photo, painting):
    config = dataclasses.replace(
        FAST, optimizer="adam", learning_rate=60.0, beta_1=0.5, epsilon=1e-8, iterations=30
    )
    images = []

    def on_step(step):
        images.append(step.image())
        return step.number == 5

    result = nst.stylize(photo, painting, config, on_step=on_step, network=network)
    losses = [row["loss"] for row in result.history]
    assert len(losses) == 5
    assert np.argmin(losses) < 4, "the test needs a loss that rises again"
    assert result.loss.total == min(losses)
    np.testing.assert_array_equal(result.image, images[int(np.argmin(losses))])


def test_stop_on_a_coarse_level_gives_the_full_size(network, photo, painting):
    config = dataclasses.replace(FAST, size=96, coarsest=48)
    result = nst.stylize(photo, painting, config, on_step=lambda step: True, network=network)
    assert len(result.history) == 1
    assert result.image.shape == (96, 96, 3)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_no_iterations_give_the_start(network, photo, painting, optimizer):
    config = dataclasses.replace(FAST, size=96, iterations=0, optimizer=optimizer, margin=16)
    result = nst.stylize(photo, painting, config, network=network)
    np.testing.assert_array_equal(result.image, photo)
    assert result.history == ()
    assert result.loss.total > 0


# === Levels and borders ===


@pytest.mark.parametrize("size", [32, 100, 192, 193, 384, 385, 512, 1000, 3001])
@pytest.mark.parametrize("aspect", [1, 2.3])
def test_levels_at_most_double(size, aspect, painting):
    shape = (round(1000 / aspect), 1000, 3)
    config = nst.StyleTransferConfig(size=max(size, math.ceil(33 * aspect)), coarsest=192)
    levels = Pictures(np.zeros(shape, np.uint8), [painting], config).levels()
    longest = [max(level) for level in levels]
    assert longest[-1] == config.size
    assert levels[-1] == output_size(np.zeros(shape), config)
    assert longest[0] <= max(192, longest[-1] if len(levels) == 1 else 192)
    for coarse, fine in itertools.pairwise(longest):
        assert coarse < fine <= 2 * coarse + 1
    assert min(min(level) for level in levels) >= 32


def test_coarsest_level_of_a_long_picture_is_large_enough(painting):
    config = nst.StyleTransferConfig(size=800, coarsest=100)
    levels = Pictures(np.zeros((100, 1000, 3), np.uint8), [painting], config).levels()
    assert levels[0] == (32, 320)


def test_no_pyramid_has_one_level(painting):
    config = nst.StyleTransferConfig(size=800, coarsest=0)
    assert len(Pictures(np.zeros((90, 90, 3), np.uint8), [painting], config).levels()) == 1


@pytest.mark.parametrize("size", [(64, 48), (53, 61)])
@pytest.mark.parametrize("margin", [0, 5, 16])
def test_margin_is_mirrored_and_cut_off_exactly(photo, painting, size, margin):
    config = dataclasses.replace(FAST, margin=margin)
    pictures = Pictures(photo, [painting], config)
    canvas, _, _ = pictures.at(size)
    content = resize(photo, size)
    np.testing.assert_array_equal(pictures.finish(canvas, size), content)
    if margin:
        assert canvas.shape[1] % 16 == canvas.shape[2] % 16 == 0
        assert canvas.shape[1] >= size[0] + 2 * margin
        mirrored = np.pad(content, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
        whole = deprocess(canvas[0])[: size[0] + 2 * margin, : size[1] + 2 * margin]
        np.testing.assert_array_equal(whole, mirrored)
    else:
        assert canvas.shape[1:3] == size


def test_moving_against_the_grid_leaves_the_picture_in_its_place(network, photo, painting):
    """The content alone is wanted: a picture that were moved would not come near it."""
    config = dataclasses.replace(
        FAST, init="noise", style_weight=0.0, content_layers=("block1_conv1",), content_weight=1.0
    )
    config = dataclasses.replace(config, margin=16, shift_every=8, iterations=40)
    result = nst.stylize(photo, painting, config, network=network)
    assert result.loss.total < 1e-3
    assert difference(result.image, resize(photo, (64, 64))) < 4


def test_masks_get_the_same_margin(photo, tmp_path):
    mask = np.uint8(np.arange(64)[None].repeat(48, 0) * 4)
    save_image(tmp_path / "mask.png", mask)
    config = dataclasses.replace(FAST, style_masks=(tmp_path / "mask.png",), margin=16)
    canvas, _, masks = Pictures(photo, [RED], config).at((48, 64))
    assert masks.shape == (*canvas.shape[1:3], 1)
    np.testing.assert_allclose(masks[16:64, 16:80, 0], mask / 255, atol=1e-6)


def test_finer_level_starts_from_the_coarser_best(network, photo, painting):
    # Adam's first step shows the start itself.
    config = dataclasses.replace(
        FAST, size=96, coarsest=48, iterations=4, optimizer="adam", epsilon=1e-8
    )
    images = []
    result = nst.stylize(
        photo, painting, config, on_step=lambda s: images.append(s.image()), network=network
    )
    coarse = [row["loss"] for row in result.history if row["height"] == 48]
    assert len(coarse) == 6
    start, best = images[6], images[int(np.argmin(coarse))]
    assert start.shape == (96, 96, 3)
    assert difference(start, resize(best, (96, 96))) < 1
    assert difference(best, resize(photo, (48, 48))) > 2


def test_bfloat16_is_close_to_float32(photo):
    config = dataclasses.replace(FAST, size=48, iterations=3)
    losses = [
        nst.stylize(photo, "ink", dataclasses.replace(config, precision=precision)).loss.total
        for precision in ("float32", "bfloat16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
