"""`python -m nst.sweep`: the report's settings, a grid, and going on after a kill."""

import csv
import importlib
import json
import os

import pytest

import nst
from atelier.media.images import load_image
from nst.sweep import main

QUICK = ("--size", "48", "--iterations", "2", "--coarsest", "0")


def arguments(folder, *more):
    inputs = (str(folder / "photo.png"), str(folder / "painting.png"))
    return [*inputs, "--out", str(folder / "out"), *QUICK, *map(str, more)]


def table(folder):
    with open(folder / "out" / "trials.csv", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def trials(monkeypatch):
    """The settings of each trial that is run, in order."""
    seen = []
    module = importlib.import_module("nst.sweep")
    real = module.stylize

    def stylize(content, style, config, **options):
        seen.append(config)
        return real(content, style, config, **options)

    monkeypatch.setattr(module, "stylize", stylize)
    return seen


def test_grid_is_run_and_shown(tiny_features, files, capsys):
    grid = ("--grid", "content_weight=0.1,10", "style_weight=1,2", "--json")
    assert main(arguments(files, *grid)) == 0
    rows = table(files)
    settings = [(row["content_weight"], row["style_weight"]) for row in rows]
    assert settings == [("0.1", "1.0"), ("0.1", "2.0"), ("10.0", "1.0"), ("10.0", "2.0")]
    for row in rows:
        parts = sum(float(row[name]) for name in ("content", "style", "variation"))
        assert float(row["loss"]) == pytest.approx(parts)
    for number in range(4):
        assert load_image(files / "out" / f"trial-{number:03d}.png").shape == (48, 48, 3)
    assert load_image(files / "out" / "contact_sheet.png").shape[0] > 2 * 320
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == rows


def test_report_runs_its_seven_settings_in_order(network, files, monkeypatch):
    """Without waiting for their 7,500 iterations."""
    seen = []
    short = nst.StyleTransferConfig(size=32, iterations=0, coarsest=0)

    def stylize(content, style, config, **options):
        seen.append(config)
        return nst.stylize(content, style, short, network=network)

    monkeypatch.setattr(importlib.import_module("nst.sweep"), "stylize", stylize)
    inputs = [str(files / "photo.png"), str(files / "painting.png")]
    assert main([*inputs, "--report", "--out", str(files / "out"), "--size", "64"]) == 0
    found = [(c.iterations, c.style_weight, c.learning_rate, c.trainable) for c in seen]
    assert found == [tuple(settings.values()) for settings in nst.REPORT_SETTINGS]
    for config in seen:
        assert (config.features, config.content_weight, config.size) == ("vgg19", 1e3, 64)
    assert len(table(files)) == 7


def test_finished_sweep_runs_nothing_again(tiny_features, files, trials):
    grid = ("--grid", "seed=1,2")
    assert main(arguments(files, *grid)) == 0
    before = (files / "out" / "trials.csv").read_text()
    assert main(arguments(files, *grid)) == 0
    assert len(trials) == 2
    assert (files / "out" / "trials.csv").read_text() == before


def test_other_sweep_in_the_same_folder_is_refused(tiny_features, files, error_line):
    assert main(arguments(files, "--grid", "seed=1")) == 0
    assert main(arguments(files, "--grid", "seed=1,2")) == 2
    assert "another sweep" in error_line()


def test_failed_trial_is_named_and_the_others_done(tiny_features, files, error_line):
    grid = ("--grid", "content_layers=block4_conv1,relu4_2")
    assert main(arguments(files, *grid)) == 1
    line = error_line()
    assert "trial 1" in line
    assert "relu4_2" in line
    rows = table(files)
    assert [bool(row["error"]) for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("no_such=1", "no_such"),
        ("style_weight", "FIELD=VALUE"),
        ("style_weight=a", "style-weight"),
        ("size=10", "--size"),
    ],
)
def test_grid_that_makes_no_sense_is_one_line(files, error_line, grid, message):
    assert main(arguments(files, "--grid", grid)) == 2
    assert message in error_line()
    assert not (files / "out").exists()


def test_missing_photo_is_one_line(tiny_features, files, error_line):
    (files / "photo.png").unlink()
    assert main(arguments(files, "--grid", "seed=1")) == 2
    assert "photo.png: no such file" in error_line()


def test_samples_are_drawn_and_the_same_command_goes_on(tiny_features, files, trials):
    grid = ("--grid", "content_weight=log:1e-3..1", "seed=0..9", "--samples", "3")
    assert main(arguments(files, *grid)) == 0
    assert len({config.content_weight for config in trials}) == 3
    assert all(1e-3 <= config.content_weight <= 1 for config in trials)
    assert main(arguments(files, *grid)) == 0
    assert len(trials) == 3
    assert main(arguments(files, *grid, "--sample-seed", "1")) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--grid", "style_weight=0.1..1"), "--grid style_weight is a range: pass --samples N"),
        (("--samples", "0"), "--samples must be at least 1"),
        (("--report", "--samples", "2"), "--report tries all of its seven settings"),
        (("--cluster", "localhost"), "--cluster is auto or ray://HOST:PORT"),
        (("--cluster", "ray://localhost:1"), "--cluster ray://localhost:1: no cluster answers"),
        (("--scheduler", "asha"), "it goes with --cluster"),
        (
            ("--cluster", "auto", "--scheduler", "asha", "--grid", "style_weight=1,2"),
            "losses at different style_weight cannot be compared",
        ),
    ],
)
def test_flags_of_search_and_cluster_that_make_no_sense_are_one_line(
    files, error_line, more, message
):
    assert main(arguments(files, *more)) == 2
    assert message in error_line()
    assert not (files / "out" / "trials.csv").exists()


@pytest.mark.soak
def test_a_cluster_gives_the_same_table(files, monkeypatch, capfd):
    """With the embedded network; only rounding differs, as sums are in another order."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    grid = ("--grid", "seed=1", "content_weight=0.02,0.1", "--precision", "float32")
    assert main(arguments(files, *grid)) == 0
    here = table(files)
    pictures = [load_image(files / "out" / f"trial-00{n}.png").astype(int) for n in range(2)]
    (files / "out").rename(files / "here")
    capfd.readouterr()
    assert main(arguments(files, *grid, "--cluster", "auto")) == 0
    said = capfd.readouterr()
    assert said.out == ""
    first, second, last = said.err.splitlines()
    assert {first, second} == {"trial 1 of 2", "trial 2 of 2"}
    assert last == f"{files / 'out' / 'contact_sheet.png'}: 2 trials"
    there = table(files)
    for name in here[0]:
        for row, other in zip(here, there, strict=True):
            if name in ("loss", "content", "style", "variation"):
                assert float(other[name]) == pytest.approx(float(row[name]), rel=1e-3)
            elif name != "seconds":
                assert other[name] == row[name]
    for number, picture in enumerate(pictures):
        other = load_image(files / "out" / f"trial-00{number}.png").astype(int)
        assert abs(other - picture).max() <= 2


@pytest.mark.soak
def test_asha_stops_what_does_not_get_down(files, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    more = ("--iterations", "12", "--optimizer", "adam", "--grid", "learning_rate=4,1e-6,1e-7")
    asha = ("--cluster", "auto", "--scheduler", "asha", "--trial-cpus", os.cpu_count())
    assert main(arguments(files, *more, *asha)) == 0
    rows = table(files)
    assert [row["stopped_at"] for row in rows] == ["", "4", "4"]
    assert [row["error"] for row in rows] == [""] * 3
    assert float(rows[0]["loss"]) < float(rows[1]["loss"])
    assert load_image(files / "out" / "trial-002.png").shape == (48, 48, 3)
