"""Portraits: cut out, drawn, laid on a background."""

import types

import numpy as np
import pytest

from atelier.errors import ImageError, SettingsError
from atelier.media.images import save_image
from cartoon import PRESETS, CartoonConfig, CutOutConfig, cartoonize, portray
from cartoon.drawing.backdrop import WHITE, find_backdrop, lay_on
from cartoon.drawing.fine import draw_fine
from cartoon.drawing.report import draw_report
from cartoon.people import matting

PLAIN = CutOutConfig(refine=False)


@pytest.fixture
def mask() -> np.ndarray:
    """A square with soft sides, float32 (96, 96)."""
    mask = np.zeros((96, 96), np.float32)
    mask[20:80, 30:70] = 1
    mask[20:80, 28:30] = mask[20:80, 70:72] = 0.5
    return mask


@pytest.fixture(autouse=True)
def network(monkeypatch, mask):
    """The embedded network, which finds `mask`, or whatever its `probability` is set to."""
    network = types.SimpleNamespace(probability=lambda image: mask.copy())
    monkeypatch.setattr("cartoon.people.person.embedded", lambda: network)
    return network


def test_fine_draws_the_colours_in_front_and_lays_them_on_white(photo, mask):
    result = portray(photo, cutting=PLAIN)
    drawn = draw_fine(matting.foreground(photo, mask), PRESETS["fine"], mask=mask)
    np.testing.assert_array_equal(result.image, lay_on(drawn, mask, WHITE))
    np.testing.assert_array_equal(result.mask, mask)
    assert result.mask.dtype == np.float32
    assert result.found
    assert result.seconds > 0


def test_report_draws_what_is_laid_on_white(photo, mask):
    drawn = draw_report(lay_on(photo, mask, WHITE), PRESETS["report"])
    for white in ("white", "#ffffff", "#ffffffff"):
        found = portray(photo, "report", background=white, cutting=PLAIN).image
        np.testing.assert_array_equal(found, drawn)
    on_blue = portray(photo, "report", background="#0000ff", cutting=PLAIN).image
    np.testing.assert_array_equal(on_blue, lay_on(drawn, mask, np.uint8((0, 0, 255))))


def test_edges_are_refined_unless_asked_otherwise(photo, mask):
    np.testing.assert_array_equal(portray(photo).mask, matting.refine(mask, photo))


@pytest.mark.parametrize("preset", PRESETS)
def test_backgrounds(photo, painting, mask, preset, tmp_path):
    save_image(tmp_path / "behind.png", painting)
    outside = mask == 0
    for name in ("#102030", "photo", str(tmp_path / "behind.png")):
        found = portray(photo, preset, background=name, cutting=PLAIN).image
        assert found.shape == (96, 96, 3)
        behind = np.broadcast_to(find_backdrop(name)(photo), photo.shape)
        np.testing.assert_array_equal(found[outside], behind[outside])
        assert (found[~outside] != behind[~outside]).any()
    found = portray(photo, preset, background="transparent", cutting=PLAIN).image
    np.testing.assert_array_equal(found[..., 3], np.rint(255 * mask))


def test_a_background_can_be_a_function(photo, mask):
    found = portray(photo, background=lambda photo: photo // 2, cutting=PLAIN).image
    np.testing.assert_array_equal(found[mask == 0], photo[mask == 0] // 2)


def test_the_config_is_used(photo):
    config = CartoonConfig(smoothing=0, outline=0)
    assert (portray(photo, config=config).image != portray(photo).image).any()


def test_alpha_on_the_photo_itself_stays(photo):
    alpha = np.arange(96, dtype=np.uint8).repeat(96).reshape(96, 96) * 2
    found = portray(np.dstack([photo, alpha]), background="photo", cutting=PLAIN).image
    np.testing.assert_array_equal(found[..., 3], alpha)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("channels", [3, 4])
def test_without_anybody_all_is_drawn_on_nothing(photo, network, preset, channels):
    network.probability = lambda image: np.full((96, 96), 0.3, np.float32)
    picture = np.dstack([photo, photo[..., 0]])[..., :channels]
    result = portray(picture, preset, background="transparent")
    assert not result.found
    np.testing.assert_array_equal(result.image, cartoonize(picture, preset).image)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (30, 1500)])
def test_any_size(network, preset, shape, rng):
    picture = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for found in (np.ones(shape, np.float32), np.float32(x + y < sum(shape) / 2)):
        network.probability = lambda image, found=found: found.copy()
        result = portray(picture, preset, background="transparent")
        assert result.image.shape == (*shape, 4)
        assert result.image.dtype == np.uint8


def test_mistakes_are_refused(photo, tmp_path):
    with pytest.raises(SettingsError, match="no preset 'oil'"):
        portray(photo, "oil")
    with pytest.raises(SettingsError, match="no background 'nonsense'"):
        portray(photo, background="nonsense")
    with pytest.raises(ImageError, match=r"none\.jpg: no such file"):
        portray(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match=r"behind\.png: no such file"):
        portray(photo, background=str(tmp_path / "behind.png"))
