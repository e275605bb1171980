"""Settings: what is refused, and the report's own numbers."""

import dataclasses
import math

import pytest

import nst
from atelier.errors import SettingsError
from nst.config import STYLE_LAYERS, parse_layers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("epsilon", -1),
        ("style_scale", 0),
        ("style_scale", math.inf),
        ("tile", 0),
        ("tile", 40),
        ("size", -1),
        ("size", 31),
        ("coarsest", -1),
        ("margin", -1),
        ("iterations", -1),
        ("content_weight", -0.1),
        ("content_weight", math.nan),
        ("style_weight", math.inf),
        ("tv_weight", -1),
        ("beta_1", 1),
        ("beta_1", -0.1),
        ("style_weights", (1, -1)),
        ("style_weights", (0, 0)),
        ("style_weights", (math.nan, 1)),
        ("style_weights", (math.inf, 1)),
        ("content_layers", ("block1_conv1:0",)),
        ("style_layers", ("block1_conv1", "block1_conv1:2")),
    ],
)
def test_senseless_setting_is_refused_in_one_line(name, value):
    with pytest.raises(SettingsError) as caught:
        nst.StyleTransferConfig(**{name: value})
    message = str(caught.value)
    assert "\n" not in message
    assert name.replace("_", "-") in message or "layer" in message


def test_no_layer_at_all_is_refused():
    with pytest.raises(SettingsError, match="no layer"):
        nst.StyleTransferConfig(content_layers=(), style_layers=())


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("size", 32), ("iterations", 0), ("margin", 0), ("coarsest", 0), ("tile", 16)],
)
def test_bounds_of_settings_are_allowed(name, value):
    assert getattr(nst.StyleTransferConfig(**{name: value}), name) == value


def test_layers_weigh_alike_by_default():
    """The report's w_l = 1/|L|."""
    weights = parse_layers(STYLE_LAYERS)
    assert list(weights) == list(STYLE_LAYERS)
    assert set(weights.values()) == {1 / 5}


def test_layer_weights_are_scaled_to_one():
    assert parse_layers(("a:3", "b")) == {"a": 0.75, "b": 0.25}


@pytest.mark.parametrize("layer", ["a:", "a:1e-3"])
def test_layer_weight_is_read(layer):
    assert parse_layers((layer,)) == {"a": 1}


@pytest.mark.parametrize("layer", ["a:x", "a:-1", "a:0", "a:nan", "a:inf", "a:1:2"])
def test_layer_weight_that_is_no_positive_number_is_refused(layer):
    with pytest.raises(SettingsError, match="must be a positive number"):
        parse_layers((layer,))


def test_no_layers_have_no_weights():
    assert parse_layers(()) == {}


def test_report_is_what_the_report_says():
    config = nst.REPORT
    assert config.features == "vgg19"
    assert config.content_layers == ("block5_conv2",)
    assert config.style_layers == tuple(f"block{block}_conv1" for block in range(1, 6))
    assert (config.content_weight, config.style_weight) == (1e3, 1e-2)
    assert (config.optimizer, config.learning_rate, config.beta_1, config.epsilon) == (
        *("adam", 2, 0.99, 0.1),
    )
    assert (config.init, config.coarsest, config.margin, config.normalize) == (
        *("content", 0, 0, False),
    )
    assert (config.tv_weight, config.pooling, config.precision) == (0, "max", "float32")


def test_report_settings_are_its_seven_in_its_order():
    rows = [
        (s["iterations"], s["style_weight"], s["learning_rate"], s["trainable"])
        for s in nst.REPORT_SETTINGS
    ]
    assert rows == [
        (1000, 1e-2, 2, False),
        (7500, 1e-2, 2, False),
        (7500, 1e-2, 2, True),
        (7500, 1e-2, 4, False),
        (1000, 1e-2, 4, False),
        (7500, 1e-1, 2, False),
        (7500, 1e-3, 2, False),
    ]
    for settings in nst.REPORT_SETTINGS:
        assert dataclasses.replace(nst.REPORT, **settings).content_weight == 1e3


def test_fast_is_the_default():
    assert nst.PRESETS["fast"] == nst.StyleTransferConfig()
    assert nst.PRESETS["report"] == nst.REPORT
