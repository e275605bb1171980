"""Training on several devices: the GPUs of this machine, or of several workers, by `tf.distribute`.

Each device holds the whole network and sees its share of each batch. Gradients are summed over all
of them, so that a step is that of one device with the whole batch, but for rounding. TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from atelier.errors import SettingsError, WorkerError
from atelier.training.workers import meet, read_workers

Strategy = Literal["one", "mirrored", "multiworker"]


@dataclasses.dataclass(frozen=True)
class DeviceArguments:
    """On what a training runs: flags of its command, but no settings of it, as the result is the
    same."""

    strategy: Strategy = "one"
    """one device; mirrored: all GPUs of this machine; or multiworker: all GPUs of the workers that
    TF_CONFIG names, each of which runs this same command."""
    devices: int = 0
    """Of mirrored: so many GPUs or, where there are none, parts of the processor; 0 for all."""


class Devices:
    """What a training runs on. This one is the device that Keras takes by itself.

    Attributes:
        count: of devices, those of all workers.
        chief: whether this process is the one that writes files.
    """

    count: int = 1
    chief: bool = True

    def __str__(self) -> str:
        return "1 device"

    def check(self, batch: int, examples: int = 0) -> None:
        """Raises `SettingsError` if a device would have no example of a batch.

        With oneDNN, TensorFlow's convolution of no examples has the shape of its input.

        Args:
            batch: the size of batches.
            examples: in an epoch, where its last batch is what is left; 0 if all have one size.
        """
        if batch < self.count:
            raise SettingsError(f"--batch {batch} has less than one example for each of {self}")
        left = examples % batch
        if 0 < left < self.count:
            raise SettingsError(
                f"--batch {batch} leaves {left} of {examples} examples for the last batch, less "
                f"than one for each of {self}: choose another size"
            )

    def scope(self) -> contextlib.AbstractContextManager:
        """Within it, models and optimizers are made."""
        return contextlib.nullcontext()

    def from_chief(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's arrays, on every worker, each of which gives some of the same shapes."""
        return list(values)

    def agree(self, fact: bool) -> bool:
        """Whether it is so for the chief, on every worker."""
        return bool(self.from_chief([np.int32(fact)])[0])

    def fit(self, model: keras.Model, batches, **settings) -> None:
        """`model.fit` on batches that all devices share, in the order in which they come.

        Args:
            model: made in `scope` and compiled, its optimizer built.
            batches: a `keras.utils.PyDataset`, a `tf.data.Dataset` or an iterator of the whole
                batches, of which each worker makes all.
            settings: `epochs`, `initial_epoch`, `steps_per_epoch`, `validation_data` (a
                `PyDataset`), `callbacks` and `verbose`, as Keras takes them.
        """
        model.fit(batches, shuffle=False, **settings)


ONE = Devices()
"""No strategy."""


