"""A training of seconds as a command of its own: `python small_training.py --strategy … --out RUN`.

Its network and optimizer have all that several devices could get wrong: batch statistics, dropout's
state, clipping by the norm of all gradients, a mean of weights. 23 examples in batches of 5 make
unequal shares, and leave the last batch with three.
"""

import contextlib
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from atelier import cli
from atelier.training.runs import KeepRun, RunFolder
from atelier.training.strategy import ONE, DeviceArguments, Devices, opened, synchronize

import keras  # isort: skip

EXAMPLES, BATCH = 23, 5


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings that make a run."""

    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Arguments(DeviceArguments):
    """A training of seconds."""

    out: Path = Path("run")
    """Its run folder."""
    epochs: int = 4
    """Epochs in all."""
    pause: float = 0.0
    """Seconds to wait after each epoch."""


class Examples(keras.utils.PyDataset):
    """Noise in three classes."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(EXAMPLES, 8, 8, 3)).astype(np.float32)
        self.y = np.eye(3, dtype=np.float32)[rng.integers(3, size=EXAMPLES)]

    def __len__(self):
        return -(-EXAMPLES // BATCH)

    def __getitem__(self, index):
        chosen = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[chosen], self.y[chosen]


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [
        # A bias would have no gradient but rounding, of which Adam makes whole steps.
        keras.layers.Conv2D(16, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.0),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.compile(
        keras.optimizers.AdamW(0.01, global_clipnorm=0.1, use_ema=True, ema_momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def train(out: Path, epochs: int = 4, devices: Devices = ONE, pause: float = 0.0) -> keras.Model:
    """Trains into the folder, or goes on with it; returns the network with its mean weights."""
    run = RunFolder(out, Config(), devices)
    with devices.scope():
        model = build()
    if devices.count > 1:
        synchronize(model)
    devices.fit(
        model,
        Examples(),
        initial_epoch=run.restore(model),
        epochs=epochs,
        validation_data=Examples(),
        callbacks=[KeepRun(run, lambda step: time.sleep(pause))],
        verbose=0,
    )
    return model


@cli.command
def main(argv) -> int:
    arguments = cli.parse(Arguments, argv)
    with opened(arguments) as devices, contextlib.redirect_stdout(sys.stderr):
        model = train(arguments.out, arguments.epochs, devices, arguments.pause)
        cli.print_note(f"{devices}: {sum(float(abs(w).sum()) for w in model.get_weights()):.6f}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
