"""Both ResNet50 networks, from picture to boxes, against torchvision's with the same weights."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atelier.nets.resnet import fill
from detection.network.architectures import ARCHITECTURES
from detection.network.faster_rcnn import FasterRCNN
from detection.network.torchvision_weights import CATEGORIES, torchvision_slots
from detection.network.transform import prepare
from detection.predict import Detector

HERE = Path(__file__).parent
REFERENCE = runpy.run_path(str(HERE / "make_torchvision_network.py"))


@pytest.fixture(scope="module")
def expected():
    """NETWORK/SIZE/PART -> array, written by make_torchvision_network.py."""
    with np.load(HERE / "torchvision_network.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.fixture(scope="module", params=REFERENCE["NETWORKS"])
def detector(request):
    """The network with the weights that torchvision's had."""
    architecture = dataclasses.replace(
        ARCHITECTURES[request.param],
        min_size=REFERENCE["MIN_SIZE"],
        max_size=REFERENCE["MAX_SIZE"],
        pre_nms=(200, REFERENCE["PROPOSALS"]["rpn_pre_nms_top_n_test"]),
        post_nms=(100, REFERENCE["PROPOSALS"]["rpn_post_nms_top_n_test"]),
    )
    model = FasterRCNN(architecture, CATEGORIES)
    slots = dict(torchvision_slots(model))
    fill(slots, {name: REFERENCE["drawn"](name, slot.shape) for name, slot in slots.items()})
    return Detector(model, {"network": request.param})


def of_size(expected: dict, network: str, size) -> dict[str, np.ndarray]:
    prefix = f"{network}/{size[0]}x{size[1]}/"
    return {
        key.removeprefix(prefix): array for key, array in expected.items() if key.startswith(prefix)
    }


def test_boxes_on_pictures_of_several_sizes(detector, expected):
    for size in REFERENCE["SIZES"]:
        theirs = of_size(expected, detector.card["network"], size)
        theirs["labels"] = np.array(CATEGORIES)[theirs["labels"] - 1]
        assert len(set(theirs["labels"])) > 15
        found = detector.detect(REFERENCE["picture"](*size))
        ours = {"boxes": found.boxes, "scores": found.scores, "labels": np.array(found.labels)}
        REFERENCE["assert_alike"](ours, theirs, pixels=0.05, scores=1e-3)
        assert np.all(np.diff(found.scores) <= 0)


def test_maps_and_proposals(detector, expected):
    size = REFERENCE["SIZES"][0]
    model, picture = detector.model, REFERENCE["picture"](*size)
    inputs = prepare([picture], model.architecture)
    maps = model.backbone(inputs["images"])
    raw = model.propose_raw(tf.constant(inputs["images"]), maps)
    proposals = model.proposals(*raw, tf.constant(inputs["sizes"]))
    ours = {f"map{level}": REFERENCE["samples"](each.numpy()) for level, each in enumerate(maps)}
    ours["proposals"] = proposals.boxes[0].numpy()[proposals.valid[0].numpy()]
    theirs = of_size(expected, detector.card["network"], size)
    REFERENCE["assert_alike_on_the_way"](ours, theirs, pixels=0.05, values=1e-3)


def test_a_batch_is_as_its_pictures_alone(detector):
    architecture = detector.model.architecture
    # 256 × 341 and 256 × 325 pixels for the network: both are padded to 352, alone as well.
    pictures = [REFERENCE["picture"](96, width) for width in (128, 122)]
    together, *alone = (
        detector.model.find({name: tf.constant(x) for name, x in inputs.items()})
        for inputs in (prepare(batch, architecture) for batch in (pictures, *zip(pictures)))
    )
    for place, each in enumerate(alone):
        assert each.valid.numpy().all()
        found = (
            {name: getattr(of, name)[at].numpy() for name in ("boxes", "scores", "labels")}
            for of, at in ((together, place), (each, 0))
        )
        REFERENCE["assert_alike"](*found, pixels=0.05, scores=1e-3)


def test_names_and_shapes_are_torchvisions(detector, expected):
    theirs = {
        line
        for line in expected[f"{detector.card['network']}/weights"]
        if ".num_batches_tracked" not in line
    }
    slots = dict(torchvision_slots(detector.model))
    assert {f"{name} {slot.shape}" for name, slot in slots.items()} == theirs
    parts = (detector.model.backbone, detector.model.rpn, detector.model.box_head)
    assert {id(slot.variable) for slot in slots.values()} == {
        id(variable) for part in parts for variable in part.weights
    }
