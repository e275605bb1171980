"""Run folders: what a training leaves behind, and how it goes on after a stop.

config.json    the settings that the run was started with
history.csv    one row an epoch
checkpoint/    the newest complete state: weights, optimizer, random layers and epoch
model.keras    the trained network
card.json      what was trained, on what, how long, and how good it is
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
import re
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

import keras
import numpy as np

from atelier.errors import OutputError, SettingsError, TrainingError, WeightsError
from atelier.files import atomic_path, locked, read_bounded, read_table, write_json, write_table
from atelier.nets.weights import fill
from atelier.progress import Step
from atelier.training.strategy import ONE, Devices

JSON_BYTES = 10_000_000
"""Settings and cards larger than this are refused; ours have some thousand bytes."""


class RunFolder:
    """One training run on disk.

    Args:
        path: the folder; made if missing.
        config: the run's settings, a dataclass. A folder that holds a run with other settings is
            refused, so that two runs cannot mix. `out` is not compared, and paths by their last
            part alone: a run folder may be moved, and so may its data.
        devices: what it is trained on. Of several workers the chief alone reads and writes the
            folder; the others need none.

    Until it is finished, or the object is gone, no other process gets the folder.

    Raises:
        SettingsError: the folder holds a run with other settings.
        OutputError: the folder cannot be written, holds something else, or another process
            trains into it.
    """

    def __init__(self, path: str | Path, config: object, devices: Devices = ONE):
        self.path, self.devices = Path(path), devices
        self._lock = contextlib.ExitStack()
        weakref.finalize(self, self._lock.close)
        if not devices.chief:
            return
        if not self.finished:  # What is finished may lie where nothing can be written.
            self._lock.enter_context(locked(self.path))
        self._claim(config)

    def _claim(self, config: object) -> None:
        fields = dataclasses.asdict(config)
        fields.pop("out", None)
        settings = json.loads(json.dumps(fields, default=_named))
        file = self.path / "config.json"
        if not file.exists():
            write_json(file, settings)
            return
        try:
            stored = json.loads(read_bounded(file, JSON_BYTES))
            stored.pop("out", None)  # Of earlier versions.
            differing = {
                name
                for name in settings | stored
                if (name in settings) != (name in stored)
                or _portable(settings[name]) != _portable(stored[name])
            }
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise OutputError(
                f"{file} is no run's settings ({error}); choose another --out"
            ) from None
        if differing:
            names = ", ".join(sorted(differing))
            raise SettingsError(
                f"{self.path} holds a run with other settings ({names}); choose another --out"
            )

    @property
    def _checkpoints(self) -> list[tuple[int, Path]]:
        files = (self.path / "checkpoint").glob("epoch-*.npz")
        numbered = ((re.fullmatch(r"epoch-(\d+)\.npz", file.name), file) for file in files)
        return sorted((int(match[1]), file) for match, file in numbered if match)

    def restore(self, model: keras.Model) -> int:
        """Loads the newest checkpoint into a compiled model; returns the epochs it has done.

        Raises:
            WeightsError: the checkpoint is damaged, or of another network.
            OutputError: history.csv is damaged.
        """
        epoch = 0
        with self.devices.scope():
            state = _state(model)
        if self.devices.chief:
            self.history()  # If it is damaged, the time to say so is before an epoch, not after it.
            if self._checkpoints:
                epoch, file = self._checkpoints[-1]
                fill(state, file, advice="delete it to train anew")
        values = self.devices.from_chief([np.int64(epoch), *map(_array, state.values())])
        if not self.devices.chief:
            for variable, value in zip(state.values(), values[1:], strict=True):
                variable.assign(value)
        return int(values[0])

    def save(self, model: keras.Model, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keeps the state after `epoch` epochs, and its row of history; older states go.

        Raises:
            TrainingError: the loss or a weight is not a finite number; nothing is changed.
        """
        self._refuse_diverged(model, epoch, metrics.get("loss", 0.0))
        if not self.devices.chief:
            return
        # History first: rows past the newest checkpoint are dropped on the next `save`, whereas a
        # checkpoint whose row is missing could not be mended.
        rows = [row for row in self.history() if int(row["epoch"]) < epoch]
        rows.append({"epoch": epoch, **metrics})
        write_table(self.path / "history.csv", rows)
        older = self._checkpoints
        target = self.path / "checkpoint" / f"epoch-{epoch:06d}.npz"
        # Not Keras' own format, which leaves out the state of dropout.
        with atomic_path(target) as temporary:
            np.savez(temporary, **{name: _array(value) for name, value in _state(model).items()})
        for _, file in older:
            if file != target:
                file.unlink(missing_ok=True)

    def _refuse_diverged(self, model: keras.Model, epoch: int, loss: float) -> None:
        # Metrics other than the loss may be NaN by design.
        if not math.isfinite(loss):
            what = f"the loss of epoch {epoch} is {loss}"
        elif not all(np.isfinite(_array(weight)).all() for weight in model.weights):
            what = f"after epoch {epoch} a weight is not a finite number"
        else:
            return
        kept = self._checkpoints[-1][0] if self._checkpoints else 0
        last = f"the checkpoint of epoch {kept} is kept" if kept else "there is no checkpoint yet"
        raise TrainingError(
            f"{self.path}: the training has diverged: {what}; {last}; lower --learning-rate and "
            "choose another --out"
        )

    def history(self) -> list[dict[str, str]]:
        """The rows of history.csv, values as text; empty before the first epoch.

        Raises:
            OutputError: the file is damaged.
        """
        return read_table(self.path / "history.csv", key="epoch")

    @property
    def finished(self) -> bool:
        """Whether the training has come to its end and left its card."""
        return (self.path / "card.json").exists()

    def finish(self, model: keras.Model, card: Mapping[str, object]) -> None:
        """Writes model.keras and card.json, which mark the run as complete."""
        with atomic_path(self.path / "model.keras") as temporary:
            model.save(temporary)
        write_json(self.path / "card.json", card)
        self._lock.close()


