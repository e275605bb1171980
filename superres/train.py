"""Trains super-resolution networks: `python -m superres.train --data T91 BSD200 --out RUN`.

A network is trained in floats first, then from that one (`--start`) in fixed point:

    python -m superres.train --preset best --data T91 BSD200 --out runs/float
    python -m superres.train --preset best-quantized --start runs/float --data … --out runs/fixed

PSNR on Set5 and Set14, on two cores:

    --preset report            36.23, 32.06 dB    38 minutes, on a busy machine
    --preset best              36.87, 32.57 dB    51 minutes
    --preset best-quantized    36.89, 32.57 dB    10 bits a weight, 14 an activation
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
import numpy as np
from keras import ops

from atelier import cli
from atelier.errors import SettingsError, WeightsError
from atelier.media.images import find_pictures, others_below
from atelier.progress import Step
from atelier.training.runs import KeepRun, RunFolder, is_finished, machine
from atelier.training.strategy import ONE, DeviceArguments, Devices, opened
from superres.config import NetworkConfig
from superres.fixed_point.calibration import calibrate
from superres.metrics import psnr
from superres.network.baselines import BASELINES
from superres.network.layers import Conv2D, DepthwiseConv2D
from superres.network.model import Formats, build_network, collapse
from superres.networks import Network, apply
from superres.training import data, degradation

POOL_VARIANTS = 4
"""How often each picture is degraded, where that is random."""


@dataclasses.dataclass(frozen=True)
class TrainConfig(NetworkConfig):
    """Train a network on pairs of pictures and their degraded small versions."""

    data: tuple[Path, ...] = ()
    """Folders of high-resolution pictures, searched with all that is below them."""
    out: Path = Path("runs/superres")
    """The run folder; the same command on the same folder goes on where it stopped."""
    validation: tuple[Path, ...] = ()
    """Folders of pictures to measure the PSNR on after each epoch."""
    network: Literal["ours", "srcnn", "fsrcnn-s", "vdsr"] = "ours"
    """Which network; the others are the report's comparisons, and take `--scale` alone."""
    degradation: Literal["bicubic", "proposed", "jpeg"] = "bicubic"
    """How small pictures are made: eq. 1 of the report, eq. 2, or eq. 2 without blur and noise."""
    start: Path | None = None
    """A run folder whose network this one goes on from, instead of from noise."""
    weight_bits: int = 0
    """Bits of a weight in fixed point; 0 for floats."""
    activation_bits: int = 0
    """Bits of an activation in fixed point; 0 for floats."""
    branched: bool = False
    """Train re-parameterised convolutions, merged at the end."""
    crop: int = 128
    """Side of the HR crops in pixels, a multiple of the scale."""
    margin: int = 0
    """LR pixels at the border of a crop on which no loss is taken."""
    batch: int = 2
    """Crops a batch."""
    steps: int = 2500
    """Batches an epoch: a choice of length, not a pass over the pictures."""
    epochs: int = 100
    """Epochs in all."""
    loss: Literal["l1", "l2"] = "l1"
    """The mean absolute or squared error of luma."""
    learning_rate: float = 1e-4
    """Of Adam."""
    schedule: Literal["step", "cosine"] = "step"
    """A tenth after every 50 epochs, or a warm-up and a cosine to zero."""
    ema: float = 0.0
    """Momentum of the running average of weights that is kept in the end; 0 for none."""
    seed: int = 0
    """Of weights, degradations and crops."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("batch", "steps", "epochs"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.crop % self.scale or self.crop // self.scale < 2 * self.margin + 4:
            raise SettingsError(
                f"--crop must be a multiple of the scale and leave 4 LR pixels inside the margin, "
                f"not {self.crop}"
            )
        if self.margin < 0:
            raise SettingsError(f"--margin must be 0 or more, not {self.margin}")
        if not 0 < self.learning_rate < math.inf:
            raise SettingsError(f"--learning-rate must be positive, not {self.learning_rate}")
        if not 0 <= self.ema < 1:
            raise SettingsError(f"--ema must be in [0, 1), not {self.ema}")
        if len({folder.name for folder in self.validation}) < len(self.validation):
            raise SettingsError("--validation takes folders with names of their own")
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"--seed must be from 0 to 2^31 - 1, not {self.seed}")
        if (self.weight_bits == 0) != (self.activation_bits == 0):
            raise SettingsError("give both --weight-bits and --activation-bits, or neither")
        if self.weight_bits:
            for bits in (self.weight_bits, self.activation_bits):
                if not 2 <= bits <= 16:
                    raise SettingsError(f"fixed point takes from 2 to 16 bits, not {bits}")
            if self.network != "ours":
                raise SettingsError(f"only our network has a fixed-point form, not {self.network}")

    @property
    def network_config(self) -> NetworkConfig:
        """The shape of the network alone."""
        return cli.settings(NetworkConfig, self)


REPORT = TrainConfig()
"""Section 4 of the report, which does not say for how many epochs it trained."""

BEST = TrainConfig(
    widths=(16,) * 7,
    kernels=("3x3", "1x5", "3x3", "5x1", "3x3", "1x5", "3x3"),
    residuals=(2, 4, 6),
    branched=True,
    crop=64,
    margin=4,
    batch=32,
    steps=1000,
    epochs=120,
    learning_rate=1e-2,
    schedule="cosine",
    ema=0.999,
)

PRESETS = {
    "report": REPORT,
    "best": BEST,
    "best-quantized": dataclasses.replace(
        BEST,
        weight_bits=10,
        activation_bits=14,
        branched=False,
        epochs=4,
        learning_rate=3e-4,
    ),
}


@dataclasses.dataclass(frozen=True)
class TrainArguments(TrainConfig, DeviceArguments):
    """Train a super-resolution network on pictures and their degraded small versions."""

    preset: Literal["report", "best", "best-quantized"] = "report"
    """Settings to start from; flags change single ones."""


def train(
    config: TrainConfig,
    *,
    devices: Devices = ONE,
    verbose: int = 0,
    on_step: Callable[[Step], object] | None = None,
) -> Network | None:
    """Trains into the run folder `config.out`, or goes on with it; returns the network.

    Of several workers, all but the chief write nothing and return None.

    Args:
        config: the settings.
        devices: what to train on; see `atelier.training.strategy.opened`.
        verbose: as Keras' `fit` takes it.
        on_step: called with each epoch, as `KeepRun` does.

    Raises:
        AtelierError: no pictures, nothing to start from, or a folder with another run.
    """
    if config.weight_bits and config.start is None:
        raise SettingsError("fixed point starts from a trained network: pass --start RUN")
    devices.check(config.batch)
    if is_finished(config.out, config, devices):
        return Network.load(config.out) if devices.chief else None
    start = None if config.start is None else Network.load(config.start)
    # Counted now: when the training has ended, they may be gone.
    counts = {folder.name: len(find_pictures([folder])) for folder in config.data}
    files = find_pictures(config.data)
    validation = {
        folder.name: data.pairs(
            find_pictures([folder]),
            scale=config.scale,
            degradation=_degradation(config),
            shrinks=(1.0,),
            seed=config.seed,
        )
        for folder in config.validation
    }
    run = RunFolder(config.out, config, devices)
    pool = data.pairs(
        files,
        scale=config.scale,
        degradation=_degradation(config),
        variants=1 if config.degradation == "bicubic" else POOL_VARIANTS,
        seed=config.seed,
    )
    keras.utils.set_random_seed(config.seed)
    with devices.scope():
        model, formats = _trainee(config, start, pool)
        model.compile(
            keras.optimizers.Adam(
                _learning_rate(config), use_ema=config.ema > 0, ema_momentum=config.ema or 0.99
            ),
            loss=_Inside(config.loss, config.margin * config.scale),
            steps_per_execution=math.gcd(config.steps, 50),
            jit_compile=False,
        )
    done = run.restore(model)
    if done < config.epochs:
        devices.fit(
            model,
            _batches(config, pool, range(done * config.steps, config.epochs * config.steps)),
            initial_epoch=done,
            epochs=config.epochs,
            steps_per_epoch=config.steps,
            callbacks=[_Validate(validation, config.scale), KeepRun(run, on_step)],
            verbose=verbose,
        )
    elif config.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    if not devices.chief:
        return None
    if config.network == "ours":
        model = collapse(model, config.network_config, formats)
    elif devices.count > 1:
        weights = model.get_weights()
        model = BASELINES[config.network](config.scale)
        model.set_weights(weights)
    card = _card(config, start, run, model, formats, counts)
    network = Network(model, card)
    run.finish(model, card)
    return network


def _degradation(config: TrainConfig) -> degradation.Step:
    models = {
        "bicubic": degradation.bicubic_model,
        "proposed": degradation.proposed_model,
        "jpeg": degradation.jpeg_model,
    }
    return models[config.degradation](config.scale)


def _batches(config: TrainConfig, pool: Sequence[data.Pair], steps: range):
    size = config.crop // config.scale
    return data.crops(pool, size=size, batch=config.batch, steps=steps, seed=config.seed)


def _learning_rate(config: TrainConfig):
    schedules = keras.optimizers.schedules
    if config.schedule == "step":
        drops = range(50, config.epochs, 50)
        return schedules.PiecewiseConstantDecay(
            # A boundary is the last step of the rate before it, counted from 0.
            [epoch * config.steps - 1 for epoch in drops] or [config.epochs * config.steps],
            [config.learning_rate * 0.1**power for power in range(max(2, len(drops) + 1))],
        )
    total = config.epochs * config.steps
    warmup = min(200, total // 10)
    return schedules.CosineDecay(
        0.0, total - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
    )


class _Inside(keras.losses.Loss):
    """The mean absolute or squared error, a border of HR pixels left out."""

    def __init__(self, kind: str, border: int):
        super().__init__(name=kind)
        self.kind, self.border = kind, border

    def call(self, y_true, y_pred):
        inner = slice(self.border, -self.border or None)
        error = (y_pred - y_true)[:, inner, inner]
        return ops.mean(ops.abs(error) if self.kind == "l1" else ops.square(error), axis=(1, 2, 3))


class _Validate(keras.callbacks.Callback):
    """Adds the PSNR on each set to an epoch's logs, measured with the averaged weights."""

    def __init__(self, sets: dict[str, list[data.Pair]], scale: int):
        super().__init__()
        self.sets, self.scale = sets, scale

    def on_epoch_end(self, epoch, logs=None):
        if not self.sets:
            return
        with _averaged(self.model):
            for name, pairs in self.sets.items():
                values = [psnr(apply(self.model, lr), hr, self.scale) for lr, hr in pairs]
                logs[f"psnr_{name}"] = float(np.mean(values))


