"""Sweeps: the table, resuming, the contact sheet, and the flags that they share."""

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

from atelier.cluster.tuning import Asha, Cluster
from atelier.errors import ImageError, OutputError, SettingsError
from atelier.media.images import load_image
from atelier.progress import Step
from atelier.sweeps.search import draw_settings
from atelier.sweeps.sweep import SweepOptions, TrialResult, TrialRun, report_trials, run_sweep


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

    def __call__(self, config: Config, run: TrialRun) -> TrialResult:
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
    def trial(config, run):
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

    def trial(config, run):
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
        "    def __call__(self, config, run):\n"
        "        if len(self.asked) == 2:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().__call__(config, run)\n"
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


@pytest.mark.parametrize(
    "content",
    [b"loss\n1\n", b"trial,loss\nx,1\n", b"\xff\xfe\0"]
    + [b"trial,loss\n99,1\n", b"trial,loss\n-1,1\n", b"trial,loss\n0,abc\n"],
)
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


# === What trials may know ===


def test_a_trial_has_a_folder_and_may_tell_of_steps(tmp_path):
    def trial(config, run):
        assert run.folder() == tmp_path / f"trial-{run.index:03d}"
        assert run.folder("runs/a") == tmp_path / "runs" / "a"
        assert run.on_step(Step(1, 2, {"loss": 1.0})) is None
        return TrialResult(np.zeros((4, 4, 3), np.uint8), {"index": run.index})

    assert [row["index"] for row in sweep(tmp_path, trial)] == list("0123")


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(OutputError, match=r"does not see .*elsewhere.*that all hosts"):
        TrialRun(0, tmp_path / "elsewhere", lambda step: None).folder()


def test_drawn_numbers_are_short_on_the_sheet_and_whole_in_the_table(tmp_path, monkeypatch):
    told = []
    module = sys.modules["atelier.sweeps.sweep"]
    monkeypatch.setattr(
        module, "contact_sheet", lambda images, labels, *_, **__: told.extend(labels)
    )
    changes = [{"weight": 0.12345678901234}, {"weight": 0.5}]
    rows = sweep(tmp_path, changes=changes)
    assert rows[0]["weight"] == "0.12345678901234"
    assert told == ["weight 0.1235: loss 1.235", "weight 0.5: loss 5"]


def test_the_report_counts_what_was_stopped(tmp_path, capsys):
    rows = [{"trial": "0", "stopped_at": ""}, {"trial": "1", "stopped_at": "9"}]
    assert report_trials(rows, tmp_path, as_json=False) == 0
    assert "contact_sheet.png: 2 trials, 1 of them stopped early" in capsys.readouterr().err


# === The flags ===

MEASURED = {"loss": "min", "accuracy": "max"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, None),
        ({"cluster": "auto"}, Cluster("auto")),
        ({"cluster": "ray://host:1", "trial_cpus": 4}, Cluster("ray://host:1", 4)),
        ({"cluster": "auto", "trial_gpus": 0.5}, Cluster("auto", 1, 0.5)),
        (
            {"cluster": "auto", "scheduler": "asha"},
            Cluster("auto", asha=Asha("loss", "min", 7)),
        ),
        (
            {"cluster": "auto", "scheduler": "asha", "metric": "accuracy", "grace": 2},
            Cluster("auto", asha=Asha("accuracy", "max", 2)),
        ),
        (
            {"cluster": "auto", "scheduler": "asha", "mode": "max"},
            Cluster("auto", asha=Asha("loss", "max", 7)),
        ),
    ],
)
def test_flags_say_where_trials_run(flags, expected):
    assert SweepOptions(**flags).where(MEASURED, grace=7) == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"cluster": "host:1"}, "--cluster is auto or ray://HOST:PORT, not 'host:1'"),
        ({"scheduler": "asha"}, "it goes with --cluster"),
        ({"metric": "loss"}, "--metric goes with --scheduler asha"),
        ({"mode": "min", "cluster": "auto"}, "--mode goes with --scheduler asha"),
        ({"grace": 1, "cluster": "auto"}, "--grace goes with --scheduler asha"),
        ({"trial_cpus": 0}, "--trial-cpus is at least 1"),
        ({"trial_gpus": -1.0}, "--trial-gpus at least 0"),
        ({"trial_gpus": 1.5}, "--trial-gpus above 1 are whole, not 1.5"),
        (
            {"cluster": "auto", "scheduler": "asha", "metric": "x"},
            "--metric is one of loss, accuracy, not 'x'",
        ),
        ({"cluster": "auto", "scheduler": "asha", "grace": 0}, "--grace must be at least 1"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(flags, words):
    with pytest.raises(SettingsError) as caught:
        SweepOptions(**flags).where(MEASURED)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trials_without_steps_cannot_be_stopped():
    options = SweepOptions(cluster="auto", scheduler="asha")
    with pytest.raises(SettingsError, match="no steps at which to stop"):
        options.where({})


def test_samples_are_drawn_from_the_grid_or_the_default():
    base = Config()
    assert SweepOptions().settings_to_try(base, ["steps=3,4"]) == [{"steps": 3}, {"steps": 4}]
    drawn = SweepOptions(grid=("steps=1..99",), samples=5, sample_seed=3).settings_to_try(base)
    assert drawn == draw_settings(["steps=1..99"], base, 5, 3)
    assert len(SweepOptions(samples=1).settings_to_try(base, ["steps=3,4"])) == 1
