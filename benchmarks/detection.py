"""How fast objects are found, and detectors trained: `python -m benchmarks.detection`.

`lite` as it comes; its RoIAlign against the one with TensorFlow's own gradient; and `resnet50_fpn`
against torchvision's same network with the same random weights, where torchvision is installed, all
in one run and in turn. Of the latter two things are timed: the convolutions (backbone, pyramid and
the proposal network's head), which need nothing of torchvision's compiled operators, forward and
with gradients; and all of it, a picture found and a step of training, where those operators (NMS,
RoIAlign) load.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

# Run as a script, this file's folder comes first, and this file would pass for `detection`.
sys.path = [folder for folder in sys.path if not folder.endswith("benchmarks")]

import keras
import numpy as np
import tensorflow as tf

from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import load_image, resize, sample
from atelier.nets.resnet import fill
from atelier.training.runs import machine
from detection.network import roi
from detection.network.architectures import ARCHITECTURES
from detection.network.faster_rcnn import FasterRCNN
from detection.network.torchvision_weights import CATEGORIES, torchvision_slots
from detection.network.transform import prepare
from detection.predict import Detector
from detection.training import data, shapes


@dataclasses.dataclass(frozen=True)
class BenchmarkArguments:
    """Measure finding and training; prints a table, or with --json one JSON object."""

    height: int = 480
    """Of the picture, pixels."""
    width: int = 640
    """Of the picture, pixels."""
    repeats: int = 5
    """How often each side is timed, after a first round."""
    heavy: bool = True
    """Measure resnet50_fpn, too."""
    json: bool = False
    """Print the numbers as JSON on standard output instead."""

    def __post_init__(self):
        if min(self.height, self.width) < 32 or self.repeats < 1:
            raise SettingsError("--height and --width are at least 32, --repeats at least 1")


Sides = dict[str, Callable[[], object]]


def timed(sides: Mapping[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each side, taken in turn after a first round."""
    seconds = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: round(statistics.median(own[1:]), 4) for name, own in seconds.items()}


def taught(side: int, pictures: int) -> dict[str, tf.Tensor]:
    """A batch of drawn squares with boxes."""
    samples = []
    for number in range(pictures):
        image, found = shapes.draw_shapes(np.random.default_rng(number), (side, side))
        labels = np.array([1 + shapes.SHAPES.index(label) for label in found.labels], np.int32)
        samples.append((np.float32(image) - 128, found.boxes, labels))
    batch = data.collate(samples, side, 8)
    return {name: tf.constant(value) for name, value in batch.items()}


def lite_sides(photo: np.ndarray) -> Sides:
    """A picture found, and a step of training on four squares, by `lite`."""
    model = FasterRCNN(ARCHITECTURES["lite"], shapes.SHAPES)
    detector = Detector(model, {})
    model.compile(keras.optimizers.AdamW(1e-5), jit_compile=False)
    batch, step = taught(448, 4), tf.function(model.train_step)
    return {
        "lite: a picture": lambda: detector.detect(photo),
        "lite: a step of 4": lambda: step((batch,)),
    }


def pooling_sides() -> Sides:
    """RoIAlign of 4 × 128 boxes from one level with its gradient: this project's, which adds up all
    in one order, and TensorFlow's, which loses contributions on several threads."""
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=(4, 56, 56, 64)), tf.float32)
    corners, sides = rng.uniform(0, 40, (512, 2)), rng.uniform(1, 16, (512, 2))
    pictures = tf.repeat(tf.range(4), 128)
    boxes = [tf.constant(numbers, tf.float32) for numbers in (corners, sides)]

    def side(align) -> Callable[[], object]:
        @tf.function
        def work():
            with tf.GradientTape() as tape:
                tape.watch(features)
                total = tf.reduce_sum(align(features, pictures, *boxes, 7, 2))
            return tape.gradient(total, features)

        return lambda: work().numpy()

    return {
        "RoIAlign with its gradient": side(roi._align_by_crops),
        "RoIAlign, TensorFlow's gradient": side(roi._crop),
    }


def keras_sides(model: FasterRCNN, photo: np.ndarray) -> tuple[Sides, Sides]:
    """The convolutions of resnet50_fpn, and all of it, in Keras."""
    inputs = {name: tf.constant(x) for name, x in prepare([photo], model.architecture).items()}
    variables = [variable.value for variable in (*model.backbone.trainable_variables,)]

    @tf.function
    def forward():
        return model.propose_raw(inputs["images"], model.backbone(inputs["images"]))[:2]

    @tf.function
    def backward():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            maps = model.backbone(inputs["images"], training=True)
            logits, deltas, _ = model.propose_raw(inputs["images"], maps, training=True)
            loss = tf.add_n([tf.reduce_mean(x) for x in (*logits, *deltas)])
        return tape.gradient(loss, variables)

    detector = Detector(model, {})
    model.compile(keras.optimizers.SGD(1e-5, momentum=0.9), jit_compile=False)
    batch, step = taught(640, 1), tf.function(model.train_step)
    convolutions = {"forward": forward, "gradients": backward}
    whole = {"a picture": lambda: detector.detect(photo), "a step of 1": lambda: step((batch,))}
    return convolutions, whole


