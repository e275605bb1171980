"""Trains the person segmenter: `python -m cartoon.train --data DIR --out RUN`.

Expected on two cores of an AMD EPYC: 21 minutes, mean IoU 0.900 on 40 photos held back, from
201 photos with masks, 341 without, and MediaPipe's weights; see `cartoon/weights/person.json`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import others_below
from atelier.training.runs import KeepRun, RunFolder, is_finished, machine
from cartoon.judge import mean_iou, segmenters
from cartoon.people.model import build_person_segmenter
from cartoon.people.person import PersonNetwork
from cartoon.training import data
from cartoon.training.losses import segmentation_loss
from cartoon.training.selfie import load_selfie
from cartoon.training.teachers import SELFIE, load_teachers


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train the network that finds people, from photos with masks."""

    data: Path = Path("people")
    """A folder with images/ and masks/, names alike, or with folders that hold such; each sixth by
    name is held back."""
    images: Path | None = None
    """The photos' folder, where it is not images/ beside masks/."""
    photos: tuple[Path, ...] = ()
    """Folders of photos without masks, of which teachers are asked."""
    teachers: Path | None = None
    """The folder with the teachers' .tflite files. The training starts from the weights of one of
    them, MediaPipe's, and both tell what is on --photos. Without, it starts from random weights."""
    out: Path = Path("runs/person")
    """The run folder; the same command on the same folder goes on where it stopped."""
    epochs: int = 18
    """Epochs in all."""
    steps: int = 150
    """Batches an epoch."""
    batch: int = 8
    """Squares a batch."""
    side: int = 320
    """Of the squares, pixels."""
    learning_rate: float = 1e-3
    """Of AdamW at its highest; it rises in the first twentieth and falls as a cosine."""
    weight_decay: float = 1e-3
    """Of AdamW, for kernels."""
    seed: int = 0
    """Of weights, dropout and augmentation."""

    def __post_init__(self):
        for name, least in (("epochs", 1), ("steps", 1), ("batch", 1), ("side", 64)):
            if getattr(self, name) < least:
                raise SettingsError(f"--{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} must not be negative, not {getattr(self, name)}")
        if self.side % 16:
            raise SettingsError(f"--side is a multiple of 16, not {self.side}")
        if self.photos and self.teachers is None:
            raise SettingsError("--photos needs --teachers DIR, who tell what is on them")
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"--seed must be from 0 to 2^31 - 1, not {self.seed}")


class HeldBack(keras.callbacks.Callback):
    """Adds the mean IoU on pictures held back to each epoch's numbers."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]]):
        super().__init__()
        self.pairs = pairs

    def on_epoch_end(self, epoch, logs=None):
        network = PersonNetwork(self.model, {})
        logs["val_iou"] = mean_iou({"": network.probability}, self.pairs)[""]


def train(
    config: TrainConfig, *, verbose: int = 0, on_unread: Callable[[str], object] | None = None
) -> PersonNetwork:
    """Trains into the run folder `config.out`, or goes on with it; returns the network.

    Args:
        config: the settings.
        verbose: as Keras' `fit` takes it.
        on_unread: told, in a line, of each photo that cannot be read and is passed over, and of
            masks without a photo.

    Raises:
        AtelierError: no data, or a folder with another run.
    """
    if is_finished(config.out, config):
        return PersonNetwork.load(config.out)
    seen, held_back = data.split(data.find_pairs(config.data, config.images, on_unread=on_unread))
    run = RunFolder(config.out, config)
    model = trainee(config)
    done = run.restore(model)
    if done < config.epochs:
        teachers = load_teachers(config.teachers, threads=2) if config.photos else {}
        others = data.ask_teachers(config.photos, teachers, on_unread=on_unread)
        squares = data.batches(
            data.read_for_training(seen),
            others,
            side=config.side,
            batch=config.batch,
            steps=range(done * config.steps, config.epochs * config.steps),
            seed=config.seed,
        )
        model.fit(
            squares,
            initial_epoch=done,
            epochs=config.epochs,
            steps_per_epoch=config.steps,
            callbacks=[HeldBack(held_back), KeepRun(run)],
            shuffle=False,  # Batches come in the order of their seed.
            verbose=verbose,
        )
    card = _card(config, run, model, len(seen), len(held_back))
    network = PersonNetwork(model, card)
    scores = mean_iou(segmenters(network, config.teachers), held_back)
    card["mean_iou"] = {name: round(score, 4) for name, score in scores.items()}
    run.finish(model, card)
    return network


def trainee(config: TrainConfig) -> keras.Model:
    """The compiled network at the start of its training; sets all random seeds."""
    keras.utils.set_random_seed(config.seed)
    model = build_person_segmenter()
    if config.teachers is not None:
        load_selfie(model, config.teachers / SELFIE)
    steps = config.epochs * config.steps
    rising = max(1, steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 100,
        max(1, steps - rising),
        warmup_target=config.learning_rate,
        warmup_steps=rising,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    # On CPUs, XLA compiles for minutes what oneDNN then computes faster.
    jit = "auto" if keras.backend.backend() != "tensorflow" else False
    model.compile(optimizer, segmentation_loss, jit_compile=jit)
    return model


def _card(config: TrainConfig, run: RunFolder, model, seen: int, held_back: int) -> dict:
    return {
        "network": "person",
        "parameters": model.count_params(),
        "command": f"python -m cartoon.train {cli.as_flags(config)}".strip(),
        "data": f"{seen} photos with masks",
        "held_back": held_back,
        "started_from": "random weights"
        if config.teachers is None
        else "MediaPipe selfie segmentation (Apache-2.0)",
        "teachers_photos": [str(folder.name) for folder in config.photos],
        "epochs": config.epochs,
        "seed": config.seed,
        "seconds": round(sum(float(row["seconds"]) for row in run.history())),
        "machine": machine(),
    }


@cli.command
def main(argv: Sequence[str]) -> int:
    config = cli.parse(TrainConfig, argv, prog="python -m cartoon.train")
    cli.print_notes(others_below(config.photos))
    with contextlib.redirect_stdout(sys.stderr):  # Where Keras prints its progress.
        network = train(config, verbose=2, on_unread=cli.print_note)
    score = network.card["mean_iou"]["person"]
    cli.print_note(f"trained: {config.out / 'model.keras'}, mean IoU {score:.3f}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
