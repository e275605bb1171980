"""`python -m detection.explain`: the table, the drawing, exit codes, one line for each mistake."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from atelier.errors import SettingsError
from atelier.media.images import load_image, save_image
from detection import explain as module
from detection.explain import choose, explain, load_network, main, table
from detection.receptive import receptive_field, receptive_fields

YELLOW = np.asarray([255, 220, 0])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A file of a network of stride 4, whose fields are 3, 4 and 8 pixels."""
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(2, 3, padding="same", name="first"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(2, 3, strides=2, name="last"),
        ]
    )
    path = tmp_path_factory.mktemp("networks") / "tiny.keras"
    model.save(path)
    return path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "grey.png"
    save_image(path, np.full((96, 120, 3), 90, np.uint8))
    return path


def run(tmp_path, *arguments) -> int:
    return main([*map(str, arguments), "--out", str(tmp_path / "out")])


# === The library ===


@pytest.fixture
def field(network):
    return receptive_field(keras.saving.load_model(network), "last", (96, 120))


def test_anchors_lie_around_the_centre_of_the_field(field):
    assert (field.size, field.stride, field.first) == ((8, 8), (4, 4), (-1, -1))
    shown = explain(np.zeros((96, 120, 3), np.uint8), field, (5, 7), scales=(16, 32), ratios=(1,))
    assert shown.centre == (5 * 4 + 2.5, 7 * 4 + 2.5)
    np.testing.assert_array_equal(shown.anchors, [[23, 15, 39, 31], [15, 7, 47, 39]])
    assert shown.anchors.dtype == np.float32


def test_the_field_is_drawn_where_it_is(field):
    grey = np.full((96, 120, 3), 90, np.uint8)
    shown = explain(grey, field, (5, 7), scales=(20,), ratios=(1,))
    y, x = np.nonzero((shown.image == YELLOW).all(axis=-1))
    x1, y1, x2, y2 = field.box((5, 7)) + 4  # Of the margin.
    assert (x.min(), y.min(), x.max(), y.max()) == (x1, y1, x2, y2)


def test_boxes_that_leave_the_picture_have_room(field):
    shown = explain(np.zeros((96, 120, 3), np.uint8), field, (0, 0), scales=(256,), ratios=(1,))
    height, width = shown.image.shape[:2]
    assert height > 256
    assert width > 256
    assert shown.image[8, 8].tolist() == [236, 236, 236], "paper, not picture"


def test_a_large_picture_is_drawn_small(field, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 60)
    shown = explain(np.zeros((96, 120, 3), np.uint8), field, scales=(8,), ratios=(1,))
    assert shown.image.shape[0] <= 60 + 80
    assert shown.position == (11, 14)


def test_the_position_must_be_in_the_map(field):
    with pytest.raises(SettingsError, match=r"--position 23 0 .* last, 23 rows and 29 columns"):
        explain(np.zeros((96, 120, 3), np.uint8), field, (23, 0))


def test_the_layer_that_is_chosen_is_faster_rcnns():
    fields = receptive_fields(load_network("vgg16", (64, 64)))
    assert choose(fields) == "block5_conv3"
    assert choose({name: f for name, f in fields.items() if f.stride[0] < 16}) == "block4_conv3"
    with pytest.raises(SettingsError, match="no layer of this network"):
        choose({})


def test_the_table_by_hand(network):
    fields = receptive_fields(keras.saving.load_model(network), (96, 120))
    assert [line.split() for line in table(fields).splitlines()] == [
        ["layer", "class", "map", "stride", "field", "first", "centre", "y,", "x"],
        ["first", "Conv2D", "96×120", "1×1", "3×3", "0,", "0"],
        ["pool", "MaxPooling2D", "48×60", "2×2", "4×4", "0.5,", "0.5"],
        ["last", "Conv2D", "23×29", "4×4", "8×8", "2.5,", "2.5"],
    ]


# === The command ===


def test_with_no_input_it_runs_on_the_example(tmp_path, capsys):
    assert run(tmp_path) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("layer")
    (conv5,) = [line.split() for line in lines if line.startswith("block5_conv3")]
    assert conv5[2:] == ["32×32", "16×16", "196×196", "7.5,", "7.5"]
    drawing = tmp_path / "out" / "astronaut.anchors.png"
    assert list((tmp_path / "out").iterdir()) == [drawing]
    assert str(drawing) in said.err
    assert load_image(drawing).shape[1] >= 724, "as wide as the widest anchor"


