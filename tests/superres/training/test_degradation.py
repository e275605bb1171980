"""Degradation models: each step and the range of its random parameter, then eq. 1 and eq. 2."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from superres.resample import bicubic
from superres.training.degradation import (
    bicubic_model,
    compose,
    downscale,
    gaussian_blur,
    gaussian_noise,
    jpeg,
    jpeg_model,
    proposed_model,
    round_to_8_bits,
)


def seeds(number: int) -> list[tf.Tensor]:
    return [tf.constant([7, index]) for index in range(number)]


def degrade(step, image, index: int = 0) -> np.ndarray:
    return step(tf.constant(image, tf.float32), tf.constant([7, index])).numpy()


@pytest.fixture
def image(photo) -> np.ndarray:
    """float32 (60, 80, 3) in [0, 255]."""
    return photo[:60, :80].astype(np.float32)


# === Blur ===


def test_blur_spreads_a_point_by_a_gaussian():
    point = np.zeros((15, 17, 1))
    point[7, 8] = 1
    found = degrade(gaussian_blur(0.7, 0.7), point)[..., 0]
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 0.7**2))
    taps /= taps.sum()
    np.testing.assert_allclose(found[4:11, 5:12], np.outer(taps, taps), atol=1e-6)
    assert found[7, 8] == found.max()
    assert not found[:4].any()
    assert not found[:, :5].any()


def test_blur_is_drawn_from_its_range():
    point = np.zeros((9, 9, 1))
    point[4, 4] = 1
    blur = gaussian_blur(0.2, 0.8)
    sigmas = []
    for index in range(200):
        across = degrade(blur, point, index)[..., 0].sum(axis=0)
        sigmas.append(1 / np.sqrt(2 * np.log(across[4] / across[5])))
    assert 0.199 < min(sigmas) < 0.22
    assert 0.78 < max(sigmas) < 0.801
    assert np.mean(sigmas) == pytest.approx(0.5, abs=0.04)


def test_blur_keeps_flat_colour_to_the_border_and_channels_apart():
    image = np.full((8, 9, 3), [10, 100, 250], np.float32)
    np.testing.assert_allclose(degrade(gaussian_blur(0.8, 0.8), image), image, atol=1e-4)


# === Downscaling ===


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscaling_is_antialiased_bicubic(image, scale):
    found = degrade(downscale(scale), image)
    size = (60 // scale, 80 // scale)
    assert found.shape == (*size, 3)
    for channel in range(3):
        whole = image[: size[0] * scale, : size[1] * scale, channel]
        np.testing.assert_allclose(found[..., channel], bicubic(whole, size), atol=1e-2)


@pytest.mark.parametrize(("cut", "size"), [((1, 1), (29, 39)), ((0, 1), (30, 39))])
def test_odd_sides_lose_their_last_pixel_first(image, cut, size):
    odd = image[: 60 - cut[0], : 80 - cut[1]]
    even = odd[: size[0] * 2, : size[1] * 2]
    found = degrade(downscale(2), odd)
    assert found.shape == (*size, 3)
    np.testing.assert_array_equal(found, degrade(downscale(2), even))


# === JPEG ===


def by_pillow(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(np.float32)


@pytest.mark.parametrize("quality", [20, 70, 95])
def test_jpeg_is_that_of_files(image, quality):
    found = degrade(jpeg(quality, quality), image)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, by_pillow(image, quality))


def test_jpeg_of_one_channel_is_grey(image):
    found = degrade(jpeg(50, 50), image[..., :1])
    assert found.shape == (60, 80, 1)
    np.testing.assert_array_equal(found[..., 0], by_pillow(image[..., 0], 50))


def test_jpegs_quality_is_drawn_from_its_range(monkeypatch):
    drawn = []

    def adjust(image, quality, *_):
        drawn.append(int(quality))
        return image

    monkeypatch.setattr(tf.image, "adjust_jpeg_quality", adjust)
    for index in range(400):
        degrade(jpeg(70, 99), np.zeros((2, 2, 3)), index)
    assert set(drawn) == set(range(70, 100))
    assert np.mean(drawn) == pytest.approx(84.5, abs=1.5)


# === Noise ===


def test_noise_is_white_and_gaussian():
    flat = np.full((200, 300, 3), 100, np.float32)
    noise = degrade(gaussian_noise(0.02, 0.02), flat) - flat
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert noise.std() == pytest.approx(255 * 0.02, rel=0.01)
    assert np.mean(np.abs(noise) < noise.std()) == pytest.approx(0.6827, abs=0.005)
    for shifted in (np.roll(noise, 1, axis) for axis in (0, 1, 2)):
        assert np.mean(noise * shifted) == pytest.approx(0, abs=0.1)


def test_noise_is_drawn_from_its_range():
    flat = np.full((60, 60, 1), 100, np.float32)
    noise = gaussian_noise(0.0, 0.02)
    sigmas = [degrade(noise, flat, index).std() / 255 for index in range(200)]
    assert min(sigmas) < 0.001
    assert 0.019 < max(sigmas) < 0.021
    assert np.mean(sigmas) == pytest.approx(0.01, abs=0.001)


# === Steps together ===


def test_values_become_what_a_file_holds():
    found = degrade(round_to_8_bits(), [[[-9.0], [0.49], [0.5], [99.5], [254.6], [400.0]]])
    assert found.dtype == np.float32
    assert found.ravel().tolist() == [0, 0, 1, 100, 255, 255]


def test_steps_follow_each_other_with_seeds_of_their_own():
    seen = []

    def add(number):
        def step(image, seed):
            seen.append(tuple(seed.numpy()))
            return image * 10 + number

        return step

    composed = compose(add(1), compose(add(2), add(3)))
    assert degrade(composed, [0.0]).tolist() == [123]
    assert len(set(seen)) == 3
    first = list(seen)
    seen.clear()
    degrade(composed, [0.0])
    assert seen == first
    seen.clear()
    degrade(composed, [0.0], index=1)
    assert not set(seen) & set(first)


def test_no_steps_change_nothing(image):
    np.testing.assert_array_equal(degrade(compose(), image), image)


MODELS = {"bicubic": bicubic_model(2), "proposed": proposed_model(2)}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_models_give_8_bit_pictures_of_half_the_size(image, model, channels):
    found = degrade(model, image[:59, :77, :channels])
    assert found.shape == (29, 38, channels)
    assert found.dtype == np.float32
    assert (found == np.rint(found)).all()
    assert 0 <= found.min() < found.max() <= 255


def test_equation_1(image):
    expected = np.stack([bicubic(image[..., channel], (30, 40)) for channel in range(3)], -1)
    found = degrade(MODELS["bicubic"], image)
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.51)
    np.testing.assert_array_equal(found, degrade(MODELS["bicubic"], image, index=5))


def test_equation_2_is_its_seeds(image):
    first, again, other = (degrade(MODELS["proposed"], image, index) for index in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_equation_2_without_its_degradations_is_equation_1(image):
    """But for what JPEG rounds at its best quality."""
    model = proposed_model(2, radius=(0.01, 0.01), quality=(100, 100), sigma=(0.0, 0.0))
    smooth = degrade(gaussian_blur(2, 2), image[..., :1])
    difference = degrade(model, smooth) - degrade(MODELS["bicubic"], smooth)
    assert np.abs(difference).max() <= 2


def test_equation_2_adds_noise_after_jpeg():
    """JPEG of quality 1 leaves nothing of the noise in what comes before it."""
    flat = np.full((128, 128, 1), 128, np.float32)
    model = proposed_model(2, quality=(1, 1), sigma=(0.02, 0.02))
    assert degrade(model, flat).std() == pytest.approx(255 * 0.02, rel=0.05)


def test_equation_2_blurs_before_it_shrinks():
    point = np.zeros((64, 64, 1), np.float32)
    point[32, 32] = 255
    blur = gaussian_blur(0.8, 0.8)
    model = proposed_model(2, radius=(0.8, 0.8), quality=(100, 100), sigma=(0.0, 0.0))
    found = degrade(model, point)[..., 0]
    before = bicubic(degrade(blur, point)[..., 0], (32, 32))
    after = degrade(blur, bicubic(point[..., 0], (32, 32))[..., None])[..., 0]
    np.testing.assert_allclose(found, np.maximum(before, 0), atol=2)
    assert np.abs(found - after).max() > 5


def test_the_reports_parameters_are_the_defaults(monkeypatch):
    import superres.training.degradation as module

    asked = {}
    for name in ("gaussian_blur", "jpeg", "gaussian_noise"):

        def note(low, high, name=name):
            asked[name] = (low, high)
            return round_to_8_bits()

        monkeypatch.setattr(module, name, note)
    proposed_model(2)
    assert asked == {
        "gaussian_blur": (0.2, 0.8),
        "jpeg": (70, 99),
        "gaussian_noise": (0.0, 0.02),
    }


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_models_run_inside_tf_data_on_any_size(image, model, channels):
    pictures = [image[:40, :50, :channels], image[:31, :23, :channels]]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(pictures), output_signature=tf.TensorSpec((None, None, None), tf.float32)
    )
    dataset = dataset.map(lambda picture: model(picture, tf.constant([7, 0])))
    found = list(dataset.as_numpy_iterator())
    assert [picture.shape[:2] for picture in found] == [(20, 25), (15, 11)]
    for picture, whole in zip(found, pictures, strict=True):
        np.testing.assert_allclose(picture, degrade(model, whole), atol=1)


def test_jpeg_model_is_eq_2_without_blur_and_noise(image):
    small = degrade(bicubic_model(2), image)
    file = io.BytesIO()
    Image.fromarray(small.astype(np.uint8)).save(file, "JPEG", quality=85)
    found = degrade(jpeg_model(2, quality=(85, 85)), image)
    np.testing.assert_array_equal(found, np.asarray(Image.open(file)))
