"""Which settings a sweep tries: all of a grid, or some at random."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

import pytest

from atelier.errors import SettingsError
from atelier.sweeps.search import draw_settings, parse_grid


@dataclasses.dataclass(frozen=True)
class Config:
    """What is swept."""

    weight: float = 1.0
    steps: int = 10
    kind: Literal["max", "average"] = "max"
    keep: bool = False
    seed: int | None = None
    out: Path = Path("out")
    pair: tuple[int, int] = (1, 2)
    sizes: tuple[float, ...] = ()
    layers: tuple[str, ...] = ()


CHANGES = [{"weight": w, "steps": s} for w in (0.5, 2.0) for s in (3, 4)]


# === A grid ===


def test_the_last_axis_is_the_fastest():
    assert parse_grid(["weight=0.5,2", "steps=3,4"], Config()) == CHANGES
    assert [type(value) for value in parse_grid(["steps=3"], Config())[0].values()] == [int]


def test_no_axis_is_one_trial_of_the_base():
    assert parse_grid([], Config()) == [{}]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("weight=1e3,-1e-3, .5", [1000.0, -0.001, 0.5]),
        ("kind=max, average", ["max", "average"]),
        ("keep=true,False", [True, False]),
        ("seed=None,7", [None, 7]),
        ("out=a/b,c", [Path("a/b"), Path("c")]),
        ("--steps=1", [1]),
        ("pair=100:200, 50:150", [(100, 200), (50, 150)]),
        ("sizes=1,2:.5:4", [(1.0,), (2.0, 0.5, 4.0)]),
        ("layers=a:2,b", [("a:2",), ("b",)]),
    ],
)
def test_values_are_read_as_flags_are(axis, values):
    (name,) = parse_grid([axis], Config())[0]
    assert [change[name] for change in parse_grid([axis], Config())] == values


def test_hyphens_and_underscores_are_the_same():
    @dataclasses.dataclass(frozen=True)
    class Long:
        """Settings."""

        learning_rate: float = 1.0

    assert parse_grid(["learning-rate=2"], Long()) == parse_grid(["learning_rate=2"], Long())


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["weight"], "--grid takes FIELD=VALUE,VALUE with a field of the settings, not 'weight'"),
        (["weight="], "not 'weight='"),
        (["=1"], "not '=1'"),
        ([""], "not ''"),
        (["width=1"], "not 'width=1'"),
        (["weight=1,x"], "--weight: could not convert string to float: 'x'"),
        (["weight=1,,2"], "--weight: could not convert string to float: ''"),
        (["steps=1.5"], "--steps: invalid literal for int"),
        (["kind=min"], "'min'"),
        (["pair=1:2,3"], "--pair"),
        (["pair=1:2:3"], "3"),
        (["pair=1:x"], "'x'"),
        (["keep=perhaps"], "keep is true or false, not 'perhaps'"),
        (["weight=1", "steps=2", "weight=3"], "--grid names weight twice"),
    ],
)
def test_a_bad_axis_is_one_line(axes, words):
    with pytest.raises(SettingsError) as caught:
        parse_grid(axes, Config())
    text = str(caught.value)
    assert words in text
    assert "\n" not in text
    assert "--help" not in text  # There is no command named --grid to ask.


def test_values_may_make_sense_with_the_base_alone():
    @dataclasses.dataclass(frozen=True)
    class Pair:
        """Settings that need each other."""

        width: int = 0
        height: int = 0

        def __post_init__(self):
            if (self.width == 0) != (self.height == 0):
                raise SettingsError("give both --width and --height, or neither")

    assert parse_grid(["width=8,9"], Pair(1, 1)) == [{"width": 8}, {"width": 9}]
    assert len(parse_grid(["width=8,9", "height=3"], Pair())) == 2
    with pytest.raises(SettingsError, match="give both"):
        parse_grid(["width=8"], Pair())


# === At random ===


def test_the_same_seed_draws_the_same_and_another_others():
    axes = ["weight=log:1e-4..1e-1", "steps=1..1000", "kind=max,average"]
    drawn = draw_settings(axes, Config(), 8, seed=1)
    assert drawn == draw_settings(axes, Config(), 8, seed=1)
    assert drawn != draw_settings(axes, Config(), 8, seed=2)
    assert draw_settings(axes, Config(), 5, seed=1) == drawn[:5]
    assert [list(change) for change in drawn] == [["weight", "steps", "kind"]] * 8


def test_what_seed_0_draws():
    """That a sweep can go on with the next version of this package."""
    drawn = draw_settings(["steps=1..6", "kind=max,average"], Config(), 3)
    assert [(change["steps"], change["kind"]) for change in drawn] == [
        (4, "max"),
        (6, "average"),
        (1, "max"),
    ]
    (change,) = draw_settings(["weight=0..1"], Config(), 1)
    assert change["weight"] == 0.8444218515250481


def test_finite_settings_come_once_each():
    axes = ["steps=-2..3", "keep=true,false", "kind=max,max"]
    drawn = draw_settings(axes, Config(), 100)
    found = sorted((change["steps"], change["keep"]) for change in drawn)
    assert found == [(steps, keep) for steps in range(-2, 4) for keep in (False, True)]
    some = draw_settings(axes, Config(), 7)
    assert len({tuple(change.values()) for change in some}) == 7
    # As many combinations as no list holds.
    axes = ["steps=0..1000000000000000000", "seed=0..1000000000000000000"]
    assert len(draw_settings(axes, Config(), 50)) == 50


def test_ranges_reach_from_end_to_end():
    drawn = draw_settings(["weight=-1..3"], Config(), 4000)
    values = sorted(change["weight"] for change in drawn)
    assert -1 <= values[0] < -0.95
    assert 2.95 < values[-1] <= 3
    assert values[2000] == pytest.approx(1, abs=0.15)

    drawn = draw_settings(["weight=log:1e-4..1"], Config(), 4000)
    values = sorted(change["weight"] for change in drawn)
    assert 1e-4 <= values[0] < 1.1e-4
    assert 0.9 < values[-1] <= 1
    assert math.log10(values[2000]) == pytest.approx(-2, abs=0.15)

    drawn = draw_settings(["seed=3..5", "weight=0..1"], Config(), 300)
    assert {change["seed"] for change in drawn} == {3, 4, 5}
    assert {type(change["seed"]) for change in drawn} == {int}


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["weight=1..0"], "--grid weight: a range goes from LOW up to HIGH, not '1..0'"),
        (["weight=1..1"], "from LOW up to HIGH"),
        (["weight=0..inf"], "from LOW up to HIGH"),
        (["weight=nan..1"], "from LOW up to HIGH"),
        (["weight=..1"], "could not convert string to float: ''"),
        (["weight=a..b"], "could not convert string to float: 'a'"),
        (["steps=0.5..2"], "--steps: invalid literal for int"),
        (["steps=0..9,20"], "--steps: invalid literal for int"),
        (["seed=None..3"], "from LOW up to HIGH"),
        (["steps=log:1..8"], "log: is for numbers above 0 that need not be whole"),
        (["weight=log:0..8"], "log: is for numbers above 0"),
        (["weight=log:1"], "could not convert string to float: 'log:1'"),
        (["steps=0..99999999999999999999"], "too wide a range"),
        (["kind=max..average"], "'max..average'"),
        (["pair=1..2"], "--pair"),
        (["width=1..2"], "not 'width=1..2'"),
    ],
)
def test_a_bad_range_is_one_line(axes, words):
    with pytest.raises(SettingsError) as caught:
        draw_settings(axes, Config(), 3)
    text = str(caught.value)
    assert words in text
    assert "\n" not in text


def test_ranges_are_for_samples_alone_and_samples_are_some():
    with pytest.raises(SettingsError, match="--grid weight is a range: pass --samples N to draw"):
        parse_grid(["weight=0..1"], Config())
    with pytest.raises(SettingsError, match="--samples must be at least 1, not 0"):
        draw_settings(["weight=0..1"], Config(), 0)
    # Names may hold two dots.
    assert parse_grid(["out=../a,b"], Config()) == [{"out": Path("../a")}, {"out": Path("b")}]


def test_drawn_settings_that_refuse_each_other_are_told():
    @dataclasses.dataclass(frozen=True)
    class Even:
        """Settings."""

        number: int = 0

        def __post_init__(self):
            if self.number % 2:
                raise SettingsError(f"--number is even, not {self.number}")

    with pytest.raises(SettingsError, match="--number is even"):
        draw_settings(["number=0..9"], Even(), 9)
