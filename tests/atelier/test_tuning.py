"""Sweeps on a Ray cluster of this machine: the same results, whatever dies on the way.

Their trials are cheap: what is tried here is who runs them. Each process that runs some takes ten
seconds to start, since what comes back is of a package that imports TensorFlow.
"""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from atelier.cluster import tuning
from atelier.cluster.tuning import RETRIES, Asha, Cluster
from atelier.errors import ImageError, SettingsError
from atelier.media.images import load_image
from atelier.progress import Step
from atelier.sweeps.sweep import TrialResult, TrialRun, run_sweep

ray = pytest.importorskip("ray")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is swept."""

    weight: float = 1.0
    steps: int = 9


CHANGES = [{"weight": float(weight)} for weight in range(1, 7)]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two cores, and a process for each."""
    # Other processes know this module by no name.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",  # Not one that happens to run on this machine.
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100 * 2**20,
    )
    yield Cluster("auto")
    ray.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@dataclasses.dataclass
class Trials:
    """A trial that notes in a file of the folder `notes` each time that it is begun."""

    notes: Path
    failing: dict = dataclasses.field(default_factory=dict)
    """What a trial of that weight raises; or "die once", or "die"."""

    def __call__(self, config: Config, run: TrialRun) -> TrialResult:
        before = len(list(self.notes.glob(f"{run.index}-*")))
        (self.notes / f"{run.index}-{before}").touch()
        failure = self.failing.get(config.weight)
        if failure == "die" or (failure == "die once" and not before):
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(failure, Exception):
            raise failure
        for number in range(1, config.steps + 1):
            metrics = {"loss": config.weight / number}
            image = np.full((6, 8, 3), number, np.uint8)
            run.on_step(Step(number, config.steps, metrics, lambda image=image: image))
        image = np.full((6, 8, 3), 10 * config.weight, np.uint8)
        return TrialResult(image, {"loss": config.weight / config.steps, "seconds": time.time()})

    @property
    def begun(self) -> list[int]:
        """How often each trial was."""
        names = [int(note.name.split("-")[0]) for note in self.notes.iterdir()]
        return [names.count(index) for index in range(len(CHANGES))]


@pytest.fixture
def trials(tmp_path) -> Trials:
    (tmp_path / "notes").mkdir()
    return Trials(tmp_path / "notes")


def table(out: Path) -> list[dict[str, str]]:
    """trials.csv, but for seconds."""
    with open(out / "trials.csv", newline="") as lines:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(lines)
        ]


@pytest.mark.soak
def test_a_killed_process_loses_nothing_and_the_sweep_is_that_of_one_process(
    cluster, trials, tmp_path, capfd
):
    told, results = [], Path.home() / "ray_results"
    before = results.exists() and os.listdir(results)
    run_sweep(Config(), CHANGES, Trials(trials.notes), tmp_path / "here")
    for note in trials.notes.iterdir():
        note.unlink()
    trials.failing = {3.0: "die once"}
    rows = run_sweep(
        Config(),
        CHANGES,
        trials,
        tmp_path / "there",
        on_trial=lambda index, total: told.append((index, total)),
        cluster=cluster,
    )
    assert trials.begun == [1, 1, 2, 1, 1, 1], "nothing is done twice"
    assert sorted(told) == [(index, 6) for index in range(6)]
    assert table(tmp_path / "there") == table(tmp_path / "here")
    assert [row["loss"] for row in rows] == [str(weight / 9) for weight in range(1, 7)]
    for name in sorted(os.listdir(tmp_path / "here")):
        if name != "trials.csv":
            here, there = (tmp_path / place / name for place in ("here", "there"))
            assert there.read_bytes() == here.read_bytes(), name
    assert sorted(os.listdir(tmp_path / "there")) == sorted(os.listdir(tmp_path / "here"))
    assert (results.exists() and os.listdir(results)) == before
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.soak
def test_trials_that_fail_get_their_reason_and_are_tried_again(cluster, trials, tmp_path):
    trials.failing = {
        2.0: SettingsError("this weight\nmakes no sense"),
        4.0: ValueError("first\nlast"),
        5.0: "die",
    }
    rows = run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=cluster)
    assert [row["error"] for row in rows] == [
        *("", "this weight makes no sense", "", "ValueError: last"),
        *(f"its process died {RETRIES + 1} times", ""),
    ]
    assert trials.begun == [1, 1, 1, 1, RETRIES + 1, 1]
    assert (tmp_path / "out" / "contact_sheet.png").exists()

    trials.failing = {}
    rows = run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=cluster)
    assert [row["error"] for row in rows] == [""] * 6
    assert trials.begun == [1, 2, 1, 2, RETRIES + 2, 1]
    # A finished sweep needs no cluster.
    elsewhere = Cluster("ray://localhost:1")
    assert run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=elsewhere) == rows


