"""Trains a detector: `python -m detection.train --data DIR --out RUN`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from atelier import cli
from atelier.errors import SettingsError
from atelier.progress import Step
from atelier.training.runs import KeepRun, RunFolder, is_finished, machine
from atelier.training.strategy import ONE, DeviceArguments, Devices, opened, synchronize
from detection.annotations import Dataset, join, read_backgrounds
from detection.config import DetectConfig
from detection.measures.metrics import evaluate
from detection.network.architectures import ARCHITECTURES, Backbone, resized
from detection.network.backbones import load_vgg19_lite
from detection.network.faster_rcnn import PARTS, PROPOSING, FasterRCNN, Scheme
from detection.network.imagenet import load_vgg16
from detection.network.torchvision_weights import load_torchvision_into
from detection.predict import Detector, load_detector
from detection.sources import DataConfig, report_faults
from detection.training import data
from detection.training.held_back import hold_back, photos_held_back, trained_on, without
from detection.training.paste import CutOut, photo_files, read_cut_outs
from detection.training.schemes import STAGES, Alternation, WarmCosine
from detection.training.validation import Validation


@dataclasses.dataclass(frozen=True)
class TrainConfig(DataConfig):
    """Train a detector on annotated pictures."""

    validation: str | None = None
    """What to measure on while training, such as val; left out, each sixth picture of --split. What
    is measured on is not trained on, unless there are fewer than six pictures."""
    backgrounds: tuple[Path, ...] = ()
    """Folders of pictures without any such object, to learn what is none."""
    paste: Path | None = None
    """A folder with images/ and masks/, objects of which are laid over half of the squares; they
    are of the first of --classes. Photos that are held back are not cut out."""
    out: Path = Path("runs/detection")
    """The run folder; the same command on the same folder goes on where it stopped."""
    backbone: Backbone = "lite"
    """lite (0.97 million weights, starts from the embedded vgg19-lite); vgg16, the report's; or
    torchvision's resnet50_fpn, resnet50_fpn_v2."""
    weights: Path | None = None
    """What vgg16 (ImageNet's) and resnet50_fpn (COCO's) start from, as a local file, instead of
    fetching it."""
    start: str | None = None
    """Instead, a trained detector of the same backbone to start from: the name of an embedded one
    or a run folder. Where it finds the same classes, its box head is taken over, too."""
    scheme: Scheme = "approximate"
    """Both stages at once, without the gradient through proposals' coordinates, or with it; or one
    after the other, in four steps."""
    epochs: int | None = None
    """Epochs in all; left out, as many as give 2,500 batches, from 12 to 120."""
    batch: int = 4
    """Squares a batch."""
    side: int = 448
    """Of the squares, pixels; a multiple of 64."""
    min_size: int | None = None
    """The shorter side that pictures are resized to, pixels; left out, the backbone's own, 416 of
    lite. Less is faster, and better where objects fill their pictures; more suits small ones."""
    flips: data.Flips = "horizontal"
    """How pictures are flipped; all turns them, too, for what has no upside, such as cells."""
    jitter: float = 1.4
    """Pictures are drawn up to so many times larger or smaller."""
    whole: float = 0.0
    """Share of the squares that show a picture whole, shrunk to fit, rather than a random part of
    it. For objects that fill their pictures, of which most parts are no object."""
    learning_rate: float = 5e-4
    """Of AdamW at its highest; it rises in the first twentieth and falls as a cosine."""
    weight_decay: float = 1e-2
    """Of AdamW, for kernels; biases and batch normalisation have none."""
    ema: float = 0.996
    """Momentum of the mean of weights that the network ends with; 0 for none."""
    validate_every: int = 5
    """Epochs between measurements of loss and AP, and between contact sheets."""
    seed: int = 0
    """Of weights, sampling and augmentation."""

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch", 1), ("side", 64), ("validate_every", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"--{_flag(name)} must be at least {least}, not {value}")
        for name in ("learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(
                    f"--{_flag(name)} must not be negative, not {getattr(self, name)}"
                )
        if self.min_size is not None and not 64 <= self.min_size <= 2048:
            raise SettingsError(f"--min-size is from 64 to 2048 pixels, not {self.min_size}")
        if self.side % 64:
            raise SettingsError(f"--side is a multiple of 64, not {self.side}")
        if not 1 <= self.jitter <= 4:
            raise SettingsError(f"--jitter is from 1 to 4, not {self.jitter}")
        if not 0 <= self.whole <= 1:
            raise SettingsError(f"--whole is from 0 to 1, not {self.whole}")
        if not 0 <= self.ema < 1:
            raise SettingsError(f"--ema is from 0 to below 1, not {self.ema}")
        if self.scheme == "alternating" and self.epochs is not None and self.epochs % 4:
            raise SettingsError(
                f"--scheme alternating takes 4 equal steps, not {self.epochs} epochs"
            )
        if self.scheme == "non-approximate" and self.backbone == "vgg16":
            raise SettingsError(
                "--scheme non-approximate needs gradients through RoIAlign; vgg16 pools by maxima"
            )
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"--seed must be from 0 to 2^31 - 1, not {self.seed}")