class Replicated(Devices):
    """The devices of a strategy of TensorFlow's.

    Args:
        strategy: mirrored, on one worker or several.
        workers: how many.
        chief: see `Devices`.
    """

    def __init__(self, strategy: tf.distribute.Strategy, workers: int = 1, chief: bool = True):
        self.strategy, self.workers, self.chief = strategy, workers, chief
        self.count = strategy.num_replicas_in_sync

    def __str__(self) -> str:
        devices = f"{self.count} device{'s' if self.count > 1 else ''}"
        return devices if self.workers == 1 else f"{devices} of {self.workers} workers"

    def scope(self) -> contextlib.AbstractContextManager:
        return self.strategy.scope()

    def from_chief(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self.workers == 1:
            return list(values)

        def spread(value: np.ndarray) -> np.ndarray:
            def of_device(context) -> tf.Tensor:
                mine = self.chief and context.replica_id_in_sync_group == 0
                return tf.constant(value if mine else np.zeros_like(value))

            # A sum to which the others add zeros.
            parts = self.strategy.experimental_distribute_values_from_function(of_device)
            return self.strategy.reduce("SUM", parts, axis=None).numpy()

        return [spread(np.asarray(value)) for value in values]

    # Keras' own `fit` gives devices with unequal shares the same weight, and several workers are
    # too many for it: it averages their numbers as if each were a batch of numbers.
    def fit(
        self,
        model: keras.Model,
        batches,
        *,
        epochs: int,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_data: keras.utils.PyDataset | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int = 0,
    ) -> None:
        steps = len(batches) if steps_per_epoch is None else steps_per_epoch
        # It is given gradients that are sums already, since it clips their norm.
        model.optimizer._all_reduce_sum_gradients = list
        shares, first = self._shares(batches)
        self._build_metrics(model, first)
        # A model that turns to other variables drops Keras' function; ours goes with it.
        train_step = functools.cache(lambda _: self._on_all(_train_step(model)))
        if validation_data is not None:
            held_back, _ = self._shares(validation_data)
        test_step, tested = self._on_all(model.test_step)
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )
        calls.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            calls.on_epoch_begin(epoch)
            step, trained = train_step(model.train_function)
            for number in range(steps):
                calls.on_train_batch_begin(number)
                step(shares)
                calls.on_train_batch_end(number)
            logs = _numbers(model, trained)
            if validation_data is not None:
                model.reset_metrics()
                for _ in range(len(validation_data)):
                    test_step(held_back)
                numbers = _numbers(model, tested)
                logs |= {f"val_{name}": value for name, value in numbers.items()}
            calls.on_epoch_end(epoch, logs)
        model.optimizer.finalize_variable_values(model.trainable_variables)
        calls.on_train_end()

    def _on_all(self, step: Callable) -> tuple[Callable, list[str]]:
        """A graph that takes a batch from an iterator, and does `step` on each device's share; and
        the names of the step's numbers, once it has run."""
        names = []

        def note_names(share) -> None:
            names[:] = step(share)  # The numbers themselves are of one device alone.

        @tf.function
        def on_all(shares):
            self.strategy.run(note_names, args=(next(shares),))

        return on_all, names

    def _shares(self, batches) -> tuple[tf.distribute.DistributedIterator, tuple]:
        """Each device's share of each batch, without end; and the first whole batch."""
        batches = _endless(batches)
        first = next(batches)
        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), first
        )

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            here = self.count // context.num_input_pipelines
            places = range(context.input_pipeline_id * here, (context.input_pipeline_id + 1) * here)

            def cut():
                for batch in itertools.chain([first], batches):
                    size = len(tf.nest.flatten(batch)[0])
                    for place in places:
                        mine = slice(*(start(size, self.count, end) for end in (place, place + 1)))
                        yield tf.nest.map_structure(lambda array, mine=mine: array[mine], batch)

            dataset = tf.data.Dataset.from_generator(cut, output_signature=signature)
            endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
            return dataset.apply(endless).prefetch(4 * here)

        return iter(self.strategy.distribute_datasets_from_function(of_worker)), first

    def _build_metrics(self, model: keras.Model, batch) -> None:
        """Makes the variables of compiled metrics, which a graph on several devices cannot."""
        if not _has_own_step(model):
            x, y = (array[:1] for array in batch)
            self.strategy.run(lambda: model.compute_metrics(x, y, model(x)))


def _endless(batches) -> Iterator:
    """What `fit` takes, batch by batch; of a `PyDataset` one epoch after the other."""
    if isinstance(batches, keras.utils.PyDataset):
        while True:
            batches.on_epoch_end()  # Keras' `fit` does so before the first epoch, too.
            yield from (batches[number] for number in range(len(batches)))
    yield from batches.as_numpy_iterator() if isinstance(batches, tf.data.Dataset) else batches


def _numbers(model: keras.Model, names: Sequence[str]) -> dict[str, float]:
    """The model's metrics of these names over all devices, in Keras' order."""
    results = model.get_metrics_result()
    return {name: float(results[name]) for name in sorted(names)}


def synchronize(model: keras.Model) -> None:
    """Batch normalisation takes its statistics over all devices from now on."""
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        synchronize(layer)


# === A step on one device among others ===


def _has_own_step(model: keras.Model) -> bool:
    return type(model).train_step is not keras.Model.train_step