def torch_sides(photo: np.ndarray) -> tuple[Sides, Sides, Mapping[str, np.ndarray]]:
    """The same in torchvision, and its weights; all of it only where its operators load.

    Raises:
        ImportError: torchvision is not installed.
    """
    import torch
    import torchvision
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    torch.manual_seed(0)
    network = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    picture = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float() / 255
    images = network.transform([picture])[0].tensors
    for name, weight in network.backbone.body.named_parameters():
        weight.requires_grad_(not name.startswith(("conv1", "bn1", "layer1")) and "bn" not in name)
    trained = [weight for weight in network.backbone.parameters() if weight.requires_grad]
    network.backbone.eval()  # Its normalisation is frozen, as with published weights.

    def forward():
        with torch.no_grad():
            return network.rpn.head(list(network.backbone(images).values()))

    def backward():
        logits, deltas = network.rpn.head(list(network.backbone(images).values()))
        loss = sum(x.mean() for x in (*logits, *deltas))
        return torch.autograd.grad(loss, trained)

    convolutions, whole = {"forward": forward, "gradients": backward}, {}
    if torchvision.extension._has_ops():
        batch = {name: value.numpy()[0] for name, value in taught(640, 1).items()}
        square = torch.from_numpy(batch["images"].transpose(2, 0, 1) / 255 + 0.5)
        real = batch["labels"] > 0
        target = {
            "boxes": torch.from_numpy(batch["boxes"][real]),
            "labels": torch.from_numpy(batch["labels"][real].astype(np.int64)),
        }
        optimizer = torch.optim.SGD(network.parameters(), 1e-5, momentum=0.9)

        def find():
            network.eval()
            with torch.no_grad():
                return network([picture])

        def step():
            network.train()
            network.backbone.eval()
            optimizer.zero_grad()
            sum(network([square], [target]).values()).backward()
            optimizer.step()

        whole = {"a picture": find, "a step of 1": step}
    network.eval()
    return convolutions, whole, state


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(BenchmarkArguments, argv, prog="python -m benchmarks.detection")
    photo = load_image(sample("astronaut.png"))
    photo = resize(photo, (arguments.height, arguments.width))
    keras.utils.set_random_seed(0)
    rows = [
        {"what": name, "keras": seconds}
        for sides in (lite_sides(photo), pooling_sides())
        for name, seconds in timed(sides, arguments.repeats).items()
    ]
    if arguments.heavy:
        rows += heavy_rows(photo, arguments.repeats)
    if arguments.json:
        print(json.dumps({"machine": machine(), "size": photo.shape[:2], "seconds": rows}))
        return cli.DONE
    print(f"{machine()}; a picture of {arguments.width}×{arguments.height}; seconds")
    print(f"{'':32} {'Keras':>8} {'torchvision':>12} {'ratio':>6}")
    for row in rows:
        other = row.get("torchvision")
        beside = f"{other:12.3f} {row['keras'] / other:6.2f}" if other else ""
        print(f"{row['what']:32} {row['keras']:8.3f} {beside}".rstrip())
    return cli.DONE


def heavy_rows(photo: np.ndarray, repeats: int) -> list[dict[str, object]]:
    """Rows of `resnet50_fpn`, with torchvision's numbers where there are any."""
    model = FasterRCNN(ARCHITECTURES["resnet50_fpn"], CATEGORIES)
    try:
        *theirs, state = torch_sides(photo)
        fill(dict(torchvision_slots(model)), state)
    except (ImportError, RuntimeError) as error:
        cli.print_note(
            f"without torchvision, which does not load ({' '.join(str(error).split())[:80]})"
        )
        theirs = ({}, {})
    rows = []
    for kind, own, other in zip(
        ("convolutions, ", ""), keras_sides(model, photo), theirs, strict=True
    ):
        sides = {("keras", name): work for name, work in own.items()}
        sides |= {("torchvision", name): work for name, work in other.items()}
        seconds = timed(sides, repeats)
        for name in own:
            row = {"what": f"resnet50_fpn: {kind}{name}", "keras": seconds["keras", name]}
            if name in other:
                row["torchvision"] = seconds["torchvision", name]
            rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
