"""The network: what it finds, what its losses teach, and that it can learn at all."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection.annotations import Annotated, Dataset
from detection.detections import Detections
from detection.measures.metrics import evaluate
from detection.network.architectures import ARCHITECTURES, LITE
from detection.network.backbones import load_vgg19_lite
from detection.network.faster_rcnn import PARTS, FasterRCNN
from detection.network.transform import prepare
from detection.predict import Detector

SMALL = dataclasses.replace(
    LITE,
    min_size=128,
    max_size=192,
    pre_nms=(200, 100),
    post_nms=(200, 50),
    head_samples=64,
    detections=20,
)
CLASSES = ("disc", "square")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return FasterRCNN(SMALL, CLASSES)


def batch(boxes=1, pictures=2, side=128):
    """Grey pictures with so many boxes each, of both classes in turn."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, side / 2, (pictures, boxes, 2))
    sides = rng.uniform(8, side / 2, (pictures, boxes, 2))
    return {
        "images": rng.normal(0, 40, (pictures, side, side, 3)).astype(np.float32),
        "sizes": np.full((pictures, 2), side, np.float32),
        "boxes": np.concatenate([corners, corners + sides], axis=-1).astype(np.float32),
        "labels": np.tile(1 + np.arange(boxes) % 2, (pictures, 1)).astype(np.int32),
    }


def tensors(data):
    return {name: tf.constant(value) for name, value in data.items()}


# === Finding objects ===


def test_detections_are_sorted_and_within_their_pictures(model):
    images = [np.full(size, 90, np.uint8) for size in ((100, 150, 3), (150, 100, 3))]
    inputs = prepare(images, SMALL)
    found = model.find(tensors(inputs))
    assert found.boxes.shape == (2, 20, 4)
    assert found.labels.dtype == tf.int32
    scores = found.scores.numpy()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert found.valid.numpy().any()
    for boxes, valid, size in zip(
        *(p.numpy() for p in (found.boxes, found.valid)), inputs["sizes"], strict=True
    ):
        assert (boxes[valid][:, 2:] <= size[::-1] + 1e-3).all()
        assert (boxes[valid] >= 0).all()
        assert (boxes[~valid] == 0).all()
    assert set(found.labels.numpy()[found.valid.numpy()]) <= {1, 2}


def test_pictures_of_twenty_sizes_are_traced_once(model):
    rng = np.random.default_rng(0)
    for _ in range(20):
        size = (*rng.integers(30, 200, 2), 3)
        model.find(tensors(prepare([rng.integers(0, 256, size, np.uint8)], SMALL)))
    assert model.find.experimental_get_tracing_count() == 1


def test_padding_changes_nothing_far_from_it(model):
    """A picture alone and beside a larger one: of 16 columns, 11 see over the border."""
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    alone = prepare([image], SMALL)
    padded = np.pad(alone["images"], ((0, 0), (0, 0), (0, 128), (0, 0)))
    own, wide = (model.backbone(x)[0].numpy() for x in (alone["images"], padded))
    differences = np.abs(own - wide[:, :, : own.shape[2]]).max(axis=(0, 1, 3))
    assert differences.shape == (16,)
    assert differences[:5].max() < 1e-5
    assert differences[5:].min() > 1e-4
    assert differences[-1] > 0.1


@pytest.mark.parametrize("name", ["lite", "vgg16"])
def test_number_of_weights(name):
    """VGG16 by hand: 14,714,688 of its convolutions, fc6 of 25,088 inputs, fc7, and the heads."""
    if name == "lite":
        expected = 966_867
    else:
        rpn = 9 * 512 * 512 + 512 + 512 * 9 + 9 + 512 * 36 + 36
        head = 25088 * 4096 + 4096 + 4096**2 + 4096 + 4096 * 21 + 21 + 4096 * 84 + 84
        expected = 14_714_688 + rpn + head
    with tf.Graph().as_default() if name == "vgg16" else keras.device("cpu"):
        classes = ("a", "b", "c") if name == "lite" else [str(i) for i in range(20)]
        assert FasterRCNN(ARCHITECTURES[name], classes).count_params() == expected


