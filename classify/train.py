"""Trains classifiers: `python -m classify.train --preset report --data DIR --out RUN`.

Expected on two cores with AVX-512 BF16 (`python -m benchmarks.classify` has the times):

    --preset report    22 minutes, 78.4 %: the report's network and schedule
    --preset strong    13 minutes, 94.2 %: whitened pictures, Muon, bfloat16; what is embedded
    --preset best      80 minutes or more, not yet measured: deeper, and trained longer
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import keras

from atelier import cli
from atelier.errors import SettingsError
from atelier.nets.precision import Choice, Precision, choose
from atelier.progress import Step
from atelier.training.runs import KeepRun, RunFolder, is_finished, machine
from atelier.training.strategy import ONE, DeviceArguments, Devices, opened, synchronize
from classify import calibration
from classify.config import NetworkConfig
from classify.data import Batches, Cifar10, Split, hold_back, load_cifar10, to_float
from classify.layers import Whitening
from classify.networks import VIEWS, Network, build
from classify.optimizers import Muon, linear_decay, time_based_decay

TEST_BATCH = 500
"""Pictures a batch where the network is measured after each epoch."""


@dataclasses.dataclass(frozen=True)
class TrainConfig(NetworkConfig):
    """Train a network on CIFAR-10."""

    data: Path | None = None
    """The folder of CIFAR-10; left out, Keras' cache, which downloads it once, or
    tensorflow-datasets'."""
    out: Path = Path("runs/classify")
    """The run folder; the same command on the same folder goes on where it stopped."""
    held_back: int = 0
    """The last so many training pictures are not trained on: temperature and threshold are set on
    them."""
    epochs: int = 25
    """Epochs in all."""
    batch: int = 32
    """Pictures a batch."""
    optimizer: Literal["sgd", "muon"] = "sgd"
    """Momentum SGD with time-based decay, or Muon with a rate that falls linearly to zero."""
    learning_rate: float = 0.01
    """Of SGD, or of Muon's convolutions."""
    momentum: float = 0.9
    """Of SGD, or of Muon's convolutions."""
    bias_rate: float = 0.053
    """Of biases, under Muon, for the summed loss of a batch."""
    head_rate: float = 0.67
    """Of the last layer, under Muon, for the summed loss of a batch."""
    label_smoothing: float = 0.0
    """The part of each label that is spread over all classes."""
    flip: Literal["none", "random", "alternating"] = "none"
    """Mirror pictures; alternating: each the other way round in each next epoch."""
    translate: int = 0
    """Move pictures by up to this many pixels."""
    cutout: int = 0
    """Side of a grey square that covers a part of each picture; 0 for none."""
    precision: Precision = "float32"
    """Of the strong network's convolutions; auto takes bfloat16 where it was measured to be
    faster. The report's network takes float32."""
    views: Literal[1, 2, 6] = 1
    """Views of a picture that the trained network averages over: 2 mirrors it, 6 also moves it."""
    seed: int = 0
    """Of weights, dropout, order and augmentation."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "bias_rate", "head_rate"):
            if not 0 < getattr(self, name) < math.inf:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} must be positive, not {getattr(self, name)}")
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} must be in [0, 1), not {getattr(self, name)}")
        for name, most in (("translate", 16), ("cutout", 32), ("held_back", 2**31)):
            if not 0 <= getattr(self, name) <= most:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} is from 0 to {most}, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"--seed must be from 0 to 2^31 - 1, not {self.seed}")
        if self.network == "report" and self.precision == "bfloat16":
            raise SettingsError("the report's network is trained in float32")

    @property
    def network_config(self) -> NetworkConfig:
        """The shape of the network alone."""
        return cli.settings(NetworkConfig, self)


REPORT = TrainConfig()
"""Figures 12 to 15 of the report."""

STRONG = TrainConfig(
    network="strong",
    held_back=2000,
    epochs=10,
    batch=2000,
    optimizer="muon",
    learning_rate=0.24,
    momentum=0.6,
    label_smoothing=0.2,
    flip="alternating",
    translate=2,
    precision="auto",
    views=6,
)

BEST = dataclasses.replace(
    STRONG,
    widths=(80, 192, 192),
    depth=3,
    epochs=60,
    translate=4,
    cutout=12,
)
"""Deeper and trained longer, within 4 MB of float16 weights; not measured."""

PRESETS = {"report": REPORT, "strong": STRONG, "best": BEST}


@dataclasses.dataclass(frozen=True)
class TrainArguments(TrainConfig, DeviceArguments):
    """Train a network on CIFAR-10."""

    preset: Literal["report", "strong", "best"] = "report"
    """Settings to start from; flags change single ones."""


def train(
    config: TrainConfig,
    *,
    data: Cifar10 | None = None,
    devices: Devices = ONE,
    verbose: int = 0,
    on_step: Callable[[Step], object] | None = None,
) -> Network | None:
    """Trains into the run folder `config.out`, or goes on with it; returns the network.

    Of several workers, all but the chief write nothing and return None.

    Args:
        config: the settings.
        data: CIFAR-10, if it is at hand already; else it is loaded from `config.data`.
        devices: what to train on; see `atelier.training.strategy.opened`.
        verbose: as Keras' `fit` takes it.
        on_step: called with each epoch, as `KeepRun` does.

    Raises:
        AtelierError: no data, or a folder with another run.
    """
    if is_finished(config.out, config, devices):
        return Network.load(config.out) if devices.chief else None
    data = load_cifar10(config.data) if data is None else data
    if not config.batch <= len(data.train) - config.held_back:
        raise SettingsError(
            f"--batch {config.batch} is more than the {len(data.train)} pictures without the "
            f"{config.held_back} held back"
        )
    devices.check(config.batch, len(data.train) - config.held_back)
    devices.check(TEST_BATCH, len(data.test))
    run = RunFolder(config.out, config, devices)
    seen, held_back = hold_back(data.train, config.held_back)
    choice = precision_of(config)
    agreed = "bfloat16" if devices.agree(choice.precision == "bfloat16") else "float32"
    if agreed != choice.precision:
        choice = Choice(agreed, "that of the chief")
    with devices.scope():
        model = trainee(dataclasses.replace(config, precision=choice.precision), seen)
    if devices.count > 1:
        synchronize(model)
    done = run.restore(model)
    if done < config.epochs:
        devices.fit(
            model,
            batches(config, seen, done),
            initial_epoch=done,
            epochs=config.epochs,
            validation_data=Batches(data.test, batch=TEST_BATCH),
            callbacks=[KeepRun(run, on_step)],
            verbose=verbose,
        )
    if not devices.chief:
        return None
    card = _card(config, choice, run, model, data)
    network = Network(_in_float32(model, config), card)
    if config.held_back:
        card |= calibrated(network, held_back)
    right = network.logits(data.test.images).argmax(axis=1) == data.test.labels
    card["accuracy"] = round(float(right.mean()), 4)
    run.finish(network.model, card)
    return network


def calibrated(network: Network, held_back: Split) -> dict[str, dict[str, float]]:
    """Fits what is set on pictures that the network was not trained on.

    Returns:
        `temperature` and `threshold` for a card, each by the number of views: "1", "2" and "6".
    """
    found = {"temperature": {}, "threshold": {}}
    for views in VIEWS:
        logits = network.logits(held_back.images, views)
        temperature = round(calibration.fit_temperature(logits, held_back.labels), 4)
        threshold = calibration.threshold(calibration.energy(logits, temperature))
        found["temperature"][str(views)] = temperature
        found["threshold"][str(views)] = round(threshold, 4)
    return found


def _in_float32(model: keras.Model, config: TrainConfig) -> keras.Model:
    """The trained network in float32, as it is stored and used."""
    twin = build(config.network_config)
    twin.set_weights(model.get_weights())
    return twin


def precision_of(config: TrainConfig) -> Choice:
    """Returns the precision to train in; of the report's network it is float32."""
    if config.network == "report":
        return Choice("float32", "the report's")
    return choose(config.precision, "training")


