"""Distils `vgg19-lite`: `python -m nst.train --data PHOTOS --teacher FILE --out RUN`.

What style transfer asks of features are inner products between feature vectors: a Gram matrix
distance is a sum of squared inner products over pairs of positions, and a content distance a sum
over single positions. So the student is trained to give the same inner products as the teacher
(similarity-preserving distillation, Tung & Mori, ICCV 2019), in as few channels as it likes, with
no layer that translates between the two.

Photos alone leave the student open to pictures that please it but not its teacher, and finding
such pictures is just what optimising an image does. So each epoch the student paints pictures of
its own (`improvise`), and is taught on them as well.

The loop differentiates by images with `tf.GradientTape`: TensorFlow only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atelier import cli
from atelier.errors import SettingsError, WeightsError
from atelier.media.images import find_pictures, others_below
from atelier.nets.features import VGG19_LITE
from atelier.nets.vgg import VGG, UnknownLayerError
from atelier.training.runs import KeepRun, RunFolder, is_finished, load_run, machine
from nst.descent import losses
from nst.distillation import data
from nst.distillation.teacher import TAPS, load_teacher

SEMANTIC = "block5_conv2"
"""The report's content layer, one convolution above the highest tap."""


CALIBRATION = 8
"""Batches that the student's start is fitted to; like improvised ones, not among the trained."""


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """Distil vgg19-lite, the embedded feature network, from a bigger one."""

    data: tuple[Path, ...]
    """Folders of photos, searched with all that is below them."""
    teacher: str = "vgg19"
    """vgg19 (fetched), a local .h5 file of its weights, or the .npz of a small teacher."""
    out: Path = Path("runs/vgg19-lite")
    """The run folder; the same command on the same folder goes on where it stopped."""
    epochs: int = 16
    """Epochs of `steps` batches."""
    steps: int = 250
    """Batches an epoch."""
    batch: int = 6
    """Crops a batch."""
    crop: int = 160
    """Side of the crops in pixels, a multiple of 16."""
    learning_rate: float = 3e-5
    """Of Adam after warm-up; falls to a fiftieth on a cosine."""
    improvised: int = 24
    """Pictures that the student paints each epoch; 0 for photos only."""
    seed: int = 0
    """Of weights, crops and improvised pictures."""

    def __post_init__(self):
        for name in ("epochs", "steps", "batch"):
            if getattr(self, name) < 1:
                raise SettingsError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.crop < 32 or self.crop % 16:
            raise SettingsError(f"--crop must be a multiple of 16 from 32 on, not {self.crop}")
        if not 0 < self.learning_rate < float("inf"):
            raise SettingsError(f"--learning-rate must be positive, not {self.learning_rate}")
        if self.improvised < 0:
            raise SettingsError(f"--improvised must be 0 or more, not {self.improvised}")


