"""Sweeps: the grid, the table, resuming, the contact sheet."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from atelier.errors import ImageError, OutputError, SettingsError
from atelier.images import load_image
from atelier.sweep import TrialResult, parse_grid, run_sweep


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


class Trials:
    """A trial that remembers what it was asked for, and fails where it is told to."""

    def __init__(self, failing=None):
        self.asked, self.failing = [], dict(failing or {})

    def __call__(self, config: Config) -> TrialResult:
        self.asked.append((config.weight, config.steps))
        if self.asked[-1] in self.failing:
            raise self.failing[self.asked[-1]]
        image = np.full((6, 8, 3), config.steps * 10, np.uint8)
        return TrialResult(image, {"loss": config.weight * config.steps})


def sweep(out: Path, trial=None, changes=None, base=None, **options) -> list[dict[str, str]]:
    changes = CHANGES if changes is None else changes
    return run_sweep(base or Config(), changes, trial or Trials(), out, **options)


def table(out: Path) -> list[str]:
    return (out / "trials.csv").read_text().split()


# === parse_grid ===


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


# === run_sweep ===


def test_trials_run_in_order_and_leave_a_row_and_a_picture_each(tmp_path):
    trial = Trials()
    rows = sweep(tmp_path / "a" / "out", trial)
    out = tmp_path / "a" / "out"
    assert trial.asked == [(0.5, 3), (0.5, 4), (2.0, 3), (2.0, 4)]
    assert table(out) == [
        "trial,steps,weight,loss,error",
        *("0,3,0.5,1.5,", "1,4,0.5,2.0,", "2,3,2.0,6.0,", "3,4,2.0,8.0,"),
    ]
    assert rows[2] == {"trial": "2", "weight": "2.0", "steps": "3", "loss": "6.0", "error": ""}
    for index, steps in enumerate((3, 4, 3, 4)):
        assert (load_image(out / f"trial-{index:03d}.png") == steps * 10).all()
    assert sorted(os.listdir(out)) == [
        *("contact_sheet.png", "sweep.json"),
        *(f"trial-{index:03d}.png" for index in range(4)),
        "trials.csv",
    ]


def test_the_contact_sheet_shows_the_trials(tmp_path):
    sweep(tmp_path, columns=4)
    sheet = load_image(tmp_path / "contact_sheet.png")
    assert sheet.shape[1] == 4 * (320 + 12) + 12
    columns = [np.flatnonzero((sheet == v).all(axis=-1).sum(axis=0) > 200) for v in (30, 40)]
    # Trials 0 and 2 have steps 3, trials 1 and 3 have steps 4.
    assert len(columns[0]) == len(columns[1]) == 2 * 320
    assert columns[0][0] < columns[1][0] < columns[0][-1] < columns[1][-1]


def test_pictures_may_have_alpha_and_metrics_may_differ(tmp_path):
    def trial(config):
        alpha = np.zeros((4, 4, 4), np.uint8)
        return TrialResult(alpha, {"loss": 1.0} if config.steps == 3 else {"error_rate": 0.5})

    rows = sweep(tmp_path, trial)
    assert table(tmp_path)[0] == "trial,steps,weight,loss,error_rate,error"
    assert rows[1]["error_rate"] == "0.5"
    assert load_image(tmp_path / "trial-000.png", alpha="keep").shape == (4, 4, 4)


def test_a_setting_may_be_called_loss(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        """What is swept."""

        loss: str = "l1"

    def trial(config):
        return TrialResult(np.zeros((4, 4, 3), np.uint8), {"psnr": 30.0})

    rows = sweep(tmp_path, trial, [{"loss": "l1"}, {"loss": "l2"}], Config())
    assert [row["loss"] for row in rows] == ["l1", "l2"]
    assert (tmp_path / "contact_sheet.png").exists()


def test_a_sweep_of_the_base_alone_works(tmp_path):
    assert sweep(tmp_path, changes=[{}]) == [{"trial": "0", "loss": "10.0", "error": ""}]
    assert (tmp_path / "contact_sheet.png").exists()


def test_a_finished_sweep_runs_nothing_again(tmp_path):
    first = sweep(tmp_path)
    trial = Trials()
    assert sweep(tmp_path, trial) == [{**row} for row in first]
    assert trial.asked == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ImageError, OutputError, RuntimeError])
def test_a_stopped_sweep_goes_on_with_the_trial_that_is_missing(tmp_path, stop):
    with pytest.raises(stop):
        sweep(tmp_path, Trials({(2.0, 3): stop("stopped")}))
    assert len(table(tmp_path)) == 1 + 2
    trial = Trials()
    resumed = sweep(tmp_path, trial)
    assert trial.asked == [(2.0, 3), (2.0, 4)]
    assert [row["trial"] for row in resumed] == ["0", "1", "2", "3"]
    assert table(tmp_path)[-1] == "3,4,2.0,8.0,"
    assert (tmp_path / "contact_sheet.png").exists()


def test_a_sweep_goes_on_after_kill_9(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_sweep\n"
        "class Killed(test_sweep.Trials):\n"
        "    def __call__(self, config):\n"
        "        if len(self.asked) == 2:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().__call__(config)\n"
        "test_sweep.sweep(Path(sys.argv[2]), Killed())\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program, here, str(tmp_path)], cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL
    trial = Trials()
    rows = sweep(tmp_path, trial)
    assert trial.asked == [(2.0, 3), (2.0, 4)]
    assert [row["loss"] for row in rows] == ["1.5", "2.0", "6.0", "8.0"]


def test_a_picture_or_row_that_is_missing_is_made_again(tmp_path):
    sweep(tmp_path)
    (tmp_path / "trial-001.png").unlink()
    lines = table(tmp_path)
    (tmp_path / "trials.csv").write_text("\n".join(lines[:-1]) + "\n")
    trial = Trials()
    sweep(tmp_path, trial)
    assert trial.asked == [(0.5, 4), (2.0, 4)]
    assert table(tmp_path) == lines


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (SettingsError("this weight\nmakes no sense"), "this weight makes no sense"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_failing_trial_gets_its_error_and_is_tried_again(tmp_path, failure, said):
    trial = Trials({(0.5, 4): failure})
    rows = sweep(tmp_path, trial)
    assert len(trial.asked) == 4  # The others are done.
    assert [row["error"] for row in rows] == ["", said, "", ""]
    assert not rows[1].get("loss")
    assert not (tmp_path / "trial-001.png").exists()
    assert (tmp_path / "contact_sheet.png").exists()

    (tmp_path / "trial-001.png").touch()  # Left by whatever; the row is what counts.
    again = Trials()
    rows = sweep(tmp_path, again)
    assert again.asked == [(0.5, 4)]
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["error"] for row in rows] == [""] * 4


def test_if_every_trial_fails_there_is_a_table_and_no_sheet(tmp_path):
    failing = {(c["weight"], c["steps"]): SettingsError("no") for c in CHANGES}
    assert [row["error"] for row in sweep(tmp_path, Trials(failing))] == ["no"] * 4
    assert not (tmp_path / "contact_sheet.png").exists()


def test_on_trial_is_told_and_may_end_the_sweep(tmp_path):
    told = []

    def on_trial(index, count):
        told.append((index, count))
        return index == 2

    rows = sweep(tmp_path, on_trial=on_trial)
    assert told == [(0, 4), (1, 4), (2, 4)]
    assert len(rows) == 2
    assert (tmp_path / "contact_sheet.png").exists()  # Of what there is.


# === Whose folder ===


@pytest.mark.parametrize(
    "other",
    [
        {"changes": CHANGES[:3]},
        {"changes": CHANGES[::-1]},
        {"base": Config(seed=1)},
        {"inputs": {"photo": "other.png"}},
    ],
    ids=["fewer", "order", "settings", "inputs"],
)
def test_another_sweep_is_refused_and_nothing_is_touched(tmp_path, other):
    sweep(tmp_path, inputs={"photo": Path("a.png")})
    before = table(tmp_path)
    trial = Trials()
    with pytest.raises(OutputError, match="holds another sweep; choose another --out"):
        sweep(tmp_path, trial, **{"inputs": {"photo": "a.png"}, **other})
    assert not trial.asked
    assert table(tmp_path) == before


def test_the_plan_is_stored_as_json(tmp_path):
    sweep(tmp_path, inputs={"photo": Path("a.png")})
    plan = json.loads((tmp_path / "sweep.json").read_text())
    assert plan["inputs"] == {"photo": "a.png"}
    assert plan["trials"] == CHANGES
    assert plan["settings"]["kind"] == "max"


@pytest.mark.parametrize("content", [b"", b'{"inputs": ', b"[]", b"\xff\xfe"])
def test_a_damaged_plan_is_another_sweep(tmp_path, content):
    (tmp_path / "sweep.json").write_bytes(content)
    with pytest.raises(OutputError, match="holds another sweep"):
        sweep(tmp_path)
    assert (tmp_path / "sweep.json").read_bytes() == content


@pytest.mark.parametrize("content", [b"loss\n1\n", b"trial,loss\nx,1\n", b"\xff\xfe\0"])
def test_a_damaged_table_is_one_line(tmp_path, content):
    sweep(tmp_path)
    (tmp_path / "trials.csv").write_bytes(content)
    with pytest.raises(OutputError, match=r"trials\.csv is damaged; mend or delete it"):
        sweep(tmp_path)
    (tmp_path / "trials.csv").unlink()
    trial = Trials()
    sweep(tmp_path, trial)
    assert len(trial.asked) == 4


def test_a_folder_that_cannot_be_written_is_told_before_a_trial_runs(tmp_path):
    (tmp_path / "file").touch()
    trial = Trials()
    with pytest.raises(OutputError, match="cannot write"):
        sweep(tmp_path / "file", trial)
    assert not trial.asked
