"""Pictures as a network takes them, and boxes brought back."""

import numpy as np
import pytest

from detection.network.architectures import LITE, RESNET50_FPN
from detection.network.transform import fitted_size, normalize, prepare, resize, restore


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [
        ((480, 640), (800, 1066)),
        ((640, 480), (1066, 800)),
        ((375, 1242), (402, 1333)),
        ((600, 1000), (799, 1333)),
        ((131, 98), (1069, 800)),
        ((427, 640), (800, 1199)),
        ((500, 333), (1201, 800)),
        ((3000, 100), (1333, 44)),
        ((800, 1333), (800, 1333)),
        ((1, 1), (800, 800)),
    ],
)
def test_sizes_are_those_that_torchvision_resizes_to(shape, fitted):
    """As `GeneralizedRCNNTransform(800, 1333)` of torchvision 0.28 gave them."""
    assert fitted_size((*shape, 3), RESNET50_FPN) == fitted


def test_a_hair_keeps_a_pixel():
    assert fitted_size((1, 20_000), LITE) == (1, 704)
    assert prepare([np.zeros((1, 20_000, 3), np.uint8)], LITE)["images"].shape == (1, 64, 704, 3)


def test_colours_are_those_of_the_backbones():
    pixel = np.array([[[255, 128, 0]]], np.uint8)
    caffe = [0 - 103.939, 128 - 116.779, 255 - 123.68]  # BGR less the mean.
    torch = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]
    for architecture, expected in ((LITE, caffe), (RESNET50_FPN, torch)):
        found = normalize(pixel, architecture)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("architecture", [LITE, RESNET50_FPN])
def test_pictures_are_padded_with_zeros_to_the_multiple(architecture):
    white = [np.full(shape, 255, np.uint8) for shape in ((100, 150, 3), (150, 100, 3), (50, 50, 3))]
    batch = prepare(white, architecture)
    sizes = [fitted_size(image.shape, architecture) for image in white]
    assert batch["images"].dtype == batch["sizes"].dtype == np.float32
    np.testing.assert_array_equal(batch["sizes"], sizes)
    multiple = architecture.multiple
    side = -(-max(max(size) for size in sizes) // multiple) * multiple
    assert batch["images"].shape == (3, side, side, 3)
    for image, (height, width) in zip(batch["images"], sizes, strict=True):
        found = image[:height, :width].reshape(-1, 3)
        expected = normalize(white[0], architecture)[0, 0]
        assert np.abs(found - expected).max() < 1e-3
        assert (image[height:] == 0).all()
        assert (image[:, width:] == 0).all()


def test_shrinking_with_antialias_is_the_mean_of_areas():
    image = np.zeros((40, 40, 3), np.uint8)
    image[::4] = 200  # Bilinearly, from four pixels each, the lines would vanish or stay whole.
    assert (resize(image, (10, 10), True) == 50).all()
    assert (resize(image, (10, 10), False) != 50).all()
    assert resize(image, (40, 40), True) is image


@pytest.mark.parametrize("shape", [(333, 500), (500, 333), (97, 1201), (2000, 1500)])
def test_restored_boxes_are_where_they_were(shape):
    height, width = shape
    boxes = np.array([[0, 0, width, height], [10, 20, 40, 70]], np.float32)
    fitted = fitted_size(shape, RESNET50_FPN)
    ratio = np.array(fitted, np.float32) / shape
    found = restore(boxes * ratio[[1, 0, 1, 0]], np.float32(fitted), (*shape, 3))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, boxes, rtol=1e-5, atol=1e-4)
    assert restore(np.zeros((0, 4)), fitted, shape).shape == (0, 4)