@dataclasses.dataclass(frozen=True)
class TrainArguments(TrainConfig, DeviceArguments):
    """Train a detector on annotated pictures."""


def _flag(name: str) -> str:
    return name.replace("_", "-")


def read_data(config: TrainConfig) -> tuple[Dataset, Dataset]:
    """Reads the pictures to train on, and those to measure on.

    The latter are left out of the former.

    Raises:
        DataError: as `read_dataset`; or all pictures are to be measured on.
    """
    splits = [config.split] if config.validation is None else [config.split, config.validation]
    seen, *held_back = config.read_parts(splits)
    if config.backgrounds:
        seen = join([seen, *(read_backgrounds(f, seen.classes) for f in config.backgrounds)])
    if not held_back:
        return hold_back(seen)
    return without(seen, held_back[0]), held_back[0]


def read_pasted(config: TrainConfig, held_back: Dataset) -> Sequence[CutOut]:
    """Cuts out what --paste names, but for photos that are held back.

    Raises:
        SettingsError: the folder holds photos of --validation.
        DataError: as `read_cut_outs`.
    """
    if config.paste is None:
        return ()
    photos = photos_held_back(photo_files(config.paste), held_back)
    if photos and config.validation is not None:
        raise SettingsError(
            f"--paste: {config.paste} holds {len(photos)} of the pictures of --validation, such as "
            f"{photos[0].name}; take them out of it"
        )
    skip = {photo.stem for photo in photos}
    return read_cut_outs(config.paste, config.group_names, skip=skip)


def train(
    config: TrainConfig,
    *,
    datasets: tuple[Dataset, Dataset] | None = None,
    devices: Devices = ONE,
    verbose: int = 0,
    on_step: Callable[[Step], object] | None = None,
) -> Detector | None:
    """Trains into the run folder `config.out`, or goes on with it; returns the detector.

    Of several workers, all but the chief write nothing and return None.

    Args:
        config: the settings.
        datasets: what `read_data` gave, where it was called before.
        devices: what to train on; see `atelier.training.strategy.opened`.
        verbose: as Keras' `fit` takes it.
        on_step: called with each epoch, as `KeepRun` does.

    Raises:
        AtelierError: no data, or a folder with another run.
    """
    devices.check(config.batch)
    if is_finished(config.out, config, devices):
        return Detector.load(config.out) if devices.chief else None
    seen, held_back = datasets or read_data(config)
    cut_outs = read_pasted(config, held_back)
    steps = math.ceil(len(seen) / config.batch)
    epochs = config.epochs or 4 * round(min(max(2500 / steps, 12), 120) / 4)
    with devices.scope():
        model = trainee(config, seen.classes, epochs * steps)
    if devices.count > 1:
        synchronize(model)
    # A new folder belongs to these settings only once all that they name has been read.
    run = RunFolder(config.out, config, devices)
    done = run.restore(model)
    if done < epochs:
        squares = data.batches(
            seen,
            model.architecture,
            side=config.side,
            batch=config.batch,
            steps=range(done * steps, epochs * steps),
            seed=config.seed,
            flips=config.flips,
            jitter=config.jitter,
            whole=config.whole,
            cut_outs=cut_outs,
        )
        validation = Validation(
            held_back, config.out if devices.chief else None, config.validate_every, epochs
        )
        alternation = (
            [Alternation(lambda: pretrained_layers(config, seen.classes), epochs)]
            if config.scheme == "alternating"
            else []
        )
        devices.fit(
            model,
            squares,
            initial_epoch=done,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[*alternation, validation, KeepRun(run, on_step)],
            verbose=verbose,
        )
    if not devices.chief:
        return None
    model.optimizer.finalize_variable_values(model.trainable_variables)
    trained = FasterRCNN(model.architecture, seen.classes)
    trained.take(model)
    card = _card(config, run, trained, seen, held_back, len(cut_outs), epochs)
    detector = Detector(trained, card)
    card["validation"] = evaluate(held_back, list(detector.detect_all(held_back))).as_dict()
    run.finish(trained, card)
    return detector


