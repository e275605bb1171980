"""The numbers of the cards: by hand on literal networks, and the command that prints them."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from atelier.errors import ImageError
from atelier.media.images import save_image
from atelier.nets.weights import save_embedded
from classify.data import CLASSES, Split
from classify.evaluate import evaluate, hit_rate, load, main
from classify.networks import Network


def flat(colour, count: int = 1) -> np.ndarray:
    return np.full((count, 32, 32, 3), colour, np.uint8)


@pytest.fixture
def judge(namer):
    """Gives the network of literal weights with another card."""

    def with_card(**changes) -> Network:
        return dataclasses.replace(namer, card={**namer.card, **changes})

    return with_card


@pytest.fixture
def outliers(tmp_path, rng):
    """A folder of three pictures that show nothing, in a folder below too."""
    for name in ("a.png", "b.png", "more/c.jpg"):
        noise = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
        save_image(tmp_path / "nothing" / name, noise)
    return tmp_path / "nothing"


# === By hand ===


def test_accuracy_and_confusion_by_hand(judge, colours):
    """Two cats, of which one is white like a frog; a frog; and a ship as it should be."""
    images = np.concatenate([flat(colours[k]) for k in (3, 6, 6, 8)])
    found = evaluate(judge(), Split(images, np.array([3, 3, 6, 8])))
    assert found.accuracy == 0.75
    expected = np.zeros((10, 10), int)
    expected[3, 3] = expected[3, 6] = expected[6, 6] = expected[8, 8] = 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.probabilities.shape == (4, 10)
    assert found.false_alarms is None, "where there is no threshold"


def test_cross_entropy_and_calibration_by_hand(judge, colours):
    split = Split(np.concatenate([flat(c) for c in colours[:4]]), np.array([0, 1, 2, 9]))
    plain, sharp = evaluate(judge(), split), evaluate(judge(temperature=0.25), split)
    for found in (plain, sharp):
        own = found.probabilities[np.arange(4), split.labels]
        assert found.cross_entropy == pytest.approx(-np.log(own).mean(), rel=1e-4)
        assert found.accuracy == 0.75
    assert sharp.cross_entropy > plain.cross_entropy, "surer, and wrong"
    # Each is in the uppermost part, or near it: so sure that just the wrong one counts.
    assert sharp.error == pytest.approx(0.25, abs=0.02)
    assert plain.error_before == sharp.error_before == plain.error
    assert plain.error != sharp.error


def test_probability_of_zero_is_a_large_number_and_no_infinity(judge, colours):
    found = evaluate(judge(temperature=1e-3), Split(flat(colours[0]), np.array([1])))
    assert found.probabilities[0, 1] == 0
    assert 80 < found.cross_entropy < 100


def test_false_alarms_are_the_part_below_the_threshold(judge, drawn):
    energies = evaluate(judge(), drawn.test).energies
    assert energies.shape == (100,)
    for below in (0, 7, 100):
        threshold = np.sort(energies)[below] if below < 100 else np.inf
        found = evaluate(judge(threshold=float(threshold)), drawn.test)
        assert found.false_alarms == pytest.approx(below / 100)


def test_views_are_those_of_the_card_or_others(network, drawn):
    split = drawn.test[:20]
    found = {views: evaluate(network, split, views).energies for views in (None, 1, 6)}
    np.testing.assert_array_equal(found[None], found[6])
    assert (found[1] != found[6]).any()


def test_measures_take_the_calibration_of_the_views(judge, drawn, outliers):
    by_views = {"1": 0.5, "2": 1.0, "6": 2.0}
    network = judge(temperature=by_views, threshold={"1": 1e9, "2": -1e9, "6": -1e9})
    for views, temperature in ((1, 0.5), (2, 1.0), (6, 2.0)):
        found = evaluate(network, drawn.test[:20], views)
        alike = evaluate(judge(temperature=temperature), drawn.test[:20], views)
        np.testing.assert_array_equal(found.probabilities, alike.probabilities)
        assert found.false_alarms == hit_rate(network, outliers, views)[0] == float(views == 1)


def test_hit_rate_is_the_part_of_a_folder_that_is_rejected(judge, outliers):
    for threshold, expected in ((-1e9, 0.0), (1e9, 1.0)):
        assert hit_rate(judge(threshold=threshold), outliers) == (expected, 3)


def test_unreadable_pictures_are_told_or_raised(judge, outliers):
    (outliers / "broken.png").write_bytes(b"no picture")
    network, told = judge(threshold=1e9), []
    with pytest.raises(ImageError, match=r"broken\.png"):
        hit_rate(network, outliers)
    assert hit_rate(network, outliers, on_unreadable=told.append) == (1.0, 3)
    assert [str(error).split(":")[0] for error in told] == [str(outliers / "broken.png")]
    for file in outliers.rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(ImageError, match="holds no readable picture"):
        hit_rate(network, outliers, on_unreadable=told.append)


def test_networks_are_run_folders_or_embedded_ones(run, embedded, network):
    assert load(str(run)).card == network.card
    assert load("strong") is embedded


# === The command ===


def command(official, *more) -> int:
    return main(["--data", str(official), *map(str, more)])


def records(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rows_hold_what_was_measured(run, network, drawn, official, outliers, tmp_path, capsys):
    out = tmp_path / "table.csv"
    arguments = ("--networks", run, "--outliers", outliers, "--out", out, "--json")
    assert command(official, *arguments) == 0
    (record,) = records(capsys)
    expected = evaluate(network, drawn.test)
    assert record["network"] == str(run)
    assert record["parameters"] == network.card["parameters"]
    assert (record["pictures"], record["views"]) == (100, 6)
    assert record["accuracy"] == pytest.approx(expected.accuracy, abs=1e-4)
    assert record["accuracy"] == network.card["accuracy"]
    assert record["cross_entropy"] == pytest.approx(expected.cross_entropy, abs=1e-4)
    assert record["ece_before"] == pytest.approx(expected.error_before, abs=1e-4)
    assert record["ece"] == pytest.approx(expected.error, abs=1e-4)
    assert record["temperature"] == network.temperature
    assert record["false_alarms"] == pytest.approx(expected.false_alarms, abs=1e-4)
    assert record["pictures_nothing"] == 3
    assert 0 <= record["hits_nothing"] <= 1
    assert record["confusion"] == expected.confusion.tolist()
    assert list(record["recall"]) == list(CLASSES)
    assert np.mean(list(record["recall"].values())) == pytest.approx(expected.accuracy, abs=1e-3)
    with open(out, newline="") as file:
        (row,) = csv.DictReader(file)
    for name, value in row.items():
        assert value == str(record[name])
    assert row.keys() == record.keys() - {"recall", "confusion"}


def test_temperature_lowers_cross_entropy_of_the_tiny_network(network, drawn):
    plain = dataclasses.replace(network, card={**network.card, "temperature": 1.0})
    tempered = evaluate(network, drawn.test).cross_entropy
    assert tempered < evaluate(plain, drawn.test).cross_entropy


def test_table_has_the_columns_of_all_networks(run, official, outliers, tmp_path, capsys):
    """Though just one of them rejects anything, whichever comes first."""
    folder = shutil.copytree(run, tmp_path / "plain")
    card = json.loads((folder / "card.json").read_text())
    del card["threshold"], card["views"]
    (folder / "card.json").write_text(json.dumps(card))
    for networks in ((run, folder), (folder, run)):
        out = tmp_path / f"{networks[0].name}.csv"
        more = ("--networks", *networks, "--outliers", outliers, "--out", out)
        assert command(official, *more) == 0
        with open(out, newline="") as file:
            rows = {row["network"]: row for row in csv.DictReader(file)}
        assert list(rows) == [str(path) for path in networks]
        assert rows[str(run)]["hits_nothing"] != ""
        assert rows[str(folder)]["hits_nothing"] == rows[str(folder)]["false_alarms"] == ""
        assert rows[str(folder)]["views"] == "1"
    assert "false_alarms" in capsys.readouterr().out


def test_numbers_and_matrix_are_printed(run, network, drawn, official, capsys):
    assert command(official, "--networks", run, "--views", 1, "--confusion") == 0
    lines = capsys.readouterr().out.splitlines()
    expected = evaluate(network, drawn.test, views=1)
    said = dict(line.split(maxsplit=1) for line in lines if line.startswith(("acc", "views")))
    assert said == {"accuracy": f"{round(expected.accuracy, 4)}", "views": "1"}
    for name, row in zip(CLASSES, expected.confusion, strict=True):
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert [int(word) for word in line.split()[1:]] == row.tolist()


def test_strong_is_measured_by_default(embedded, official, capsys):
    assert command(official, "--json") == 0
    (record,) = records(capsys)
    assert record["network"] == "strong"


def test_existing_table_is_not_overwritten(run, official, tmp_path, error_line):
    out = tmp_path / "table.csv"
    out.write_text("mine")
    arguments = ("--networks", run, "--out", out)
    assert command(official, *arguments) == 2
    assert "--overwrite" in error_line()
    assert out.read_text() == "mine"
    assert command(official, *arguments, "--overwrite") == 0
    assert out.read_text().startswith("network,parameters,")


def test_unreadable_picture_is_named_once_and_the_others_measured(
    run, network, weights, official, outliers, capsys
):
    save_embedded(network.model, "small", network.card, weights)
    (outliers / "broken.png").write_bytes(b"no picture")
    more = ("--networks", run, "small", "--outliers", outliers, "--json")
    assert command(official, *more) == 1
    said = capsys.readouterr()
    assert len([line for line in said.err.splitlines() if line.startswith("error:")]) == 1
    assert "broken.png" in said.err
    assert [json.loads(line)["pictures_nothing"] for line in said.out.splitlines()] == [3, 3]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--networks", "x"), "no embedded network 'x'; there is none"),
        (("--networks", "{place}"), "holds no finished run"),
        (("--outliers", "{place}"), "no pictures in"),
        (("--outliers", "{place}/a/x", "{place}/b/x"), "names of their own"),
        (("--views", 3), "--views"),
        (("--data", "{place}"), "holds no CIFAR-10"),
    ],
)
def test_mistake_is_one_line(run, weights, official, tmp_path, error_line, more, words):
    (tmp_path / "place").mkdir()
    more = [str(word).format(place=tmp_path / "place") for word in more]
    assert command(official, "--networks", run, *more) == 2
    assert words in error_line()
