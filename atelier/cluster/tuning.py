"""The trials of a sweep on a Ray cluster, through Ray Tune.

Three kinds of process take part. Trials run in actors that Tune starts; a controller, an actor as
well, runs Tune itself; and the driver, which is the user's command, hears from them through one
more, the inbox, and alone keeps results. So the driver may be anywhere (Ray Client), Tune's tables
and warnings stay in the cluster's logs, and a result is kept the moment that it is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from atelier.cluster import connected, count_room
from atelier.errors import AtelierError
from atelier.progress import OnStep, Step

RETRIES = 3
"""Times that a trial is tried again when its process dies, and all of them when others' do."""

REDUCTION = 3
"""Of trials that come to a rung of ASHA, the best of so many goes on; so many times as far to the
next rung."""


@dataclasses.dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving: trials that do worse than others at the same step end early.

    Reference: Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020.
    """

    metric: str
    """Among the metrics of a trial's steps; steps without it are passed over."""
    mode: Literal["min", "max"]
    """Which of its values are better."""
    grace: int = 1
    """Steps that each trial does, the first rung."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where trials run, and what each may use."""

    address: str
    """See `atelier.cluster.connected`."""
    cpus: int = 1
    """Cores a trial."""
    gpus: float = 0
    """GPUs a trial, or a part of one; with 0 it computes on the processor."""
    asha: Asha | None = None
    """Whether trials may be stopped early."""


@dataclasses.dataclass(frozen=True)
class Stopped:
    """A trial that ASHA stopped."""

    at: int
    """The number of its last step."""
    metrics: dict[str, float]
    """Of that step."""
    image: np.ndarray | None
    """Of that step, uint8 (h, w, 3 or 4), where it has one."""


@dataclasses.dataclass(frozen=True)
class Lost:
    """A trial that failed by a mistake of its own, or whose process died however often."""

    reason: str
    """In one line."""


def run_trials(
    cluster: Cluster,
    work: Callable[[int, OnStep], object],
    indices: Sequence[int],
    *,
    on_start: Callable[[int], bool | None],
    on_end: Callable[[int, object], None],
) -> None:
    """Runs trials side by side, and tells of each as it ends; returns once all have.

    Args:
        cluster: where.
        work: runs the trial of an index, on any host, and tells of its steps; what it returns is
            sent here. It is sent there with all that it refers to.
        indices: of the trials.
        on_start: called with the index of a trial that starts; True ends the run.
        on_end: called once with each index and what `work` returned, or `Stopped` or `Lost`.

    Raises:
        AtelierError: as `work` raised it, which ends the run; the connection was lost; or, as
            `SettingsError`, no cluster answers, or none of its hosts is large enough for a trial.
    """
    with connected(cluster.address):
        import ray

        count_room("trial", cluster.cpus, cluster.gpus)
        # Sent as code, not by name: what comes by name brings TensorFlow along, which neither the
        # inbox nor the controller needs, and which trials are to set up first.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        try:
            # In a list, so that only who needs it opens it.
            parcel = [ray.put((work, os.getcwd()))]
            started, ended = set(), set()

            def first(index: int) -> bool:
                new = index not in started
                started.add(index)
                return new and bool(on_start(index))

            def last(index: int, outcome: object) -> None:
                if index not in ended:
                    ended.add(index)
                    on_end(index, outcome)

            for more in range(RETRIES, -1, -1):
                left = [index for index in indices if index not in ended]
                try:
                    _attempt(parcel, left, cluster, first, last)
                    break
                except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
                    if not more:
                        raise
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise AtelierError(
                f"--cluster {cluster.address} does not go on ({_reason(error)}); what was finished "
                "is kept, and the same command takes it up"
            ) from None
        finally:
            ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def _attempt(parcel, indices, cluster: Cluster, on_start, on_end) -> None:
    """Starts the processes, and hands on what arrives in the inbox until the controller ends."""
    import ray

    inbox = ray.remote(num_cpus=0)(_Inbox).remote()
    # Two calls at a time: it can be asked to tidy up while it runs.
    controller = ray.remote(num_cpus=0, max_concurrency=2)(_Controller).remote()
    run = controller.run.remote(inbox, parcel, indices, dataclasses.asdict(cluster))
    try:
        ended = False
        while not ended:
            ended = bool(ray.wait([run], timeout=0.2)[0])
            for kind, index, content in ray.get(inbox.take.remote()):
                if kind == "raise":
                    raise ray.cloudpickle.loads(content)
                if kind == "start" and on_start(index):
                    return
                if kind == "end":
                    on_end(index, ray.cloudpickle.loads(content))
                elif kind == "lost":
                    on_end(index, Lost(ray.cloudpickle.loads(content)))
                elif kind == "stopped":
                    on_end(index, Stopped(*ray.cloudpickle.loads(content)))
        for index, reason in ray.get(run):
            on_end(index, Lost(reason))
    finally:
        with contextlib.suppress(Exception):  # The connection may be what has ended.
            ray.get(controller.tidy.remote(), timeout=10)
        with contextlib.suppress(Exception):
            ray.kill(controller)
            ray.kill(inbox)


# === What is sent to the cluster ===