def test_keras_round_trip_is_exact(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert loaded.architecture == SMALL
    assert loaded.classes == CLASSES
    inputs = tensors({name: batch()[name] for name in ("images", "sizes")})
    for own, other in zip(model.find(inputs), loaded.find(inputs), strict=True):
        np.testing.assert_array_equal(own, other)


# === Losses ===


def test_losses_are_finite_without_boxes_and_with_a_thousand(model):
    empty = batch()
    empty["labels"][:] = 0
    for data in (empty, batch(boxes=1000)):
        losses = model.compute_losses(tensors(data))
        assert set(losses) == {"objectness", "rpn_box", "class", "box"}
        assert all(np.isfinite(loss) for loss in losses.values())
    losses = model.compute_losses(tensors(empty))
    assert losses["rpn_box"] == 0
    assert losses["box"] == 0


def test_padding_of_boxes_does_not_count(model):
    data = batch(boxes=3)
    padded = {
        **data,
        "boxes": np.pad(data["boxes"], ((0, 0), (0, 5), (0, 0)), constant_values=7),
        "labels": np.pad(data["labels"], ((0, 0), (0, 5))),
    }
    own, other = (model.compute_losses(tensors(d), training=False) for d in (data, padded))
    for name, loss in own.items():
        np.testing.assert_allclose(loss, other[name], rtol=1e-5)


def head_gradient(model):
    """The gradient of the box head's losses in the regression of the proposal network."""
    layer = model.rpn.get_layer("rpn_deltas")
    with tf.GradientTape() as tape:
        losses = model.compute_losses(tensors(batch(boxes=4)))
        loss = losses["class"] + losses["box"]
    gradient = tape.gradient(loss, layer.kernel.value)
    return 0 if gradient is None else np.abs(gradient).sum()


def test_only_non_approximate_training_sends_gradients_through_proposals():
    keras.utils.set_random_seed(0)
    assert head_gradient(FasterRCNN(SMALL, CLASSES)) == 0
    assert head_gradient(FasterRCNN(SMALL, CLASSES, cut_gradient=False)) > 0


def test_non_approximate_training_needs_roi_align():
    with pytest.raises(ValueError, match="needs RoIAlign"):
        FasterRCNN(ARCHITECTURES["vgg16"], CLASSES, cut_gradient=False)


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        ("joint", {"shared", "p6", "rpn", "box_head"}),
        ("rpn", {"shared", "p6", "rpn"}),
        ("head", {"shared", "box_head"}),
        ("rpn-only", {"p6", "rpn"}),
        ("head-only", {"box_head"}),
    ],
)
def test_a_stage_changes_its_parts_alone(stage, changed):
    """No box is pooled from p6, nor from p7, which is made of it."""
    keras.utils.set_random_seed(0)
    model = FasterRCNN(SMALL, CLASSES)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    model.set_stage(stage)
    parts = {name: getattr(model, name).layers for name in PARTS}
    backbone = parts.pop("backbone")
    parts["p6"] = [layer for layer in backbone if layer.name == "p6"]
    parts["shared"] = [layer for layer in backbone if layer.name != "p6"]

    def state():
        return {name: [w for layer in part for w in layer.get_weights()]
                for name, part in parts.items()}  # fmt: skip

    before = state()
    logs = model.train_step((tensors(batch(boxes=3)),))
    assert (
        set(logs) - {"loss"}
        == {
            "joint": {"objectness", "rpn_box", "class", "box"},
            "rpn": {"objectness", "rpn_box"},
            "head": {"class", "box"},
            "rpn-only": {"objectness", "rpn_box"},
            "head-only": {"class", "box"},
        }[stage]
    )
    moved = {
        name
        for name, after in state().items()
        if any((a != b).any() for a, b in zip(before[name], after, strict=True))
    }
    assert moved == changed


def test_the_first_blocks_of_vgg_stay_as_they_are(model):
    frozen = [
        layer for layer in model.backbone.layers if layer.name.startswith(("block1", "block2"))
    ]
    assert frozen
    assert not any(layer.trainable_weights for layer in frozen)
    assert model.backbone.get_layer("block3_conv1_relu").trainable_weights


def test_a_step_passes_once_through_the_backbone(model, monkeypatch):
    calls = []
    forward = model.backbone.__call__

    class Counting:
        trainable_variables = model.backbone.trainable_variables

        def __call__(self, *args, **options):
            calls.append(1)
            return forward(*args, **options)

    monkeypatch.setitem(model.__dict__, "backbone", Counting())
    model.compute_losses(tensors(batch(boxes=3)))
    assert len(calls) == 1


# === Learning ===


def drawn_pictures():
    """Four pictures with a disc and a square each, in known boxes."""
    items = []
    y, x = np.mgrid[:128, :128]
    for number in range(4):
        image = np.full((128, 128, 3), 60 + 30 * number, np.uint8)
        left, top = 8 + 6 * number, 60 - 12 * number
        image[top : top + 48, left : left + 40] = (220, 60, 40)
        center, radius = (96 - 4 * number, 24 + 20 * number), 16 + 2 * number
        image[(x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2] = (40, 90, 230)
        disc = (
            center[0] - radius, center[1] - radius, center[0] + radius + 1, center[1] + radius + 1
        )  # fmt: skip
        boxes = np.array([(left, top, left + 40, top + 48), disc], np.float32)
        item = Annotated(
            str(number), image, (128, 128), boxes, np.array([1, 0]), np.zeros(2, bool),
            np.zeros(2, bool),
        )  # fmt: skip
        items.append(item)
    return Dataset("drawn", CLASSES, tuple(items))


def test_four_pictures_are_learnt_by_heart():
    """AP50 of 1 within 120 steps."""
    keras.utils.set_random_seed(0)
    dataset = drawn_pictures()
    model = FasterRCNN(SMALL, CLASSES)
    load_vgg19_lite(model.backbone)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0), jit_compile=False)
    data = prepare([item.image for item in dataset.items], SMALL)
    data["boxes"] = np.stack([item.boxes for item in dataset.items])
    data["labels"] = np.stack([item.labels + 1 for item in dataset.items]).astype(np.int32)
    data = tf.data.Dataset.from_tensors(tensors(data)).repeat(40)

    detector = Detector(model, {})
    before = evaluate(dataset, list(detector.detect_all(dataset))).ap50
    assert before < 0.5
    for _ in range(3):
        model.fit(data, epochs=1, shuffle=False, verbose=0)
        found = list(detector.detect_all(dataset))
        assert all(isinstance(each, Detections) for each in found)
        if (learnt := evaluate(dataset, found).ap50) == 1.0:
            break
    assert learnt == 1.0
