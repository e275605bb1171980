"""`python -m cartoon.sweep`: a grid, the cut-out found once, going on after a stop."""

import csv
import json
import types

import numpy as np
import pytest

from atelier.media.images import load_image, save_image
from cartoon import CartoonConfig
from cartoon import sweep as sweep_module
from cartoon.evaluate import evaluate
from cartoon.people import person
from cartoon.sweep import DEFAULT_GRID, main, sweep

REPORT = CartoonConfig(method="report")


@pytest.fixture
def picture(tmp_path, photo):
    save_image(tmp_path / "photo.png", photo)
    return tmp_path / "photo.png"


@pytest.fixture
def asked(monkeypatch) -> list:
    """The pictures in which the embedded network, which finds somebody below, is asked to."""
    seen = []

    def probability(image):
        seen.append(image)
        mask = np.zeros(image.shape[:2], np.float32)
        mask[30:] = 1
        return mask

    monkeypatch.setattr(person, "embedded", lambda: types.SimpleNamespace(probability=probability))
    return seen


@pytest.fixture
def trials(monkeypatch) -> list[CartoonConfig]:
    """The settings of each trial that is run, in order."""
    seen = []
    real = sweep_module.measure

    def measure(picture, mask, config):
        seen.append(config)
        return real(picture, mask, config)

    monkeypatch.setattr(sweep_module, "measure", measure)
    return seen


def table(out) -> list[dict[str, str]]:
    with open(out / "trials.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def test_grid_is_drawn_measured_and_shown(asked, picture, tmp_path, capsys):
    out = tmp_path / "out"
    grid = ("--grid", "smallest=16,80", "canny=100:200,20:60", "--json")
    assert main([str(picture), *grid, "--out", str(out)]) == 0
    rows = table(out)
    settings = [(row["smallest"], row["canny"]) for row in rows]
    assert settings == [
        (smallest, canny) for smallest in ("16", "80") for canny in ("(100, 200)", "(20, 60)")
    ]
    assert len(asked) == 1
    for number, (smallest, canny) in enumerate(
        (smallest, canny) for smallest in (16, 80) for canny in ((100, 200), (20, 60))
    ):
        config = CartoonConfig(method="report", smallest=smallest, canny=canny)
        expected = evaluate(picture, config=config)
        row = rows[number]
        assert float(row["ssim"]) == pytest.approx(expected.accuracy.ssim, abs=1e-4)
        assert float(row["log_mse"]) == pytest.approx(expected.accuracy.log_mse, abs=1e-4)
        assert int(row["centroids"]) == expected.centroids
        assert float(row["seconds"]) >= 0
        drawn = load_image(out / f"trial-{number:03d}.png")
        np.testing.assert_array_equal(drawn, expected.image)
    assert load_image(out / "contact_sheet.png").shape[0] > 2 * 320
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == rows


def test_without_a_grid_alpha_and_smallest_are_varied(picture, tmp_path, trials):
    assert main([str(picture), "--no-cut-out", "--out", str(tmp_path / "out")]) == 0
    assert len(trials) == 9
    assert {config.method for config in trials} == {"report"}
    assert len({(config.alpha, config.smallest) for config in trials}) == 9
    assert REPORT.alpha in {config.alpha for config in trials}
    assert REPORT.smallest in {config.smallest for config in trials}


@pytest.mark.parametrize("preset", ["report", "fine"])
def test_preset_and_flags_are_what_the_grid_varies(picture, tmp_path, trials, preset):
    command = [str(picture), "--no-cut-out", "--preset", preset, "--smallest", "24"]
    assert main([*command, "--grid", "outline=0,2", "--out", str(tmp_path / "out")]) == 0
    assert [config.method for config in trials] == [preset] * 2
    assert [config.outline for config in trials] == [0.0, 2.0]
    assert [config.smallest for config in trials] == [24, 24]
    first, second = (load_image(tmp_path / "out" / f"trial-00{n}.png") for n in range(2))
    assert (first != second).any() == (preset == "fine")


def test_the_cut_out_can_be_left_out(asked, picture, tmp_path, photo):
    out = tmp_path / "out"
    assert main([str(picture), "--no-cut-out", "--grid", "alpha=0.01", "--out", str(out)]) == 0
    assert not asked
    assert (load_image(out / "trial-000.png")[:20] != 255).any()
    # Another sweep than that of the cut-out.
    assert main([str(picture), "--grid", "alpha=0.01", "--out", str(out)]) == 2


def test_finished_sweep_runs_nothing_again(picture, tmp_path, trials):
    command = [str(picture), "--no-cut-out", "--grid", "canny=10:20,30:40"]
    command += ["--out", str(tmp_path / "out")]
    assert main(command) == 0
    before = (tmp_path / "out" / "trials.csv").read_text()
    assert main(command) == 0
    assert len(trials) == 2
    assert (tmp_path / "out" / "trials.csv").read_text() == before
    (tmp_path / "out" / "trial-001.png").unlink()
    assert main(command) == 0
    assert [config.canny for config in trials[2:]] == [(30, 40)]


def test_ctrl_c_keeps_finished_trials(picture, tmp_path, monkeypatch, error_line):
    real = sweep_module.measure

    def measure(picture, mask, config):
        if config.smallest == 40:
            raise KeyboardInterrupt
        return real(picture, mask, config)

    monkeypatch.setattr(sweep_module, "measure", measure)
    command = [str(picture), "--no-cut-out", "--out", str(tmp_path / "out")]
    assert main([*command, "--grid", "smallest=20,40"]) == 130
    assert "stopped" in error_line()
    assert [row["smallest"] for row in table(tmp_path / "out")] == ["20"]


def test_the_function_takes_arrays_and_tells_of_trials(photo, tmp_path):
    told = []
    rows = sweep(
        photo,
        ["smallest=20,40"],
        out=tmp_path,
        cut_out=False,
        on_trial=lambda index, total: told.append((index, total)),
    )
    assert told == [(0, 2), (1, 2)]
    assert [row["smallest"] for row in rows] == ["20", "40"]
    assert len(DEFAULT_GRID) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("no_such=1", "no_such"),
        ("segmenter=person", "segmenter"),
        ("alpha", "FIELD=VALUE"),
        ("alpha=2", "--alpha"),
        ("canny=100", "--canny"),
        ("canny=200:100", "--canny"),
    ],
)
def test_grid_that_makes_no_sense_is_one_line(picture, tmp_path, error_line, grid, message):
    assert main([str(picture), "--grid", grid, "--out", str(tmp_path / "out")]) == 2
    assert message in error_line()
    assert not (tmp_path / "out").exists()


def test_missing_and_several_pictures_are_one_line(picture, tmp_path, error_line):
    out = str(tmp_path / "out")
    assert main([str(tmp_path / "none.png"), "--no-cut-out", "--out", out]) == 2
    assert "none.png: no such file" in error_line()
    assert main([str(picture), str(picture), "--out", out]) == 2
    assert "one picture, not 2" in error_line()
    assert not (tmp_path / "out").exists()


def test_samples_are_drawn_and_there_is_nothing_to_stop_early(
    picture, tmp_path, trials, error_line
):
    command = [str(picture), "--no-cut-out", "--out", str(tmp_path / "out")]
    command += ["--grid", "smallest=16..80", "alpha=log:1e-4..1e-1", "--samples", "2"]
    assert main(command) == 0
    assert len({(config.smallest, config.alpha) for config in trials}) == 2
    assert all(16 <= config.smallest <= 80 for config in trials)
    assert main([*command, "--cluster", "auto", "--scheduler", "asha"]) == 2
    assert "no steps at which to stop" in error_line()
