"""`cartoon.evaluate`: the report's numbers, its bars, the command."""

import csv
import json
import math
import signal
import types

import numpy as np
import pytest
from PIL import Image

import cartoon
from atelier.errors import SettingsError
from atelier.media.images import load_image, save_image
from cartoon import CartoonConfig, accuracy
from cartoon.evaluate import COLUMNS, EXAMPLES, MOST_BARS, as_figure, draw_bars, evaluate, main
from cartoon.metrics import Accuracy
from cartoon.people import person

PLAIN = ("--no-cut-out",)
BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # Of pictures' bars, and of their mean's.


def ellipse(image: np.ndarray) -> np.ndarray:
    """Somebody in the middle."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    inside = (2 * y / height - 1) ** 2 + (2 * x / width - 1) ** 2 < 0.6
    return inside.astype(np.float32)


@pytest.fixture
def somebody(monkeypatch):
    """In the middle of each picture, as the embedded network would find them."""
    network = types.SimpleNamespace(probability=ellipse)
    monkeypatch.setattr(person, "embedded", lambda: network)


@pytest.fixture
def nobody(monkeypatch):
    network = types.SimpleNamespace(probability=lambda image: 0 * ellipse(image))
    monkeypatch.setattr(person, "embedded", lambda: network)


@pytest.fixture
def folder(tmp_path, photo, painting):
    """Two pictures and a text that says it is one."""
    folder = tmp_path / "pictures"
    save_image(folder / "a.png", photo)
    save_image(folder / "c.png", painting)
    (folder / "b.jpg").write_text("no picture")
    return folder


def table(out) -> list[dict[str, str]]:
    with open(out / "accuracy.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def coloured(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has nearly one colour: bool (H, W)."""
    return (np.abs(image.astype(int) - colour) < 8).all(axis=-1)


# === The function ===


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_the_whole_picture_is_compared_with_its_cartoon(photo, preset):
    found = evaluate(photo, preset, cut_out=False)
    np.testing.assert_array_equal(found.picture, photo)
    np.testing.assert_array_equal(found.image, cartoon.cartoonize(photo, preset).image)
    assert found.accuracy == accuracy(photo, found.image)
    assert found.found is None
    assert found.seconds > 0


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_the_cut_out_on_white_is_compared_with_its_cartoon(somebody, photo, preset):
    found = evaluate(photo, preset)
    np.testing.assert_array_equal(found.image, cartoon.portray(photo, preset).image)
    white = (found.picture == 255).all(axis=-1)
    assert white[:10, :10].all()
    np.testing.assert_array_equal(found.picture[40:56, 40:56], photo[40:56, 40:56])
    assert found.accuracy == accuracy(found.picture, found.image)
    assert found.found is True
    assert found.accuracy.ssim > evaluate(photo, preset, cut_out=False).accuracy.ssim


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_without_anybody_the_whole_picture_is_compared(nobody, photo, preset):
    found = evaluate(photo, preset)
    whole = evaluate(photo, preset, cut_out=False)
    assert found.found is False
    np.testing.assert_array_equal(found.image, whole.image)
    assert found.accuracy == whole.accuracy


def test_transparent_parts_are_white(photo):
    alpha = np.full((96, 96, 1), 255, np.uint8)
    alpha[:, :48] = 0
    found = evaluate(np.concatenate([photo, alpha], axis=-1), cut_out=False)
    assert found.picture.shape == found.image.shape == (96, 96, 3)
    assert (found.picture[:, :48] == 255).all()
    np.testing.assert_array_equal(found.picture[:, 48:], photo[:, 48:])


