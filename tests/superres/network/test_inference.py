"""The fast form of a network gives what the slow ones give."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from superres.color import RANGE
from superres.config import NetworkConfig
from superres.fixed_point.integer import IntegerNetwork
from superres.network.inference import predictor
from superres.network.model import build_network
from superres.networks import Network


def predict(network: Network, luma: np.ndarray) -> np.ndarray:
    """(h, w) to (scale·h, scale·w), through a compiled graph, as it is used."""
    graph = tf.function(predictor(network))
    return graph(np.float32(luma)[None, ..., None])[0, ..., 0].numpy()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale": 3, "residuals": (2, 3)},
        {"scale": 4, "residuals": (), "interpolation": "nearest"},
    ],
)
def test_fixed_point_is_what_integers_give_bit_for_bit(fixed_point_network, photo, changes):
    # With fewer bits than a trained network has, the sums of random weights are exact as well.
    network = fixed_point_network(dataclasses.replace(NetworkConfig(), **changes), bits=(8, 12))
    luma = photo[:40, :50, 1]
    result = predict(network, luma)
    assert (result == IntegerNetwork.of(network)(luma).real * RANGE).all()
    assert np.ptp(result) > 50


def test_extremes_saturate_alike(fixed_point_network, rng):
    network = fixed_point_network(NetworkConfig(), bits=(8, 8))
    luma = np.uint8(255 * rng.integers(0, 2, (30, 30)))
    expected = IntegerNetwork.of(network)(luma).real * RANGE
    assert (predict(network, luma) == expected).all()


def test_floats_go_through_the_model(network, photo):
    network = Network(network, {"shape": dataclasses.asdict(NetworkConfig())})
    luma = np.float32(photo[:40, :50, 1])
    expected = network.model(luma[None, ..., None] / RANGE)[0, ..., 0].numpy() * RANGE
    np.testing.assert_allclose(predict(network, luma), expected, atol=1e-3)


def test_graphs_are_made_once_a_network_and_do_not_keep_it():
    config = NetworkConfig(widths=(4, 4), kernels=("3x3", "3x3"), residuals=())
    network = Network(build_network(config), {"shape": dataclasses.asdict(config)})
    assert predictor(network) is predictor(network)
    model = weakref.ref(network.model)
    del network
    gc.collect()
    assert model() is None