def _train_step(model: keras.Model) -> Callable:
    """The model's own training step, or Keras' with each example weighing the same."""
    if _has_own_step(model):
        return model.train_step
    tracker = next(metric for metric in model.metrics if metric.name == "loss")

    def step(share) -> dict:
        x, y = share
        size = tf.cast(tf.shape(x)[0], tf.float32)
        with tf.GradientTape() as tape:
            prediction = model(x, training=True)
            # Keras divides the mean over the share by the number of devices.
            mean = device_count() * model.compute_loss(x=x, y=y, y_pred=prediction)
            part = mean * (size / total(size))
        variables = model.trainable_variables
        model.optimizer.apply(total(tape.gradient(part, variables)), variables)
        tracker.update_state(mean, sample_weight=size)
        return model.compute_metrics(x, y, prediction)

    return step


def device_count() -> int:
    """In a step: how many devices there are; elsewhere 1."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def total(values):
    """In a step: tensors, or lists of them, summed over all devices; elsewhere as they are."""
    if device_count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce("sum", values)


def placed(size) -> tuple:
    """In a step: how many examples all devices have together, and at which of them the `size`
    examples of this device start; elsewhere `size` and 0."""
    if device_count() == 1:
        return size, 0
    whole = total(size)
    context = tf.distribute.get_replica_context()
    return whole, start(whole, context.num_replicas_in_sync, context.replica_id_in_sync_group)


def start(size, count: int, place):
    """At which of `size` examples the share of device `place` of `count` starts.

    Shares differ by one example at most; with fewer examples than devices, some are empty.
    """
    return -(-size * place // count)


# === Which devices ===

LINGER = 3.0
"""Seconds that the chief outlives the other workers."""

_BEGUN = "{}: TensorFlow has computed something already; open the devices first"

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
"""What TensorFlow raises when a worker has died, or does not answer any more."""


@contextlib.contextmanager
def opened(arguments: DeviceArguments) -> Iterator[Devices]:
    """The devices that a command names; to be opened before anything is computed.

    Raises:
        SettingsError: they cannot be had.
        WorkerError: another worker is missing at the start, or has stopped since.
    """
    if arguments.devices < 0:
        raise SettingsError(f"--devices must be 0 or more, not {arguments.devices}")
    if arguments.devices and arguments.strategy != "mirrored":
        raise SettingsError("--devices is for --strategy mirrored alone")
    if arguments.strategy == "one":
        yield ONE
        return
    if keras.backend.backend() != "tensorflow":
        raise SettingsError(
            f"--strategy {arguments.strategy} needs Keras on TensorFlow, not on "
            f"{keras.backend.backend()}"
        )
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)  # It warns of what is done but once.
    try:
        if arguments.strategy == "mirrored":
            yield Replicated(_mirrored(arguments.devices))
        else:
            with _workers() as devices:
                yield devices
    finally:
        logger.setLevel(before)


def _mirrored(count: int) -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    if count > len(gpus) > 0:
        raise SettingsError(f"--devices {count}: this machine has {len(gpus)} GPUs")
    if gpus:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count or len(gpus))])
    if count:
        processor = tf.config.list_physical_devices("CPU")[0]
        with contextlib.suppress(RuntimeError):  # It has begun, with as many as it has.
            parts = [tf.config.LogicalDeviceConfiguration()] * count
            tf.config.set_logical_device_configuration(processor, parts)
    parts = len(tf.config.list_logical_devices("CPU"))
    if count > parts:
        raise SettingsError(_BEGUN.format(f"--devices {count}"))
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count or parts)])


@contextlib.contextmanager
def _workers() -> Iterator[Devices]:
    workers = read_workers()
    meet(workers)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise SettingsError(_BEGUN.format("--strategy multiworker")) from error
    devices = Replicated(strategy, len(workers), workers.chief)
    try:
        yield devices
        devices.from_chief([np.zeros(1, np.float32)])  # All are done.
    except _GONE as error:
        raise WorkerError(
            "another worker has stopped; once the same command is started again on every worker, "
            "the training goes on from its last checkpoint"
        ) from error
    if devices.chief:
        # The others report to it until their end, and would complain if it ended first.
        time.sleep(LINGER)