def test_centroids_are_those_of_the_drawing(photo):
    """A group of one level has no other to be split from: one centroid for each channel."""
    grey = np.full((20, 30, 3), 90, np.uint8)
    assert evaluate(grey, "report", cut_out=False).centroids == 3
    assert evaluate(grey, "fine", cut_out=False).centroids == 1
    few, many = (
        evaluate(photo, cut_out=False, config=CartoonConfig(method="report", smallest=smallest))
        for smallest in (256, 10)
    )
    assert few.centroids < many.centroids
    # Colours are a hue, a saturation and a value each; and black, of outlines.
    tones = len(np.unique(few.image.reshape(-1, 3), axis=0))
    assert tones <= (few.centroids / 3) ** 3 + 1


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (900, 1200), (1, 5000), (33, 33)])
def test_a_figure_has_white_margins_all_around(shape):
    figure = as_figure(np.zeros((*shape, 3), np.uint8))
    assert figure.shape == (288, 432, 3)
    ys, xs = np.nonzero((figure < 255).any(axis=-1))
    top, bottom, left, right = ys.min(), 287 - ys.max(), xs.min(), 431 - xs.max()
    assert min(top, bottom) >= 34
    assert min(left, right) >= 43
    assert min(top - 34, left - 54) <= 1  # One of its sides fills the axes.
    assert bottom - top in (0, 1, 2)  # Of matplotlib's axes the middle is a bit above
    assert left - right in (10, 11, 12)  # and to the right of the figure's.
    assert len(ys) <= 0.6 * figure[..., 0].size


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_with_margins_the_figure_is_drawn_and_compared(somebody, photo, preset):
    cut = evaluate(photo, preset)
    found = evaluate(photo, preset, margins=True)
    np.testing.assert_array_equal(found.picture, as_figure(cut.picture))
    np.testing.assert_array_equal(found.image, cartoon.cartoonize(found.picture, preset).image)
    assert found.found is True
    assert found.accuracy == accuracy(found.picture, found.image)


def test_no_such_preset(photo):
    with pytest.raises(SettingsError, match="no preset 'coarse'"):
        evaluate(photo, "coarse")


# === The bars ===


def test_bars_are_as_long_as_their_values():
    """Of two pictures one has twice the numbers: its bars are twice as long."""
    low, high = Accuracy(math.exp(4), 4.0, 0.4), Accuracy(math.exp(8), 8.0, 0.8)
    drawn = draw_bars(["low", "high"], [low, high])
    assert drawn.dtype == np.uint8
    half = drawn.shape[1] // 2
    for side in (drawn[:, :half], drawn[:, half:]):
        lengths = coloured(side, BLUE).sum(axis=1)
        rows = np.flatnonzero(lengths > 20)
        first, second = lengths[rows[2]], lengths[rows[-3]]
        assert second == pytest.approx(2 * first, rel=0.05)
    mean = coloured(drawn[:, half:], ORANGE).sum(axis=1).max()
    assert mean == pytest.approx(1.5 * first, rel=0.05)