def trainee(config: TrainConfig, split: Split) -> keras.Model:
    """The compiled network at the start of its training on `split`; sets all random seeds."""
    keras.utils.set_random_seed(config.seed)
    model = build(config.network_config, precision_of(config).policy)
    for above, layer in zip(model.layers, model.layers[1:], strict=False):
        if isinstance(layer, Whitening):
            layer.adapt(keras.ops.convert_to_numpy(above(to_float(split.images[:5000]))))
    model.compile(
        _optimizer(config, math.ceil(len(split) / config.batch) * config.epochs),
        keras.losses.CategoricalCrossentropy(
            from_logits=config.network != "report", label_smoothing=config.label_smoothing
        ),
        metrics=["accuracy"],
        # On CPUs, XLA compiles for minutes what oneDNN then computes faster.
        jit_compile="auto" if keras.backend.backend() != "tensorflow" else False,
    )
    return model


def batches(config: TrainConfig, split: Split, epoch: int = 0) -> Batches:
    """The training's batches, from `epoch` on."""
    return Batches(
        split,
        batch=config.batch,
        seed=config.seed,
        epoch=epoch,
        flip=config.flip,
        translate=config.translate,
        cutout=config.cutout,
    )


def _optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    if config.optimizer == "sgd":
        # The report: decay = lrate / epochs.
        schedule = time_based_decay(config.learning_rate, config.learning_rate / config.epochs)
        return keras.optimizers.SGD(schedule, momentum=config.momentum)
    return Muon(
        linear_decay(config.learning_rate, steps),
        momentum=config.momentum,
        other_rate=config.bias_rate * config.batch,
        head_rate=config.head_rate * config.batch,
        other_decay=2e-6 * config.batch,
    )


def _card(
    config: TrainConfig, choice: Choice, run: RunFolder, model: keras.Model, data: Cifar10
) -> dict:
    history = run.history()
    shape = dataclasses.asdict(config.network_config)
    return {
        "network": config.network,
        "shape": shape if config.network == "strong" else {"network": "report"},
        "parameters": model.count_params(),
        "command": f"python -m classify.train {cli.as_flags(config)}".strip(),
        "data": f"CIFAR-10, {data.source}",
        "pictures": len(data.train) - config.held_back,
        "epochs": config.epochs,
        "seed": config.seed,
        "precision": choice.policy,
        "precision_reason": choice.reason,
        "seconds": round(sum(float(row["seconds"]) for row in history)),
        "machine": machine(run.devices),
        "views": config.views,
    }


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(TrainArguments, argv, prog="python -m classify.train", presets=PRESETS)
    with (
        opened(arguments) as devices,
        contextlib.redirect_stdout(sys.stderr),  # Where Keras prints its progress.
    ):
        network = train(cli.settings(TrainConfig, arguments), devices=devices, verbose=2)
    if network is not None:
        accuracy = f"accuracy {network.card['accuracy']:.2%}"
        cli.print_note(f"trained: {arguments.out / 'model.keras'}, {accuracy}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