@pytest.mark.soak
def test_what_is_wrong_with_all_ends_the_sweep(cluster, trials, tmp_path):
    trials.failing = {4.0: ImageError("photo.png: no such file")}
    with pytest.raises(ImageError, match=r"^photo\.png: no such file$"):
        run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=cluster)
    done = [int(row["trial"]) for row in table(tmp_path / "out")]
    assert 3 not in done
    trials.failing = {}
    before = trials.begun
    run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=cluster)
    assert len(table(tmp_path / "out")) == 6
    assert all(trials.begun[index] == before[index] for index in done), "nothing is done twice"


@pytest.mark.soak
def test_on_trial_may_end_the_sweep(cluster, trials, tmp_path):
    rows = run_sweep(
        Config(),
        CHANGES,
        trials,
        tmp_path / "out",
        on_trial=lambda index, total: index == 4,
        cluster=cluster,
    )
    assert 2 <= len(rows) < 6
    assert 4 not in [int(row["trial"]) for row in rows]


@pytest.mark.soak
def test_asha_stops_what_is_worse_and_says_how_far_it_came(cluster, trials, tmp_path):
    asha = dataclasses.replace(cluster, asha=Asha("loss", "min"))
    # One process, so that they come to each rung in order.
    asha = dataclasses.replace(asha, cpus=2)
    rows = run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=asha)
    # The first is the best, so none of the others is among the best third, at the first step.
    assert [row.get("stopped_at", "") for row in rows] == ["", *["1"] * 5]
    assert [float(row["loss"]) for row in rows] == [1 / 9, 2, 3, 4, 5, 6]
    assert [row["error"] for row in rows] == [""] * 6
    assert trials.begun == [1] * 6
    assert (load_image(tmp_path / "out" / "trial-005.png") == 1).all(), "its picture by then"

    # They are not tried again, not even here.
    before = table(tmp_path / "out")
    run_sweep(Config(), CHANGES, trials, tmp_path / "out")
    assert trials.begun == [1] * 6
    assert table(tmp_path / "out") == before


@pytest.mark.soak
def test_asha_lets_go_on_what_is_better_and_waits_for_its_grace(cluster, trials, tmp_path):
    asha = dataclasses.replace(cluster, cpus=2, asha=Asha("loss", "max", grace=3))
    trials.failing = {3.0: "die once"}
    rows = run_sweep(Config(), CHANGES[:3], trials, tmp_path / "out", cluster=asha)
    assert [row.get("stopped_at") for row in rows] == [None] * 3
    assert trials.begun[:3] == [1, 1, 2]
    worse = [{"weight": 3.0}, {"weight": 1.0}]
    rows = run_sweep(Config(), worse, trials, tmp_path / "other", cluster=asha)
    assert [row.get("stopped_at", "") for row in rows] == ["", "3"]