@contextlib.contextmanager
def _averaged(model: keras.Model):
    """Inside, the weights are the running average, if the optimizer keeps one."""
    if not model.optimizer.use_ema:
        yield
        return
    raw = [ops.convert_to_numpy(variable).copy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)


def _trainee(
    config: TrainConfig, start: Network | None, pool: Sequence[data.Pair]
) -> tuple[keras.Model, Formats | None]:
    """The network to train, and its formats if it is in fixed point."""
    if config.network != "ours":
        model, formats = BASELINES[config.network](config.scale), None
        if start is not None:
            _inherit(model, start)
        return model, formats
    shape = config.network_config
    if start is None:
        return build_network(shape, branched=config.branched), None
    if start.config != shape:  # Residuals and interpolation have no weights to tell by.
        raise WeightsError("--start holds a network of another shape than the settings")
    floats = build_network(shape, branched=config.branched)
    _inherit(floats, start)
    if not config.weight_bits:
        return floats, None
    size = config.crop // config.scale
    (sample, _), *_ = data.crops(pool, size=size, batch=64, steps=range(1), seed=config.seed)
    formats = calibrate(
        collapse(floats, shape),
        np.asarray(sample),
        weight_bits=config.weight_bits,
        activation_bits=config.activation_bits,
    )
    model = build_network(shape, formats, branched=config.branched)
    model.set_weights(floats.get_weights())
    return model, formats


