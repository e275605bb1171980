"""Cut-outs: masks at full resolution, colours in front, and the alpha that a picture had."""

import importlib
import types

import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError, SettingsError
from cartoon import CutOutConfig, cut_out
from cartoon.people import matting
from cartoon.people.cutting import anybody

# By import: the function `cartoon.cut_out` hides the module of that name.
module = importlib.import_module("cartoon.people.cutting")

PLAIN = CutOutConfig(refine=False)


def ellipse(image: np.ndarray) -> np.ndarray:
    """A standing one in the middle, float32 (H, W), 0 or 1."""
    height, width = image.shape[:2]
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None] - 0.5
    return np.float32(x**2 / 0.09 + y**2 / 0.16 < 1)


@pytest.fixture(autouse=True)
def seen(monkeypatch) -> list[np.ndarray]:
    """What the embedded network, which finds an ellipse, was shown."""
    pictures = []

    def probability(image):
        pictures.append(image)
        return ellipse(image)

    network = types.SimpleNamespace(probability=probability)
    monkeypatch.setattr("cartoon.people.person.embedded", lambda: network)
    return pictures


def test_the_mask_is_the_networks(photo, seen):
    result = cut_out(photo, config=PLAIN)
    np.testing.assert_array_equal(result.mask, ellipse(photo))
    assert result.mask.dtype == np.float32
    np.testing.assert_array_equal(result.image[..., 3], 255 * ellipse(photo))
    inside = ellipse(photo) == 1
    np.testing.assert_array_equal(result.image[..., :3][inside], photo[inside])
    np.testing.assert_array_equal(seen[0], photo)
    assert (result.segmenter, result.found) == ("person", True)
    assert result.seconds > 0


def test_the_mask_is_refined_then_feathered(photo):
    refined = matting.refine(ellipse(photo), photo)
    np.testing.assert_array_equal(cut_out(photo).mask, refined)
    found = cut_out(photo, config=CutOutConfig(feather=6))
    np.testing.assert_array_equal(found.mask, matting.feather(refined, 6))
    assert (found.mask != refined).any()
    np.testing.assert_array_equal(found.image[..., 3], np.rint(255 * found.mask))


def test_colours_are_those_in_front(monkeypatch):
    """Half-way between red and blue: red."""
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, :29, 0] = image[:, 31:, 2] = 240
    image[:, 29:31] = 120, 0, 120
    mask = np.float32(image[..., 0] / 240)
    monkeypatch.setattr(module, "find_people", lambda picture, config: (mask, True))
    found = cut_out(image).image[:, 29:31]
    assert found[..., 0].min() > 180
    assert found[..., 2].max() < 60


def test_what_was_transparent_stays_so(photo, seen):
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[:48], alpha[:20] = 102, 0
    found = cut_out(np.dstack([photo, alpha]), config=PLAIN)
    np.testing.assert_allclose(found.mask, ellipse(photo) * (alpha / 255), atol=1e-6)
    assert found.mask.dtype == np.float32
    np.testing.assert_array_equal(found.image[..., 3], ellipse(photo) * alpha)
    assert seen[0].shape == (96, 96, 3)
    assert (seen[0][:20] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (40, 2000)])
def test_any_size(shape, rng):
    picture = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    result = cut_out(picture, config=CutOutConfig(feather=3))
    assert result.image.shape == (*shape, 4)
    assert result.image.dtype == np.uint8
    assert result.mask.shape == shape
    assert 0 <= result.mask.min() <= result.mask.max() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_pictures_of_any_mode(photo, mode):
    assert cut_out(Image.fromarray(photo).convert(mode)).image.shape == (96, 96, 4)


def test_nobody(photo, monkeypatch):
    nobody = types.SimpleNamespace(probability=lambda image: np.zeros((96, 96), np.float32))
    monkeypatch.setattr("cartoon.people.person.embedded", lambda: nobody)
    result = cut_out(photo)
    assert not result.found
    assert not result.mask.any()
    assert not result.image[..., 3].any()


def test_the_reports_network_can_be_asked_for(photo, monkeypatch, tmp_path):
    asked = []

    def deeplab_mask(image, **options):
        asked.append(options)
        return 1 - ellipse(image)

    monkeypatch.setattr(module, "deeplab_mask", deeplab_mask)
    config = CutOutConfig(
        segmenter="deeplabv3-resnet101",
        classes="person",
        deeplab_weights=tmp_path / "weights.pth",
        refine=False,
    )
    result = cut_out(photo, config=config)
    np.testing.assert_array_equal(result.mask, 1 - ellipse(photo))
    assert result.segmenter == "deeplabv3-resnet101"
    assert asked == [{"classes": "person", "checkpoint": tmp_path / "weights.pth"}]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"segmenter": "sam"}, "no segmenter 'sam': person or deeplabv3-resnet101"),
        ({"classes": "cats"}, "no classes 'cats': any or person"),
        ({"feather": -1}, "--feather"),
        ({"feather": 1e9}, "--feather is from 0 to 1000 pixels"),
        ({"feather": float("nan")}, "--feather"),
    ],
)
def test_senseless_settings_are_refused(settings, words):
    with pytest.raises(SettingsError, match=words):
        CutOutConfig(**settings)


def test_bad_pictures_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"a\.jpg: not a picture"):
        cut_out(tmp_path / "a.jpg")


def test_anybody_is_more_than_a_speck_and_sure():
    mask = np.zeros((100, 100), np.float32)
    assert not anybody(mask)
    mask[:3, :3] = 1
    assert not anybody(mask)
    mask[20:60, 20:60] = 0.8
    assert not anybody(mask)
    mask[20:60, 20:60] = 0.9
    assert anybody(mask)