def is_finished(path: str | Path, config: object, devices: Devices = ONE) -> bool:
    """Whether the folder `path` holds a finished run with the settings `config`; changes nothing.

    Asked first, a finished training needs neither its data nor what it started from.

    Raises:
        SettingsError: the folder holds a run with other settings.
    """
    finished = devices.chief and (Path(path) / "card.json").exists()
    if finished:
        RunFolder(path, config)
    return devices.agree(finished)


def _named(path: object) -> str:
    """A path as it was given, or by its own name where that was `.` or `..`."""
    if isinstance(path, Path) and path.name in ("", ".."):
        path = path.resolve()
    return str(path)


def _portable(setting: object) -> object:
    """A setting as JSON has it, of paths the last part alone."""
    if isinstance(setting, list):
        return [_portable(value) for value in setting]
    return PurePath(setting).name if isinstance(setting, str) else setting


def _state(model: keras.Model) -> dict[str, keras.Variable]:
    """All that training carries on, numbered: weights, state of random layers, optimizer.

    A model that holds more than it trains, such as a teacher, names that part `trained`.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    trained = getattr(model, "trained", model)
    groups = {"model": trained.variables, "optimizer": model.optimizer.variables}
    return {f"{k}/{i}": variable for k, group in groups.items() for i, variable in enumerate(group)}


def _array(variable: keras.Variable) -> np.ndarray:
    array = np.asarray(variable)
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16, exactly.


class KeepRun(keras.callbacks.Callback):
    """Saves every epoch of a `fit` into a run folder, with the seconds it took.

    Args:
        run: the folder. Pass `initial_epoch=run.restore(model)` to the same `fit`.
        on_step: called with each epoch once it is saved. What it raises ends the training, which
            the next run on the folder goes on with.
    """

    def __init__(self, run: RunFolder, on_step: Callable[[Step], object] | None = None):
        super().__init__()
        self.run, self.on_step = run, on_step

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._start, 2)
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self.run.save(self.model, epoch + 1, {**metrics, "seconds": seconds})
        if self.on_step is not None:
            self.on_step(Step(epoch + 1, self.params["epochs"], metrics))


def load_run(
    folder: str | Path, check: Callable[[dict], object] = dict
) -> tuple[keras.Model, dict]:
    """The network that a finished training left in its run folder, and its card.

    Args:
        folder: the run folder.
        check: given the card; whatever it raises means that the card is damaged.

    Raises:
        WeightsError: the folder holds no finished run, or a damaged one.
    """
    folder = Path(folder)
    try:
        card = json.loads(read_bounded(folder / "card.json", JSON_BYTES))
        check(card)
        return keras.saving.load_model(folder / "model.keras", compile=False), card
    except FileNotFoundError:
        raise WeightsError(f"{folder} holds no finished run: no card.json") from None
    except Exception as error:  # A damaged archive raises half a dozen kinds of error.
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{folder} is damaged ({reason}); train it anew") from None


def machine(devices: Devices = ONE) -> str:
    """The machine in a line, for cards: processor, cores, system, Keras' version, and the devices
    where they are several."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # Not a Linux machine: the processor's family must do.
    cores = os.cpu_count()
    line = f"{processor}, {cores} cores, {platform.system()}, Keras {keras.__version__}"
    return line if devices.count == 1 else f"{line}, {devices}"