@pytest.mark.soak
def test_when_what_runs_the_trials_dies_the_rest_begins_anew(
    cluster, trials, tmp_path, monkeypatch
):
    killed = tmp_path / "killed"

    class Inbox(tuning._Inbox):
        def end(self, *words):
            if self.ended and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super().end(*words)

    monkeypatch.setattr(tuning, "_Inbox", Inbox)
    rows = run_sweep(Config(), CHANGES, trials, tmp_path / "out", cluster=cluster)
    assert [row["loss"] for row in rows] == [str(weight / 9) for weight in range(1, 7)]
    assert killed.exists()
    assert max(trials.begun) == 2, "at most what was under way"


@pytest.mark.soak
def test_a_cluster_without_a_host_that_is_large_enough_is_one_line(cluster, trials, tmp_path):
    for large in ({"cpus": 64}, {"gpus": 1}):
        with pytest.raises(SettingsError, match="no host of the cluster has"):
            run_sweep(
                Config(),
                CHANGES,
                trials,
                tmp_path / "out",
                cluster=dataclasses.replace(cluster, **large),
            )
    assert trials.begun == [0] * 6


# === The driver, in a process of its own ===

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import ray
import test_tuning
from atelier import cli
from atelier.cluster.tuning import Cluster

seconds = float(sys.argv[4])

class Slow(test_tuning.Trials):
    def __call__(self, config, run):
        import time
        if run.index > 1:
            time.sleep(seconds)
        return super().__call__(config, run)

@cli.command
def main(argv):
    ray.cloudpickle.register_pickle_by_value(test_tuning)
    rows = test_tuning.run_sweep(
        test_tuning.Config(), test_tuning.CHANGES, Slow(Path(argv[1])), Path(argv[2]),
        cluster=Cluster(argv[4]),
    )
    return 0

sys.exit(main())
"""


def start_driver(notes: Path, out: Path, seconds: float, address: str = "auto"):
    here = Path(__file__).parent
    words = (here, notes, out, seconds, address)
    # Not a cluster that happens to run on this machine.
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1]), "RAY_ADDRESS": "local"}
    if address != "auto":  # As `connected` does, but this program has imported Ray by then.
        environment["RAY_ENABLE_AUTO_CONNECT"] = "0"
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(ready, process) -> None:
    deadline = time.monotonic() + 150
    while not ready():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_stopped_goes_on_with_what_is_missing(trials, tmp_path, number):
    out = tmp_path / "out"
    process = start_driver(trials.notes, out, 600)
    try:
        wait_for(lambda: (out / "trials.csv").exists() and len(table(out)) == 2, process)
        started = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    codes = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
    assert process.returncode == codes[number]
    if number != signal.SIGKILL:
        assert said == "error: stopped; what was finished is kept\n"
        assert time.monotonic() - started < 30
    assert [row["trial"] for row in table(out)] == ["0", "1"]

    process = start_driver(trials.notes, out, 0)
    _, said = process.communicate(timeout=150)
    assert (process.returncode, said) == (0, ""), said
    assert [row["trial"] for row in table(out)] == list("012345")
    assert trials.begun[:2] == [1, 1], "what was finished is not done again"
    assert (out / "contact_sheet.png").exists()


@pytest.mark.soak
def test_through_ray_client_and_when_the_cluster_goes(head, trials, tmp_path):
    address, server = head
    out = tmp_path / "out"
    process = start_driver(trials.notes, out, 600, address)
    try:
        wait_for(lambda: (out / "trials.csv").exists() and len(table(out)) == 2, process)
        server.terminate()
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert process.returncode == 2
    assert said.count("\n") == 1, said
    (line,) = said.splitlines()
    assert line.startswith(f"error: --cluster {address} does not go on (")
    assert line.endswith("what was finished is kept, and the same command takes it up")
    assert [row["trial"] for row in table(out)] == ["0", "1"]
    rows = run_sweep(Config(), CHANGES, trials, out)
    assert [row["loss"] for row in rows] == [str(weight / 9) for weight in range(1, 7)]
    assert trials.begun[:2] == [1, 1]