class Distiller(keras.Model):
    """Trains a student so that inner products between its feature vectors equal its teacher's.

    Args:
        student: the network to train.
        teacher: an object with `features(names)`, such as a `VGG`.

    `fit` takes batches (N, H, W, 3) of `atelier.nets.vgg.preprocess`. Metrics: for each tap, the
    relative squared error of inner products of centred features.
    """

    def __init__(self, student: VGG, teacher):
        super().__init__()
        self.student = student.features([*TAPS, SEMANTIC])
        self.teacher = _with_semantic_layer(teacher)
        self.teacher.trainable = False
        self.trackers = [keras.metrics.Mean(name=name) for name in (*TAPS, SEMANTIC)]

    @property
    def trained(self) -> keras.Model:
        """The part that training changes: checkpoints need not hold the teacher."""
        return self.student

    def call(self, images, training=None):
        return self.student(images, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = 0.0
        for tracker, taught, learnt in zip(self.trackers, self.teacher(x), y_pred, strict=True):
            taught, learnt = _sample(taught), _sample(learnt)
            centred = similarity_loss(
                taught - ops.mean(taught, axis=0), learnt - ops.mean(learnt, axis=0)
            )
            loss += similarity_loss(taught, learnt) + centred
            tracker.update_state(centred)
        return loss


def similarity_loss(taught, learnt):
    """Relative squared error of the inner products between feature vectors, a scalar.

    Args:
        taught: (n, C), the teacher's feature vectors at n positions.
        learnt: (n, c), the student's at the same positions; c and C may differ.
    """
    target = ops.matmul(taught, ops.transpose(taught))
    error = ops.matmul(learnt, ops.transpose(learnt)) - target
    # Where the teacher sees nothing, in pictures of one colour, there is nothing to learn.
    return ops.divide_no_nan(ops.sum(ops.square(error)), ops.sum(ops.square(target)))


def _sample(features, a_side: int = 10):
    """At most a_side × a_side positions of each map, evenly spread, as (n, c)."""
    stride = max(1, features.shape[1] // a_side)
    return ops.reshape(features[:, ::stride, ::stride], (-1, features.shape[-1]))


def _with_semantic_layer(teacher) -> keras.Model:
    """The teacher's features at all taps and at the report's content layer.

    A teacher that ends at block5_conv1 has no block5_conv2; the mean of block5_conv1 over the 3×3
    positions that block5_conv2 sees stands for it.
    """
    try:
        return teacher.features([*TAPS, SEMANTIC])
    except UnknownLayerError:
        taps = teacher.features(TAPS)
        mean = keras.layers.AveragePooling2D(3, strides=1, padding="same")(taps.outputs[-1])
        return keras.Model(taps.inputs[0], [*taps.outputs, mean])


def inherit(student: VGG, trunk: VGG, teacher: keras.Model, images: np.ndarray) -> None:
    """Starts the student from the teacher instead of from noise.

    Each convolution takes the kernels of the teacher's convolution of the same name, restricted
    to its most active channels (structured pruning, Li et al., ICLR 2017); then each projection
    is the least-squares map from the student's features to the teacher's principal components.

    Args:
        student: changed in place.
        trunk: the teacher's convolutions.
        teacher: the teacher's features at the student's projections, in order.
        images: (N, H, W, 3), preprocessed, to measure activity on.
    """
    shared = [name for name in student.convolutions if name in trunk.convolutions]
    kept = np.arange(3)
    for name, features in zip(shared, trunk.features(shared)(images), strict=True):
        layer = student.get_layer(f"{name}_relu" if name in student.projections else name)
        kernel, bias = trunk.get_layer(name).get_weights()
        activity = np.asarray(ops.mean(features, axis=(0, 1, 2)))
        channels = np.sort(np.argsort(-activity, kind="stable")[: layer.filters])
        if len(channels) == layer.filters and len(kept) == layer.kernel.shape[2]:
            layer.set_weights([kernel[:, :, kept][..., channels], bias[channels]])
        kept = channels
    names = list(student.projections)
    hidden = keras.Model(student.input, [student.get_layer(f"{n}_relu").output for n in names])
    for name, taught, features in zip(names, teacher(images), hidden(images), strict=True):
        taught = np.asarray(taught, np.float64).reshape(-1, taught.shape[-1])
        features = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
        components = np.linalg.svd(taught.T @ taught)[0][:, : student.projections[name]]
        # A little ridge keeps channels that hardly ever fire from getting huge weights.
        inputs = np.concatenate([features, np.ones_like(features[:, :1])], axis=1)
        ridge = 1e-4 * np.trace(inputs.T @ inputs) / inputs.shape[1] * np.eye(inputs.shape[1])
        ridge[-1, -1] = 0  # The bias may be as large as it likes.
        solution = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ taught @ components)
        student.get_layer(name).set_weights([solution[:-1][None, None], solution[-1]])


@tf.function
def _paint(student: keras.Model, images, contents, styles, content_weights, steps):
    """Adam on a batch of pictures, each with its own content, style and content weight."""
    targets = [losses.gram_matrix(features) for features in student(styles)[:-1]]
    content = student(contents)[-3]
    mean = tf.zeros_like(images)
    square = tf.zeros_like(images)
    for step in tf.range(1, steps + 1):
        with tf.GradientTape() as tape:
            tape.watch(images)
            features = student(images)
            loss = content_weights * losses.content_loss(features[-3], content)
            energy = tf.reduce_mean(tf.square(content), axis=(1, 2, 3))
            loss = tf.math.divide_no_nan(loss, energy)
            for layer, target in zip(features[:-1], targets, strict=True):
                error = losses.style_loss(losses.gram_matrix(layer), target)
                energy = tf.reduce_mean(tf.square(target), axis=(1, 2))
                loss += tf.math.divide_no_nan(error, energy)
        gradient = tape.gradient(loss, images)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * tf.square(gradient)
        count = tf.cast(step, tf.float32)
        update = mean / (1 - 0.9**count) / (tf.sqrt(square / (1 - 0.99**count)) + 1e-12)
        images -= 4.0 * update
    return images


def improvise(student: keras.Model, batches: Sequence[np.ndarray], seed: Sequence[int]):
    """Pictures painted by the student: the batches' crops in each other's styles.

    Args:
        student: gives the features at `TAPS` and the semantic layer.
        batches: (N, H, W, 3) preprocessed crops.
        seed: of the content weights and the numbers of steps.

    Returns:
        float32 (sum of N, H, W, 3), preprocessed, clipped to the range of pictures.
    """
    rng = np.random.default_rng(seed)
    painted = []
    for batch in batches:
        weights = np.exp(rng.uniform(np.log(0.01), np.log(1), len(batch))).astype(np.float32)
        steps = tf.constant(int(rng.integers(40, 160)))
        painted.append(_paint(student, batch, batch, batch[::-1], weights, steps).numpy())
    low, high = data.preprocess(np.zeros(3)), data.preprocess(np.full(3, 255))
    return np.clip(np.concatenate(painted), low, high)


def distill(
    config: DistillConfig, *, verbose: int = 0, on_unread: Callable[[str], object] | None = None
) -> VGG:
    """Trains a student into the run folder `config.out`, or goes on with it; returns it.

    Args:
        config: the settings.
        verbose: as Keras' `fit` takes it.
        on_unread: told once, in a line, of each photo that cannot be read and is passed over.

    Raises:
        AtelierError: no photos, no teacher, or a folder with another run.
    """
    if is_finished(config.out, config):
        return load_run(config.out)[0]
    photos = find_pictures(config.data)
    # Counted now: when the training has ended, they may be gone.
    counts = [f"{folder.name}: {len(find_pictures([folder]))} photos" for folder in config.data]
    teacher, trunk = load_teacher(config.teacher)
    keras.utils.set_random_seed(config.seed)
    student = VGG(**VGG19_LITE, name="vgg19_lite")
    model = Distiller(student, teacher)
    for (name, wanted), taught in zip(
        student.projections.items(), model.teacher.outputs, strict=True
    ):
        if taught.shape[-1] < wanted:
            raise WeightsError(
                f"{config.teacher}: too narrow a teacher: {taught.shape[-1]} channels at {name}, "
                f"where the student learns {wanted:,}"
            )
    run = RunFolder(config.out, config)
    total = config.epochs * config.steps

    tell = None if on_unread is None else functools.cache(on_unread)  # Photos are read often.

    def batches(first: int, last: int, pictures=None) -> tf.data.Dataset:
        return data.crops(
            photos,
            size=config.crop,
            batch=config.batch,
            steps=range(first, last),
            seed=config.seed,
            pictures=pictures,
            on_unread=tell,
        )

    warmup = min(500, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        total - warmup,
        alpha=0.02,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    model.compile(keras.optimizers.Adam(schedule, beta_2=0.99, clipnorm=1.0))
    calibration = np.concatenate(list(batches(total, total + CALIBRATION)))
    model(calibration[:1])
    done = run.restore(model)
    if done == 0:
        inherit(student, trunk, model.teacher, calibration)
    for epoch in range(done, config.epochs):
        pictures = None
        if config.improvised:
            count = -(-config.improvised // config.batch)
            start = total + CALIBRATION + epoch * count
            crops = [crop.numpy() for crop in batches(start, start + count)]
            pictures = improvise(model.student, crops, [config.seed, epoch])
        first = epoch * config.steps
        model.fit(
            batches(first, first + config.steps, pictures),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=config.steps,
            callbacks=[KeepRun(run)],
            shuffle=False,  # Batches come in the order of their steps.
            verbose=verbose,
        )
    seconds = sum(float(row["seconds"]) for row in run.history())
    card = {
        "network": "vgg19-lite",
        "command": f"python -m nst.train {cli.as_flags(config)}",
        "teacher": Path(config.teacher).name,
        "data": counts,
        "epochs": config.epochs,
        "seconds": round(seconds),
        "machine": machine(),
        "similarity_error": {
            name: round(float(run.history()[-1][name]), 4) for name in (*TAPS, SEMANTIC)
        },
    }
    run.finish(student, card)
    return student


@cli.command
def main(argv: Sequence[str]) -> int:
    config = cli.parse(DistillConfig, argv, prog="python -m nst.train")
    cli.print_notes(others_below(config.data))
    with contextlib.redirect_stdout(sys.stderr):  # Where Keras prints its progress.
        distill(config, verbose=2, on_unread=cli.print_note)
    cli.print_note(f"trained: {config.out / 'model.keras'}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
