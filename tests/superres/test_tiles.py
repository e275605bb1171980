"""Tiles leave no trace; colours, alpha and borders are what they should be."""

import dataclasses

import numpy as np
import pytest
from skimage.color import rgb2ycbcr, ycbcr2rgb

from atelier.errors import SettingsError
from superres.color import RANGE
from superres.config import NetworkConfig
from superres.fixed_point.integer import IntegerNetwork
from superres.network.model import build_network
from superres.networks import Network
from superres.resample import bicubic
from superres.tiles import TiledNetwork, spans
from superres.training.data import luma_8_bit


@pytest.fixture(scope="module")
def nothing_added() -> Network:
    """A network of floats whose convolutions give zero: it interpolates, and that is all."""
    config = NetworkConfig(widths=(4, 4), kernels=("3x3", "3x3"), residuals=())
    model = build_network(config)
    model.get_layer("pointwise_2").kernel.assign(np.zeros((1, 1, 4, 4)))
    return Network(model, {"shape": dataclasses.asdict(config)})


def with_alpha(photo: np.ndarray) -> np.ndarray:
    return np.dstack([photo, photo[::-1, :, 1]])


def by_the_book(network: Network, luma: np.ndarray) -> np.ndarray:
    """Luma by the integer network, the border mirrored; float64, not rounded."""
    padded = np.pad(luma, 8, mode="symmetric")
    border = 8 * network.scale
    result = IntegerNetwork.of(network)(padded).real * RANGE
    return result[border:-border, border:-border]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("kind", ["grey", "color", "alpha"])
def test_tiles_give_what_the_whole_gives_bit_for_bit(small_network, photo, scale, kind):
    picture = {"grey": photo[..., 1], "color": photo, "alpha": with_alpha(photo)}[kind][:91, :77]
    network = small_network(scale=scale)
    whole = TiledNetwork(network, tile=4096)(picture)
    assert whole.shape == (91 * scale, 77 * scale, *picture.shape[2:])
    for tile in (17, 32, 60):
        assert (TiledNetwork(network, tile)(picture) == whole).all()


def test_tiles_of_the_whole_network_leave_no_trace(fixed_point_network, photo):
    network = fixed_point_network(NetworkConfig())
    whole, tiled = (TiledNetwork(network, tile)(photo) for tile in (4096, 32))
    assert (whole == tiled).all()


def test_grey_is_its_own_luma(small_network, photo):
    grey = photo[:50, :41, 0]
    result = TiledNetwork(small_network(), 32)(grey)
    expected = np.clip(np.floor(by_the_book(small_network(), grey) + 0.5), 0, 255)
    assert result.dtype == np.uint8
    assert (result == expected).all()


def test_luma_goes_through_the_network_and_chroma_is_bicubic(small_network, photo):
    """By way of YCbCr, plane by plane."""
    network = small_network()
    ycbcr, rounded = rgb2ycbcr(photo), luma_8_bit(photo)
    rest = np.dstack([ycbcr[..., 0] - rounded, ycbcr[..., 1:]])  # What rounding took is kept.
    rest = np.pad(rest, ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    size = rest.shape[0] * 2, rest.shape[1] * 2
    planes = np.stack([bicubic(rest[..., i], size)[16:-16, 16:-16] for i in range(3)], axis=-1)
    planes[..., 0] += by_the_book(network, rounded)
    expected = np.clip(np.rint(ycbcr2rgb(planes) * 255), 0, 255)
    difference = np.abs(TiledNetwork(network)(photo).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # Ties of rounding.


def test_without_detail_it_is_bicubic_interpolation(nothing_added, photo):
    expected = [
        np.clip(np.rint(bicubic(photo[..., i], (192, 192))), 0, 255).astype(int) for i in range(3)
    ]
    result = TiledNetwork(nothing_added, 32)(photo)
    # Pillow continues borders in another way.
    difference = np.abs(result - np.stack(expected, axis=-1))[6:-6, 6:-6]
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize("color", [(255, 0, 0), (200, 30, 41), (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 2)])
def test_flat_colors_stay_just_as_they_are(nothing_added, color, shape):
    picture = np.full((*shape, 3), color, np.uint8)
    result = TiledNetwork(nothing_added)(picture)
    assert result.shape == (2 * shape[0], 2 * shape[1], 3)
    assert (result == color).all()


def test_beyond_the_border_lies_the_mirror_image(small_network, photo):
    picture = photo[:40, :36]
    mirrored = np.pad(picture, ((12, 12), (12, 12), (0, 0)), mode="symmetric")
    inside = TiledNetwork(small_network())(mirrored)[24:-24, 24:-24]
    assert (TiledNetwork(small_network())(picture) == inside).all()


def test_alpha_is_bicubic_and_colors_do_not_depend_on_it(small_network, photo):
    picture = with_alpha(photo)
    picture[..., 3] |= 1  # Nothing is wholly transparent.
    result = TiledNetwork(small_network())(picture)
    assert (result[..., :3] == TiledNetwork(small_network())(photo)).all()
    alpha = np.clip(bicubic(picture[..., 3], (192, 192)), 0, 255)
    assert np.abs(result[..., 3] - alpha)[6:-6, 6:-6].max() <= 1


def test_colors_hidden_in_transparency_do_not_shine_through(nothing_added):
    y, x = np.mgrid[:40, :40]
    disc = (x - 20) ** 2 + (y - 20) ** 2 < 200
    picture = np.zeros((40, 40, 4), np.uint8)  # Black, and transparent.
    picture[disc] = 255
    result = TiledNetwork(nothing_added)(picture)
    assert (result[result[..., 3] > 0] >= [254, 254, 254, 1]).all()
    assert 0 < result[..., 3].mean() < 255
    assert (result[:4, :4] == 0).all(), "far from what is seen, nothing changes"


def test_tiles_are_told_of(small_network, photo):
    told = []
    TiledNetwork(small_network(), 48)(photo, lambda *event: told.append(event))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_sizes_do_not_retrace(small_network, photo):
    network = TiledNetwork(small_network(), 40)
    for shape in ((30, 20), (96, 96), (50, 41)):
        network(photo[: shape[0], : shape[1]])
    assert network._graphs._compiled[3].experimental_get_tracing_count() == 1


def test_spans_are_even_and_cover_all():
    assert list(spans(10, 4)) == [slice(0, 3), slice(3, 6), slice(6, 10)]
    assert list(spans(8, 8)) == [slice(0, 8)]
    assert list(spans(1, 8)) == [slice(0, 1)]


def test_networks_of_the_comparison_are_refused(nothing_added):
    network = dataclasses.replace(nothing_added, card={**nothing_added.card, "network": "vdsr"})
    with pytest.raises(SettingsError, match="vdsr"):
        TiledNetwork(network)