def test_any_name_and_no_difference_can_be_drawn():
    names = ["$x_$.png", "長い名前.png", "a" * 200, "same.png"]
    same = Accuracy(0.0, -math.inf, 1.0)
    drawn = draw_bars(names, [same] * 4)
    assert coloured(drawn[:, drawn.shape[1] // 2 :], BLUE).any()
    assert drawn.shape[1] == 900


def test_there_are_no_endless_bars():
    one = Accuracy(100.0, math.log(100), 0.5)
    tall = draw_bars(["a"] * MOST_BARS, [one] * MOST_BARS).shape
    assert draw_bars(["a"] * 5000, [one] * 5000).shape == tall


# === The command ===


def test_table_bars_and_json(somebody, folder, tmp_path, capsys, photo):
    (folder / "b.jpg").unlink()
    assert main([str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    rows = table(tmp_path / "out")
    assert tuple(rows[0]) == COLUMNS
    assert [row["picture"] for row in rows] == [
        str(folder / "a.png"),
        str(folder / "c.png"),
        "mean",
    ]
    expected = evaluate(photo)
    assert rows[0]["found"] == "True"
    assert float(rows[0]["mse"]) == pytest.approx(expected.accuracy.mse, abs=1e-3)
    assert float(rows[0]["log_mse"]) == pytest.approx(expected.accuracy.log_mse, abs=1e-4)
    assert float(rows[0]["ssim"]) == pytest.approx(expected.accuracy.ssim, abs=1e-4)
    assert int(rows[0]["centroids"]) == expected.centroids
    mse, ssim = (np.mean([float(row[n]) for row in rows[:2]]) for n in ("mse", "ssim"))
    assert float(rows[2]["mse"]) == pytest.approx(mse, abs=1e-3)
    assert float(rows[2]["log_mse"]) == pytest.approx(math.log(mse), abs=1e-4)
    assert float(rows[2]["ssim"]) == pytest.approx(ssim, abs=1e-4)
    assert coloured(load_image(tmp_path / "out" / "accuracy.png"), BLUE).any()
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    printed = json.loads(line)
    assert printed["preset"] == "report"
    assert printed["cut_out"] is True
    assert [one["picture"] for one in printed["pictures"]] == [row["picture"] for row in rows[:2]]
    assert printed["mean"]["ssim"] == float(rows[2]["ssim"])
    words = [text.split() for text in said.err.splitlines()]
    assert ["picture", "MSE", "log", "MSE", "SSIM"] in words
    assert ["mean", f"{mse:.1f}", f"{math.log(mse):.3f}", f"{ssim:.4f}"] in words


def test_a_broken_picture_is_named_and_the_others_done(folder, tmp_path, error_line):
    assert main([str(folder), *PLAIN, "--out", str(tmp_path / "out")]) == 1
    assert "b.jpg: not a picture" in error_line()
    names = [row["picture"] for row in table(tmp_path / "out")]
    assert names == [str(folder / "a.png"), str(folder / "c.png"), "mean"]


def test_nothing_is_written_if_nothing_was_measured(folder, tmp_path, error_line):
    assert main([str(folder / "b.jpg"), *PLAIN, "--out", str(tmp_path / "out")]) == 1
    assert "b.jpg" in error_line()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "config"),
    [
        ((), CartoonConfig(method="report")),
        (("--preset", "fine"), CartoonConfig()),
        (
            ("--alpha", "0.5", "--smallest", "16", "--canny", "20", "60"),
            CartoonConfig(method="report", alpha=0.5, smallest=16, canny=(20, 60)),
        ),
        (("--margins",), CartoonConfig(method="report")),
    ],
)
def test_settings_are_used(folder, tmp_path, photo, flags, config):
    assert main([str(folder / "a.png"), *PLAIN, *flags, "--out", str(tmp_path / "out")]) == 0
    found = float(table(tmp_path / "out")[0]["ssim"])
    expected = evaluate(photo, config=config, cut_out=False, margins="--margins" in flags)
    assert found == pytest.approx(expected.accuracy.ssim, abs=1e-4)


def test_nobody_found_is_told(nobody, folder, tmp_path, capsys):
    assert main([str(folder / "a.png"), "--out", str(tmp_path / "out"), "--json"]) == 0
    said = capsys.readouterr()
    assert "nobody found" in said.err
    assert json.loads(said.out)["pictures"][0]["found"] is False


def test_no_difference_has_no_logarithm(tmp_path, capsys):
    Image.new("RGB", (40, 30), "white").save(tmp_path / "white.png")
    out = tmp_path / "out"
    # A single level is its own centroid.
    assert main([str(tmp_path / "white.png"), *PLAIN, "--out", str(out), "--json"]) == 0
    assert [row["log_mse"] for row in table(out)] == ["", ""]
    printed = json.loads(capsys.readouterr().out)
    assert printed["mean"] == {"mse": 0.0, "log_mse": None, "ssim": 1.0}


def test_results_are_not_overwritten_unasked(folder, tmp_path, error_line):
    command = [str(folder / "a.png"), *PLAIN, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    (tmp_path / "out" / "accuracy.csv").write_text("mine")
    assert main(command) == 2
    assert "accuracy.csv exists" in error_line()
    assert (tmp_path / "out" / "accuracy.csv").read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert len(table(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--alpha", "2"), "--alpha"),
        (("--preset", "coarse"), "no preset 'coarse'"),
        (("--feather", "-1"), "--feather"),
    ],
)
def test_what_makes_no_sense_is_one_line(folder, tmp_path, error_line, flags, message):
    assert main([str(folder), *flags, "--out", str(tmp_path / "out")]) == 2
    assert message in error_line()
    assert not (tmp_path / "out").exists()


def test_without_input_ten_samples_are_measured(tmp_path, monkeypatch):
    """Without waiting for them to be drawn."""
    seen = []

    def quick(image, **options):
        seen.append(image.name)
        return evaluate(load_image(image)[:16, :16], **options)

    monkeypatch.setattr("cartoon.evaluate.evaluate", quick)
    assert main([*PLAIN, "--out", str(tmp_path)]) == 0
    assert seen == list(EXAMPLES)
    assert len(set(EXAMPLES)) == 10


def test_ctrl_c_keeps_what_is_done(folder, tmp_path, monkeypatch, error_line):
    def interrupted(image, **options):
        signal.raise_signal(signal.SIGINT)
        return evaluate(image, **options)

    monkeypatch.setattr("cartoon.evaluate.evaluate", interrupted)
    assert main([str(folder), *PLAIN, "--out", str(tmp_path / "out")]) == 130
    assert "stopped" in error_line()
    assert [row["picture"] for row in table(tmp_path / "out")] == [str(folder / "a.png"), "mean"]
