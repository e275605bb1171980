"""A function that has a state, such as a loaded model, mapped over rows by Ray Data's actors.

Three kinds of process take part. Actors of Ray Data hold the function; a feeder, an actor too, runs
the dataset; and the driver, which is the user's command, asks the feeder for one result after the
other. So the driver may be anywhere (Ray Data does not run over Ray Client), and what Ray Data says
of its progress stays in the cluster's logs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from atelier.cluster import count_room
from atelier.errors import AtelierError

Row = TypeVar("Row")
Result = TypeVar("Result")

START_DEATHS = 3
"""Actors that may die one after another before any has started: more is no accident."""

_MESSAGE = 1 << 20
"""Bytes of rows that are sent to the feeder at once, about."""


def map_rows(
    factory: Callable[[], Callable[[Row], Result]],
    rows: Sequence[Row],
    *,
    cpus: int = 1,
    gpus: float = 0,
) -> Iterator[Result]:
    """The results of all rows, as they come, within `atelier.cluster.connected`.

    An actor that dies is replaced, and its row given to another. Memory is bounded by the rows, the
    results under way, and as many actors as the cluster has room for.

    Args:
        factory: makes the function, once in each actor. It is pickled with all that it refers to,
            as rows are; where the driver's current folder exists, it is the actors' too.
        rows: small ones; each is a task of its own.
        cpus: cores an actor, to which TensorFlow keeps.
        gpus: GPUs an actor, or a part of one; with 0 it computes on the processor.

    Raises:
        AtelierError: the cluster is gone, actors cannot start, or the function raised what it
            should not.
    """
    import ray

    pickled = [ray.cloudpickle.dumps(row) for row in rows]
    parcel = ray.cloudpickle.dumps(factory)
    module = sys.modules[__name__]
    # Sent as code, not by name: what comes by name brings TensorFlow along, which the feeder does
    # not need, and which actors are to set up first.
    ray.cloudpickle.register_pickle_by_value(module)
    try:
        feeder = ray.remote(num_cpus=0)(_Feeder).remote()
        for chunk in _chunks(pickled):
            ray.get(feeder.add.remote(chunk))
        actors = min(len(rows), count_room("worker", cpus, gpus))
        ray.get(feeder.start.remote((parcel, os.getcwd(), cpus, gpus), actors, START_DEATHS))
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise AtelierError(f"the cluster does not take the work: {_reason(error)}") from None
    finally:
        ray.cloudpickle.unregister_pickle_by_value(module)
    try:
        while (result := _wait(feeder.next.remote())) is not None:
            yield ray.cloudpickle.loads(result)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise AtelierError(f"the cluster does not go on: {_reason(error)}") from None
    finally:
        with contextlib.suppress(Exception):  # The connection may be what has ended.
            ray.kill(feeder)


def _wait(reference) -> bytes | None:
    """`ray.get`, which Ctrl-C ends within a second."""
    import ray

    while not ray.wait([reference], timeout=1)[0]:
        pass
    return ray.get(reference)


def _chunks(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    chunk, size = [], 0
    for row in rows:
        chunk.append(row)
        size += len(row)
        if size > _MESSAGE:
            yield chunk
            chunk, size = [], 0
    yield chunk


def _reason(error: BaseException) -> str:
    """Why something failed on the cluster, in one line."""
    import ray

    while isinstance(error, ray.exceptions.RayTaskError):
        error = error.cause
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()}"[:300]


# === What is sent to the cluster ===


class _Feeder:
    """Runs the dataset, and gives its results one by one: an actor."""

    def __init__(self):
        self.rows, self.results = [], None

    def add(self, rows: list[bytes]) -> None:
        self.rows += rows

    def start(self, arguments: tuple, actors: int, deaths: int) -> None:
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_consecutive_actor_init_deaths = deaths
        dataset = ray.data.from_items(self.rows, override_num_blocks=len(self.rows)).flat_map(
            _Actor,
            fn_constructor_args=arguments,
            num_cpus=arguments[2],
            num_gpus=arguments[3],
            compute=ray.data.ActorPoolStrategy(
                # More, where the cluster comes to have more.
                min_size=actors,
                max_size=len(self.rows),
                max_tasks_in_flight_per_actor=1,
            ),
        )
        self.rows = []
        self.results = iter(dataset.iter_batches(batch_size=None, prefetch_batches=0))
        self.ready = []

    def next(self) -> bytes | None:
        """A row's result; None after the last."""
        while not self.ready:
            batch = next(self.results, None)
            if batch is None:
                return None
            self.ready = list(batch["result"])
        return self.ready.pop(0)


class _Actor:
    """Holds the function."""

    def __init__(self, parcel: bytes, folder: str, cpus: int, gpus: float):
        import contextlib
        import os
        import pickle

        # Read when TensorFlow is imported, which opening the parcel does.
        for kind in ("INTRAOP", "INTEROP"):
            os.environ[f"TF_NUM_{kind}_THREADS"] = str(cpus)
        os.environ["OMP_NUM_THREADS"] = str(cpus)
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # Others may have a part of the same GPU.
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with contextlib.suppress(OSError):  # Paths mean what they mean to the driver.
            os.chdir(folder)
        self.function = pickle.loads(parcel)()

    def __call__(self, row: dict) -> list[dict]:
        import pickle

        import ray

        return [{"result": ray.cloudpickle.dumps(self.function(pickle.loads(row["item"])))}]