def test_json_is_an_object_a_layer(tmp_path, network, picture, capsys):
    assert run(tmp_path, picture, "--network", network, "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["layer"] for record in records] == ["first", "pool", "last"]
    assert records[-1] == {
        "input": str(picture),
        "network": str(network),
        "layer": "last",
        "kind": "Conv2D",
        "map_size": [23, 29],
        "stride": [4, 4],
        "size": [8, 8],
        "first": [-1, -1],
        "whole": False,
        "offset": [2.5, 2.5],
    }


def test_layer_and_position_are_shown(tmp_path, network, picture):
    settings = ("--network", network, "--scales", 8, "--ratios", 1)
    assert run(tmp_path, picture, *settings, "--layer", "pool", "--position", 3, 4) == 0
    image = load_image(tmp_path / "out" / "grey.anchors.png")
    field = receptive_field(keras.saving.load_model(network), "pool", (96, 120))
    expected = explain(load_image(picture), field, (3, 4), scales=(8,), ratios=(1,))
    np.testing.assert_array_equal(image, expected.image)


def test_a_network_of_one_size_is_shown_a_picture_of_that_size(tmp_path, picture, capsys):
    model = keras.Sequential([keras.Input((50, 40, 3)), layers.Conv2D(1, 3, name="only")])
    model.save(tmp_path / "fixed.keras")
    assert run(tmp_path, picture, "--network", tmp_path / "fixed.keras", "--scales", 9) == 0
    assert "48×38" in capsys.readouterr().out


def test_what_exists_stays_without_overwrite(tmp_path, network, picture, error_line):
    drawing = tmp_path / "out" / "grey.anchors.png"
    drawing.parent.mkdir()
    drawing.write_text("mine")
    assert run(tmp_path, picture, "--network", network) == 1
    assert "exists" in error_line()
    assert drawing.read_text() == "mine"
    assert run(tmp_path, picture, "--network", network, "--overwrite") == 0
    assert load_image(drawing).shape[2] == 3


def test_a_bad_picture_is_named_and_the_others_are_done(tmp_path, network, picture, error_line):
    (tmp_path / "bad.jpg").write_text("text")
    assert run(tmp_path, tmp_path / "bad.jpg", picture, "--network", network) == 1
    assert "bad.jpg" in error_line()
    assert (tmp_path / "out" / "grey.anchors.png").exists()


def test_a_picture_too_small_for_the_network_is_named(tmp_path, error_line):
    save_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    assert run(tmp_path, tmp_path / "dot.png") == 1
    assert "dot.png: vgg16 takes no pictures of 1×1" in error_line()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--network", "vgg61"], "no network 'vgg61': pass a .keras file, or one of"),
        (["--network", "nowhere.keras"], "nowhere.keras: no such file"),
        (["--network", "TINY", "--layer", "lost"], "did you mean last"),
        (["--network", "TINY", "--position", "99", "0"], "--position 99 0 is not in the map"),
        (["--scales", "0"], "--scales are from 0.01 to 4096"),
        (["--ratios", "nan"], "--ratios are from 0.01 to 100"),
        (["--scales", *map(str, range(1, 11))], "--scales takes 1 to 9 numbers, not 10"),
        (["--position", "1"], "position"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, network, picture, error_line, flags, reason):
    flags = [str(network) if flag == "TINY" else flag for flag in flags]
    assert run(tmp_path, picture, *flags) == 2
    assert reason in error_line()
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_damaged_or_holds_code_is_one_line(tmp_path, picture, error_line):
    path = tmp_path / "bad.keras"
    path.write_text("no zip")
    assert run(tmp_path, picture, "--network", path) == 2
    assert "bad.keras cannot be loaded" in error_line()
    model = keras.Sequential([keras.Input((9, 9, 3)), layers.Lambda(lambda x: x + 1)])
    model.save(path)
    assert run(tmp_path, picture, "--network", path) == 2
    assert "bad.keras cannot be loaded" in error_line(), "code in a file is not run"


def test_a_network_that_takes_no_picture_is_one_line(tmp_path, picture, error_line):
    keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save(tmp_path / "flat.keras")
    assert run(tmp_path, picture, "--network", tmp_path / "flat.keras") == 2
    assert "does not take one picture" in error_line()
