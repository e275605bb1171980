"""Grad-CAM: it points to what speaks for a class, and is zero where nothing does."""

import keras
import numpy as np
import pytest

from atelier.errors import SettingsError
from classify import gradcam
from classify.data import CLASSES
from classify.gradcam import grad_cam, overlay
from classify.networks import Network

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def seer() -> Network:
    """A network of literal weights: cats are red, dogs blue, on cells of 4×4 pixels."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.AveragePooling2D(4)(image)
    colour = keras.layers.Conv2D(2, 1, activation="relu", use_bias=False)
    x = colour(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(10, use_bias=False)
    model = keras.Model(image, head(x))
    colour.kernel.assign(np.float32([[1, -1], [-1, -1], [-1, 1]])[None, None])
    kernel = np.zeros((2, 10), np.float32)
    kernel[0, CLASSES.index("cat")] = kernel[1, CLASSES.index("dog")] = 1
    kernel[:, CLASSES.index("ship")] = -1
    head.kernel.assign(kernel)
    return Network(model, {"network": "seer"})


def blob(*places) -> np.ndarray:
    """Grey, with squares of 8 pixels: each a colour, and its upper left corner."""
    image = np.full((32, 32, 3), 128, np.uint8)
    for colour, y, x in places:
        image[y : y + 8, x : x + 8] = colour
    return image


@pytest.mark.parametrize("corner", [(0, 0), (0, 24), (24, 0), (24, 24), (9, 14)])
def test_it_points_to_the_place_that_speaks_for_the_class(seer, corner):
    y, x = corner
    heat = grad_cam(blob((RED, y, x)), seer)
    assert (heat.shape, heat.dtype) == ((32, 32), np.float32)
    assert heat.min() >= 0
    assert heat.max() == 1
    inside = np.zeros((32, 32), bool)
    inside[y : y + 8, x : x + 8] = True
    assert inside[np.unravel_index(heat.argmax(), heat.shape)]
    assert heat[inside].mean() > 0.3
    # Cells and movements blur it, by at most as many pixels as both have.
    far = np.ones((32, 32), bool)
    far[max(0, y - 8) : y + 16, max(0, x - 8) : x + 16] = False
    assert heat[far].max() < 0.02


def test_each_class_has_a_place_of_its_own(seer):
    picture = blob((RED, 0, 0), (BLUE, 24, 24), (BLUE, 16, 24))
    places = {}
    for label in ("cat", "dog"):
        heat = grad_cam(picture, seer, label)
        places[label] = np.unravel_index(heat.argmax(), heat.shape)
    assert max(places["cat"]) < 8
    assert min(places["dog"]) >= 16
    np.testing.assert_array_equal(grad_cam(picture, seer), grad_cam(picture, seer, "dog"))
    traced = gradcam._explain(seer.model).experimental_get_tracing_count()
    assert traced == 1, "once for all classes"


@pytest.mark.parametrize("label", ["ship", "truck"])
def test_where_nothing_speaks_for_the_class_it_is_zero(seer, label):
    heat = grad_cam(blob((RED, 0, 0)), seer, label)
    assert (heat == 0).all()
    assert (grad_cam(blob(), seer) == 0).all()


def test_finer_than_the_cells(seer):
    """Of a square amid cells, the map's middle is the square's, to within a pixel."""
    heat = grad_cam(blob((RED, 10, 13)), seer)
    weight = heat / heat.sum()
    y, x = np.mgrid[:32, :32]
    assert ((weight * y).sum(), (weight * x).sum()) == pytest.approx((13.5, 16.5), abs=1)


def test_unknown_class_is_one_line(seer):
    with pytest.raises(SettingsError, match=r"'car'.*airplane, automobile"):
        grad_cam(blob(), seer, "car")


def test_the_trained_networks_have_maps(network, report_network, drawn):
    for each in (network, report_network):
        heat = grad_cam(drawn.test.images[3], each)
        assert heat.shape == (32, 32)
        assert 0 <= heat.min() <= heat.max() <= 1
    assert grad_cam(drawn.test.images[3], network).max() == 1


def test_frozen_networks_are_explained_too(seer):
    expected = grad_cam(blob((RED, 9, 14)), seer)
    gradcam._explain.cache_clear()
    seer.model.trainable = False
    np.testing.assert_array_equal(grad_cam(blob((RED, 9, 14)), seer), expected)


def test_certainty_hides_nothing(report_network, drawn):
    """Where the softmax says 1 its gradient is 0; what is before it still says why."""
    head = report_network.model.layers[-1]
    image = drawn.test.images[3]
    label = CLASSES[report_network.logits(image[None])[0].argmax()]
    doubtful = grad_cam(image, report_network, label)
    assert doubtful.max() == 1
    head.kernel.assign(1e4 * head.kernel)
    head.bias.assign(1e4 * head.bias)
    sure = report_network.model.predict_on_batch(image[None] / np.float32(255))
    assert sure.max() == 1
    np.testing.assert_allclose(grad_cam(image, report_network, label), doubtful, atol=1e-3)


def test_reports_network_is_explained_after_a_file_too(report_network, reload, drawn):
    """Keras builds a sequential model anew with each layer that it loads."""
    image = drawn.test.images[2]
    again = Network(reload(report_network.model), report_network.card)
    expected = grad_cam(image, report_network, "frog")
    np.testing.assert_allclose(grad_cam(image, again, "frog"), expected, atol=1e-4)


# === Overlay ===


def test_cold_pictures_are_half_grey():
    image = np.full((4, 6, 3), (200, 100, 0), np.uint8)
    grey = 0.299 * 200 + 0.587 * 100
    expected = np.rint(0.5 * np.array([200, 100, 0]) + 0.5 * grey)
    found = overlay(image, np.zeros((32, 32), np.float32))
    assert (found.shape, found.dtype) == ((4, 6, 3), np.uint8)
    np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_hot_places_glow():
    heat = np.zeros((32, 32), np.float32)
    heat[:16] = 1
    found = overlay(np.zeros((64, 48, 3), np.uint8), heat).astype(int)
    assert found.shape == (64, 48, 3)
    # The hottest colour is a light yellow, laid on with 0.6.
    np.testing.assert_allclose(found[8, 8], np.array([252, 255, 164]) * 0.6, atol=3)
    assert (found[56] == 0).all()
    faint = overlay(np.zeros((64, 48, 3), np.uint8), heat, strength=0.1).astype(int)
    np.testing.assert_allclose(faint[8, 8], np.array([252, 255, 164]) * 0.1, atol=3)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (100, 7)])
def test_pictures_of_any_size_are_laid_over(size, rng):
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()
    found = overlay(image, rng.random((32, 32), np.float32))
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
