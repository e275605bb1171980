"""The embedded network: what it is asked, what it finds, what it costs on disk."""

import keras
import numpy as np
import pytest

import cartoon.people.person as module
from atelier.errors import WeightsError
from atelier.media.images import load_image, resize, sample
from cartoon.people.cutting import cut_out
from cartoon.people.model import build_person_segmenter
from cartoon.people.person import WEIGHTS, PersonNetwork, embedded, looked_at


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((512, 512, 3), 256, (256, 256)),
        ((3000, 4000, 3), 384, (336, 448)),
        ((100, 900, 3), 256, (80, 768)),
        ((1, 20000, 3), 384, (32, 1536)),
        ((1, 1, 3), 256, (256, 256)),
    ],
)
def test_pictures_are_looked_at_with_about_the_same_number_of_pixels(shape, side, expected):
    assert looked_at(shape, side) == expected


def test_a_picture_and_its_mirror_image_give_mirrored_masks(photo):
    keras.utils.set_random_seed(0)
    network = PersonNetwork(build_person_segmenter(), {})
    one, other = network.probability(photo), network.probability(photo[:, ::-1])
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-5)
    assert one.shape == (96, 96)
    assert one.dtype == np.float32
    assert 0 <= one.min() < one.max() <= 1


def test_the_graph_is_traced_once_for_all_sizes(photo):
    network = PersonNetwork(build_person_segmenter(), {})
    for size in ((96, 96), (40, 120), (333, 77)):
        network.probability(resize(photo, size))
    assert module._forward(network.model).experimental_get_tracing_count() == 1


def test_the_embedded_network_finds_the_astronaut():
    """Face, suit and the near hand are hers; the flag, the wall and the shuttle are not."""
    found = embedded().probability(load_image(sample("astronaut.png")))
    hers = ((120, 220), (300, 150), (420, 100), (60, 215), (330, 260))
    others = ((60, 60), (100, 330), (150, 420), (300, 480), (20, 500), (250, 30))
    assert min(found[place] for place in hers) > 0.9
    assert max(found[place] for place in others) < 0.1


def test_nobody_is_found_where_nobody_is():
    for name in ("coffee.png", "rocket.jpg", "chelsea.png", "brick.png"):
        assert not cut_out(sample(name)).found, name
    for name in ("astronaut.png", "camera.png"):
        assert cut_out(sample(name)).found, name


def test_it_is_small_and_its_card_is_whole():
    assert (WEIGHTS / "person.npz").stat().st_size < 3_000_000
    card = embedded().card
    for key in ("command", "data", "data_licence", "epochs", "seconds", "machine", "started_from"):
        assert card[key], key
    scores = card["mean_iou"]
    assert scores["person"] >= 0.88
    assert scores["person"] > max(scores["mediapipe-selfie"], scores["deeplabv3-mobilenetv2"])


def test_a_damaged_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    embedded.cache_clear()
    try:
        with pytest.raises(WeightsError, match=r"person\.npz is missing; install the package anew"):
            embedded()
    finally:
        embedded.cache_clear()