def trainee(config: TrainConfig, classes: Sequence[str], steps: int) -> FasterRCNN:
    """The compiled network at the start of a training of `steps` batches; sets all seeds."""
    model = _fresh(config, classes)
    if config.scheme == "alternating":
        model.proposer = _pretrained(config, classes)
        model.proposer.trainable = False
    rates = WarmCosine(
        config.learning_rate, steps, len(STAGES) if config.scheme == "alternating" else 1
    )
    optimizer = keras.optimizers.AdamW(
        rates,
        weight_decay=config.weight_decay,
        global_clipnorm=5.0,
        use_ema=config.ema > 0,
        ema_momentum=config.ema or 0.99,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # On CPUs, XLA compiles for minutes what oneDNN then computes faster.
    model.compile(optimizer, jit_compile=False)
    return model


def _fresh(config: TrainConfig, classes: Sequence[str]) -> FasterRCNN:
    """Returns the network as every training with these settings starts it; sets all seeds."""
    keras.utils.set_random_seed(config.seed)
    return _pretrained(config, classes)


def _pretrained(config: TrainConfig, classes: Sequence[str]) -> FasterRCNN:
    """Returns the network with random heads, on a pretrained backbone."""
    architecture = resized(ARCHITECTURES[config.backbone], config.min_size)
    model = FasterRCNN(architecture, classes, cut_gradient=config.scheme != "non-approximate")
    if config.start is not None:
        _inherit(model, config.start)
    elif config.backbone == "lite":
        load_vgg19_lite(model.backbone)
    elif config.backbone == "vgg16":
        load_vgg16(model, config.weights)
    else:
        load_torchvision_into(model, config.weights)
    return model


def pretrained_layers(config: TrainConfig, classes: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Returns the weights of the backbone's layers that do not start at random, by their names.

    They are those that two networks have in common. Sets all seeds.
    """
    one, other = _fresh(config, classes).backbone, _pretrained(config, classes).backbone
    pairs = [(layer.name, layer.get_weights(), other.get_layer(layer.name)) for layer in one.layers]
    return {
        name: weights
        for name, weights, same in pairs
        if all(map(np.array_equal, weights, same.get_weights()))
    }


def _inherit(model: FasterRCNN, start: str) -> None:
    """Gives `model` what a trained one has learnt of the same things."""
    source = load_detector(DetectConfig(model=start)).model
    if source.architecture.backbone != model.architecture.backbone:
        raise SettingsError(
            f"--start: {start} has another backbone, {source.architecture.backbone}; name it with "
            "--backbone"
        )
    model.take(source, PARTS if source.classes == model.classes else PROPOSING)


def _card(
    config, run, model, seen: Dataset, held_back: Dataset, cut_outs: int, epochs: int
) -> dict:
    measured = f"{held_back.name}: {len(held_back)} pictures, {_objects(held_back)} objects"
    if trained_on(seen, held_back):
        measured += ", trained on as well"
    return {
        "network": "Faster R-CNN",
        "architecture": config.backbone,
        "min_size": model.architecture.min_size,
        "classes": list(model.classes),
        "parameters": model.count_params(),
        "command": f"python -m detection.train {cli.as_flags(config)}".strip(),
        "data": f"{seen.name}: {len(seen)} pictures, {_objects(seen)} objects",
        "held_back": measured,
        **({"cut_outs": cut_outs} if config.paste else {}),
        "scheme": config.scheme,
        "epochs": epochs,
        "seed": config.seed,
        "seconds": round(sum(float(row["seconds"]) for row in run.history())),
        "machine": machine(run.devices),
    }


def _objects(dataset: Dataset) -> int:
    return sum(len(item.boxes) for item in dataset.items)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(TrainArguments, argv, prog="python -m detection.train")
    config = cli.settings(TrainConfig, arguments)
    with opened(arguments) as devices:
        return _train(config, devices)


def _train(config: TrainConfig, devices: Devices) -> int:
    datasets = read_data(config)
    for dataset in datasets if config.validation is not None else datasets[:1]:
        report_faults(dataset)
    with contextlib.redirect_stdout(sys.stderr):  # Where Keras prints its progress.
        detector = train(config, datasets=datasets, devices=devices, verbose=2)
    if detector is None:
        return cli.DONE
    scores = detector.card["validation"]
    measured = [
        f"{name} {scores[name.lower()]:.3f}"
        for name in ("AP", "AP50")
        if scores[name.lower()] is not None  # Where nothing is on the pictures held back.
    ]
    cli.print_note(", ".join([f"trained: {config.out / 'model.keras'}", *measured]))
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