def _inherit(model: keras.Model, start: Network) -> None:
    """Gives `model` the kernels of the network that it starts from; extra branches start at zero.

    Raises:
        WeightsError: that network has another shape.
    """
    try:
        for layer in model.layers:
            if not layer.weights:
                continue
            source = start.model.get_layer(layer.name)
            if isinstance(layer, (Conv2D, DepthwiseConv2D)):
                layer.kernel.assign(source.effective_kernel())
                if getattr(layer, "branches", "none") == "expand":
                    layer.squeeze.assign(ops.zeros_like(layer.squeeze))
            else:
                layer.set_weights(source.get_weights())
    except (ValueError, AttributeError):
        raise WeightsError("--start holds a network of another shape than the settings") from None


def _card(config, start, run, model, formats, counts: dict[str, int]) -> dict[str, object]:
    history = run.history()
    shape = dataclasses.asdict(config.network_config)
    card = {
        "network": config.network,
        "shape": shape if config.network == "ours" else {"scale": config.scale},
        "parameters": model.count_params(),
        "degradation": config.degradation,
        "command": f"python -m superres.train {cli.as_flags(config)}",
        "data": counts,
        "epochs": config.epochs,
        "seconds": round(sum(float(row["seconds"]) for row in history)),
        "machine": machine(run.devices),
        "psnr": {
            key.removeprefix("psnr_"): round(float(value), 3)
            for key, value in history[-1].items()
            if key.startswith("psnr_")
        },
    }
    if formats is not None:
        card["formats"] = {name: dataclasses.asdict(form) for name, form in formats.items()}
    if start is not None:
        card["started_from"] = start.card
    return card


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(TrainArguments, argv, prog="python -m superres.train", presets=PRESETS)
    if not arguments.data:
        raise SettingsError("give the folders of pictures to train on: --data FOLDER…")
    cli.print_notes(others_below([*arguments.data, *arguments.validation]))
    with (
        opened(arguments) as devices,
        contextlib.redirect_stdout(sys.stderr),  # Where Keras prints its progress.
    ):
        train(cli.settings(TrainConfig, arguments), devices=devices, verbose=2)
    if devices.chief:
        cli.print_note(f"trained: {arguments.out / 'model.keras'}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
