"""Tests of `benchmarks.scale`: what it plans, leaves out, goes on from, and says of memory."""

import json
import re

import numpy as np
import pytest

from atelier.media.images import load_image
from benchmarks import scale
from benchmarks.scale import BenchmarkArguments, Point
from benchmarks.scale_pictures import Pictures, large_picture, small_picture
from benchmarks.scale_plot import COLORS, plot, spread
from benchmarks.scale_report import growth
from benchmarks.scale_watch import Failed, Watched

SHORT = ["--tasks", "classify", "superres", "--counts", "10", "200", "--megapixels", "0.25", "1"]
MB = 1_000_000


@pytest.fixture
def measured(monkeypatch):
    """Stands in for the processes: points that were asked for, and how their memory grows."""

    class Measured:
        def __init__(self):
            self.asked, self.leak = [], 0

        def __call__(self, point, seconds, folder, stopped):
            self.asked.append((point.task, point.series, point.value))
            peaks = tuple(800 * MB + number * self.leak for number in range(point.pictures + 1))
            return scale.as_record(Watched(8.0, point.pictures, 2.0, peaks, False))

    stub = Measured()
    monkeypatch.setattr(scale, "measure", stub)
    monkeypatch.setattr(scale, "plot", lambda records: np.zeros((90, 120, 3), np.uint8))
    return stub


# === What is measured ===


def test_points_are_all_tasks_by_counts_and_by_megapixels():
    arguments = BenchmarkArguments(("cartoon", "nst whole"), counts=(10, 100), megapixels=(1,))
    assert [(p.task, p.series, p.value) for p in scale.points(arguments)] == [
        ("cartoon", "counts", 10),
        ("cartoon", "counts", 100),
        ("cartoon", "megapixels", 1),
        ("nst whole", "megapixels", 1),
    ]


def test_by_default_it_takes_less_than_half_an_hour():
    arguments = BenchmarkArguments()
    seconds = scale.expected_seconds(scale.points(arguments), arguments.seconds)
    assert 10 * 60 < seconds < 30 * 60


def test_what_is_expected_to_take_long_is_counted_once_and_cut():
    points = [Point("cartoon", "counts", count) for count in (10, 100_000, 1_000_000)]
    start, each, _ = scale.TASKS["cartoon"].rough
    expected = (start + each + 10 * each) + (start + each + 60)
    assert scale.expected_seconds(points, 60) == pytest.approx(expected)


def test_what_the_point_before_rules_out_is_left_out():
    def reason(series, value, **last):
        row = {"seconds": 1.0, "cut": False, "pictures": 10, "value": 10, **last}
        return scale.left_out([row], Point("cartoon", series, value), 100)

    assert scale.left_out([], Point("cartoon", "counts", 10_000), 100) is None
    assert reason("counts", 1000) is None
    assert reason("counts", 1000, cut=True) == "about 17 minutes, by the point before it"
    assert reason("megapixels", 48, seconds=20.0) is None
    assert reason("megapixels", 48, seconds=30.0).startswith("about 2 minutes")
    assert reason("megapixels", 1, left_out="no picture in 9 s") == "no picture in 9 s"


# === Pictures ===


def test_small_pictures_are_the_same_each_time_and_of_many_shapes():
    pictures = [small_picture(number, 80) for number in range(60)]
    assert all(max(p.shape[:2]) == 80 and min(p.shape[:2]) >= 48 for p in pictures)
    assert len({picture.shape for picture in pictures}) > 30
    assert {picture.shape[2] for picture in pictures} == {3}
    np.testing.assert_array_equal(pictures[7], small_picture(7, 80))
    assert len({picture.tobytes() for picture in pictures}) == 60


@pytest.mark.parametrize("megapixels", [0.25, 1])
def test_large_pictures_have_their_pixels_and_grain(megapixels):
    picture = large_picture(0, megapixels)
    height, width = picture.shape[:2]
    assert height * width == pytest.approx(megapixels * 1e6, rel=0.005)
    assert width / height == pytest.approx(4 / 3, rel=0.01)
    assert np.abs(np.diff(picture.astype(int), axis=1)).mean() > 2
    assert not np.array_equal(picture, large_picture(1, megapixels)[:, ::-1])


def test_a_folder_has_the_large_pictures_last(tmp_path):
    folder = Pictures(tmp_path).of(small=3, side=80, large=2, megapixels=0.25)
    sides = [max(load_image(file).shape) for file in sorted(folder.iterdir())]
    assert sides == [80] * 3 + [577] * 2


# === The command ===