class _Inbox:
    """What trials, the controller and the driver tell each other: an actor."""

    def __init__(self):
        self.events, self.started, self.ended, self.to_stop = [], set(), set(), set()

    def start(self, index: int) -> bool:
        """Notes that a trial starts; returns whether it still has to be done."""
        if index not in self.started:
            self.started.add(index)
            self.events.append(("start", index, None))
        return index not in self.ended

    def end(self, kind: str, index: int, content: bytes) -> None:
        """Takes a trial's end; a process that dies after this has lost nothing."""
        if index not in self.ended:
            self.ended.add(index)
            self.events.append((kind, index, content))

    def stop(self, index: int) -> None:
        self.to_stop.add(index)

    def is_to_stop(self, index: int) -> bool:
        return index in self.to_stop

    def take(self) -> list[tuple]:
        """What has come in since the last time."""
        events, self.events = self.events, []
        return events


class _EndEarly(BaseException):
    """Ends a trial that ASHA stopped; nothing on the way out takes it for a failure."""


class _Controller:
    """Runs Tune: an actor."""

    def __init__(self):
        import tempfile

        self.folder = tempfile.mkdtemp(prefix="atelier-tune-")
        self.groups, self.ended = [], False

    def run(self, inbox, parcel: list, indices: list[int], cluster: dict) -> list[tuple[int, str]]:
        """Gives the trials that were lost, each with its reason."""
        # What Tune would write or print for its own users; metrics may be missing from a step.
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
        import ray
        from ray import tune
        from ray.air.execution.resources.request import ResourceRequest
        from ray.exceptions import RayActorError
        from ray.tune.schedulers import ASHAScheduler

        make = ResourceRequest.to_placement_group

        def make_known(request):
            if self.ended:
                raise RuntimeError("the sweep has ended")
            self.groups.append(make(request))
            return self.groups[-1]

        ResourceRequest.to_placement_group = make_known
        asha, scheduler = cluster["asha"], None
        if asha is not None:

            class Asha(ASHAScheduler):
                """Asks trials to end, where ASHA would kill them: they have a picture to send."""

                def on_trial_result(self, controller, trial, result):
                    if super().on_trial_result(controller, trial, result) == self.STOP:
                        ray.get(inbox.stop.remote(trial.config["index"]))
                    return self.CONTINUE

            scheduler = Asha(
                time_attr="steps",
                metric=asha["metric"],
                mode=asha["mode"],
                grace_period=asha["grace"],
                max_t=10**9,
                reduction_factor=REDUCTION,
                stop_last_trials=False,
            )
        trial = tune.with_parameters(_run_trial, inbox=inbox, parcel=parcel, cluster=cluster)
        resources = {"cpu": cluster["cpus"], "gpu": cluster["gpus"]}
        results = tune.Tuner(
            tune.with_resources(trial, resources),
            param_space={"index": tune.grid_search(indices)},
            # An actor does one trial after another: TensorFlow takes seconds to start.
            tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=self.folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        ).fit()
        died = f"its process died {RETRIES + 1} times"
        return [
            (r.config["index"], died if isinstance(r.error, RayActorError) else _reason(r.error))
            for r in results
            if r.error is not None
        ]

    def tidy(self) -> None:
        """Ends trials that still run, gives back what they hold, and removes what Tune wrote.

        Ray does the former by itself, but only once the driver has ended, and Tune only once each
        trial has come to a report.
        """
        import shutil

        import ray

        self.ended = True
        for group in self.groups:
            ray.util.remove_placement_group(group)
        shutil.rmtree(self.folder, ignore_errors=True)


def _run_trial(config: dict, inbox, parcel: list, cluster: dict) -> None:
    """One trial, in an actor of Tune's."""
    import ray

    index = config["index"]
    if not ray.get(inbox.start.remote(index)):
        return
    # Read when TensorFlow is imported, which opening the parcel does.
    for kind in ("INTRAOP", "INTEROP"):
        os.environ[f"TF_NUM_{kind}_THREADS"] = str(cluster["cpus"])
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # Others may have a part of the same GPU.
    if not cluster["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def end(kind: str, content: object) -> None:
        ray.get(inbox.end.remote(kind, index, ray.cloudpickle.dumps(content)))

    work, folder = ray.get(parcel[0])
    with contextlib.suppress(OSError):  # Paths mean what they mean to the driver, if they exist.
        os.chdir(folder)
    from atelier.errors import AtelierError

    steps: list[Step] = []
    try:
        result = work(index, _reporter(cluster["asha"], inbox, index, steps))
    except _EndEarly:
        step = steps[-1]
        image = None if step.image is None else step.image()
        end("stopped", (step.number, dict(step.metrics), image))
    except AtelierError as error:
        end("raise", error)
    except Exception as error:  # Of its own making: it would fail again.
        end("lost", _reason(error))
    else:
        end("end", result)


def _reporter(asha: dict | None, inbox, index: int, steps: list[Step]) -> OnStep:
    """An `on_step` that reports to ASHA at its rungs, and ends the trial if it says so.

    Args:
        asha: the fields of `Asha`.
        steps: gets the step at which the trial is ended.
    """
    if asha is None:
        return lambda step: None
    import ray
    from ray import tune

    rung = asha["grace"]

    def on_step(step: Step) -> None:
        nonlocal rung
        value = step.metrics.get(asha["metric"], math.nan)
        # Who has come to the end is not stopped.
        if not rung <= step.number < step.total or not math.isfinite(value):
            return
        while rung * REDUCTION <= step.number:
            rung *= REDUCTION
        tune.report({"steps": rung, asha["metric"]: value})
        rung *= REDUCTION
        if ray.get(inbox.is_to_stop.remote(index)):
            steps.append(step)
            raise _EndEarly

    return on_step


def _reason(error: BaseException) -> str:
    """Why something failed on the cluster, in one line."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):
        error = error.cause
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"[:300]
