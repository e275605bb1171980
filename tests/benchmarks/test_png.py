"""The level of PNG files is chosen by size and time."""

import json

import numpy as np

from benchmarks import png
from benchmarks.png import choose, main


def table(**sizes):
    """Level 1 is the fastest, level 9 the slowest."""
    return {
        name: {level: (level / 10, row.get(level, 100)) for level in png.LEVELS}
        for name, row in sizes.items()
    }


def test_the_fastest_level_is_chosen_that_makes_no_picture_much_larger():
    assert choose(table(photo={}, drawing={})) == 1
    assert choose(table(photo={1: 109}, drawing={1: 111, 2: 111, 3: 110})) == 3
    assert choose(table(photo={level: 120 for level in (1, 2, 3, 4, 5)})) == 6


def test_seconds_and_bytes_of_each_level_are_printed(monkeypatch, capsys):
    picture = np.uint8(np.arange(40 * 30 * 3).reshape(40, 30, 3) // 7)
    monkeypatch.setattr(png, "pictures", lambda: {"slope": picture})
    assert main(["--repeats", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["level"] in png.LEVELS
    assert record["table"]["slope"]["1"][1] > record["table"]["slope"]["9"][1]
    assert main(["--repeats", "1"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == len(png.LEVELS) + 3
    assert "| 6 | " in said
    assert "×1.0, +0 %" in said