def test_results_are_kept_and_gone_on_from(measured, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert scale.main([*SHORT[:-1], *out]) == 0
    assert len(measured.asked) == 6
    measured.asked.clear()
    assert scale.main([*SHORT, *out]) == 0
    assert measured.asked == [("classify", "megapixels", 1), ("superres", "megapixels", 1)]
    assert "2 points to measure, 6 there" in capsys.readouterr().err
    assert load_image(tmp_path / "scale.png").shape == (90, 120, 3)
    assert scale.main([*SHORT, *out, "--seconds", "5"]) == 2
    assert "measured with --seconds 90" in capsys.readouterr().err
    assert scale.main([*SHORT, *out, "--seconds", "5", "--overwrite"]) == 0
    (tmp_path / "scale.json").write_text("[]", encoding="utf-8")
    assert scale.main([*SHORT, *out]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_run_that_is_stopped_keeps_its_points(measured, tmp_path, monkeypatch):
    def stop(point, *rest):
        if point.series == "megapixels":
            raise KeyboardInterrupt
        return measured(point, *rest)

    monkeypatch.setattr(scale, "measure", stop)
    assert scale.main([*SHORT, "--out", str(tmp_path)]) == 130
    report = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))
    assert [row["value"] for row in report["points"]] == [10, 200]
    assert measured.asked == [("classify", "counts", 10), ("classify", "counts", 200)]


def test_memory_that_grows_with_the_pictures_fails_it(measured, tmp_path, capsys):
    measured.leak = 3 * scale.THUMBNAIL**2 * 30
    out = ["--counts", "10", "200", "--out", str(tmp_path)]
    assert scale.main(["--tasks", "classify", *out]) == 1
    said = capsys.readouterr().out
    assert "classify: 576,000 bytes a picture between the 100th and the 200th" in said
    assert "MEMORY GROWS" in said


def test_growth_is_judged_in_the_longest_run_from_the_100th_picture_on():
    def row(pictures, peak, **more):
        return {"task": "nst", "series": "counts", "pictures": pictures, "peak": peak, **more}

    flat = [row(10, 5 * MB), row(10_100, 841 * MB, peak_before=800 * MB)]
    assert list(growth(flat)) == [
        {
            "task": "nst",
            "pictures": 10_100,
            "bytes_a_picture": 4100,
            "grown": 41 * MB,
            "allowed": 40_960_000,
            "flat": False,
        }
    ]
    assert next(growth([row(200, 839 * MB, peak_before=800 * MB)]))["flat"]
    assert not next(growth([row(200, 841 * MB, peak_before=800 * MB)]))["flat"]
    assert list(growth([row(10, 5 * MB)])) == []


def test_tables_say_what_was_cut_and_what_left_out(measured, tmp_path, monkeypatch, capsys):
    def some(point, *rest):
        if point.value == 1:
            raise Failed("no picture in 100 s")
        if point.value == 200:
            return scale.as_record(Watched(8.0, 40, 100.0, (900 * MB,) * 41, True))
        return scale.as_record(Watched(8.0, 10, 0.125, (900 * MB,) * 11, False))

    monkeypatch.setattr(scale, "measure", some)
    assert scale.main([*SHORT, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "| classify | 80 (900 MB) | 0.40 (900 MB, 40 done) |" in said.out
    assert "| classify | 0.013 s (900 MB) | – |" in said.out
    assert said.err.count("left out: no picture in 100 s") == 2
    assert "superres: not judged, as no folder of more than 100 pictures was done" in said.out


def test_json_is_one_object(measured, tmp_path, capsys):
    assert scale.main([*SHORT, "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["points"]) == 8
    assert {row["task"] for row in report["growth"]} == {"classify", "superres"}


@pytest.mark.parametrize(
    "flags",
    [["--tasks", "gallery"], ["--counts", "10", "5"], ["--megapixels", "500"], ["--seconds", "0"]],
)
def test_bad_usage_is_one_line(flags, tmp_path, capsys):
    assert scale.main([*flags, "--out", str(tmp_path)]) == 2
    assert re.fullmatch(r"error: [^\n]+\n", capsys.readouterr().err)


@pytest.mark.soak
def test_classify_as_it_is(tmp_path, capsys):
    flags = ["--tasks", "classify", "--counts", "10", "300", "--megapixels", "0.25", "12"]
    assert scale.main([*flags, "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["pictures"] for row in report["points"]] == [10, 300, 10, 2]
    assert all(200 * MB < row["peak"] < 2000 * MB for row in report["points"])
    assert report["growth"][0]["flat"]
    small, large = (row["seconds"] for row in report["points"][2:])
    assert 5 < large / small < 500


# === The plot ===


def test_plot_draws_each_task_in_its_colour():
    row = {"seconds": 0.5, "cut": False, "pictures": 10, "value": 10, "peak": 10**9}
    one = [{**row, "task": "cartoon", "series": series} for series in ("counts", "megapixels")]
    drawn = plot(one)
    assert drawn.shape == (900, 1200, 3)
    for task, color in COLORS.items():
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (drawn == wanted).all(axis=2).any() == (task == "cartoon")


def test_labels_keep_apart():
    assert spread([0.5, 0.1, 0.9], 0.05) == [0.5, 0.1, 0.9]
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    moved = spread([0.5, 0.52, 0.1, 0.49], 0.1)
    assert np.diff(sorted(moved)).min() >= 0.1 - 1e-9
    assert np.argsort(moved).tolist() == [2, 3, 0, 1]
