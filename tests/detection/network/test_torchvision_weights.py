"""torchvision's files in the two networks, which are cut small here; that the names are theirs,
test_torchvision_parity checks."""

import dataclasses
import functools
import hashlib
import re

import numpy as np
import pytest

import detection.network.resnet
from atelier.errors import WeightsError
from detection.network import torchvision_weights
from detection.network.architectures import ARCHITECTURES
from detection.network.faster_rcnn import FasterRCNN
from detection.network.torchvision_weights import (
    CATEGORIES,
    PUBLISHED,
    load_torchvision,
    load_torchvision_into,
    torchvision_slots,
)

PREDICTOR = ("head_classes", "head_deltas")


@pytest.fixture(scope="module", autouse=True)
def _small():
    small = functools.partial(
        detection.network.resnet.resnet50_fpn, width=1, depths=(1, 1, 1, 1), channels=2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection.network.resnet, "resnet50_fpn", small)
        for name in PUBLISHED:
            full = ARCHITECTURES[name]
            convs = tuple((2, stride) for _, stride in full.head_convs)
            dense = (4, 3)[: len(full.head_dense)]
            cut = dataclasses.replace(full, rpn_channels=2, head_convs=convs, head_dense=dense)
            patch.setitem(ARCHITECTURES, name, cut)
        yield


@pytest.fixture(scope="module", params=PUBLISHED)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def shapes(name, _small):
    model = FasterRCNN(ARCHITECTURES[name], CATEGORIES)
    return {key: slot.shape for key, slot in torchvision_slots(model)}


@pytest.fixture
def state(shapes, rng):
    """Random weights as torchvision names them today, of 90 classes."""
    return {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}


@pytest.fixture
def file(monkeypatch, tmp_path, state):
    """A file of this state, the reading of which has its own tests."""
    monkeypatch.setattr(torchvision_weights, "read_checkpoint", {tmp_path / "net.pth": state}.get)
    return tmp_path / "net.pth"


def assert_holds(model, state, but=()):
    for key, slot in torchvision_slots(model):
        if not key.startswith(but):
            np.testing.assert_array_equal(slot.variable, slot.convert(state[key]), err_msg=key)


def refusal(call, *arguments):
    with pytest.raises(WeightsError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


# === The published network ===


def test_categories_are_at_coco_s_numbers():
    assert len(CATEGORIES) == 90
    numbers = {1: "person", 17: "cat", 18: "dog", 67: "dining table", 90: "toothbrush"}
    assert {number: CATEGORIES[number - 1] for number in numbers} == numbers
    unused = [number for number, each in enumerate(CATEGORIES, start=1) if each == "N/A"]
    assert unused == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert len(set(CATEGORIES)) == 81


def test_a_local_file(name, state, file):
    model, card = load_torchvision(name, file)
    assert_holds(model, state)
    assert model.classes == CATEGORIES
    assert not model.trainable_variables
    assert card["network"] == f"torchvision fasterrcnn_{name}"
    assert card["source"] == str(file)
    assert card["licence"].startswith("BSD-3-Clause")
    assert card["box_map_published"] == {"resnet50_fpn": 37.0, "resnet50_fpn_v2": 46.7}[name]


def test_the_published_file_is_fetched(monkeypatch, tmp_path, name, state):
    published = tmp_path / f"{name}.pth"
    published.write_bytes(b"weights")
    there = PUBLISHED[name]._replace(
        url=published.as_uri(), sha256_prefix=hashlib.sha256(b"weights").hexdigest()[:8]
    )
    monkeypatch.setitem(PUBLISHED, name, there)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    cached = tmp_path / "home" / "models" / published.name
    cached.parent.mkdir(parents=True)
    monkeypatch.setattr(torchvision_weights, "read_checkpoint", {cached: state}.get)
    model, card = load_torchvision(name)
    assert_holds(model, state)
    assert card["source"] == published.as_uri()
    cached.unlink()
    published.unlink()
    said = refusal(load_torchvision, name)
    assert said.endswith(f"download {published.as_uri()} elsewhere and pass --weights FILE")


def test_hashes_are_those_in_the_files_names():
    for published in PUBLISHED.values():
        assert published.url.endswith(f"{published.network}_coco-{published.sha256_prefix}.pth")


def test_the_first_dense_layer_sees_maps_with_channels_last(name, state, file):
    model, _ = load_torchvision(name, file)
    layer = "box_head.5" if ARCHITECTURES[name].head_convs else "box_head.fc6"
    maps = np.random.default_rng(1).normal(size=(3, 2, 7, 7)).astype(np.float32)  # PyTorch's.
    theirs = maps.reshape(3, -1) @ state[f"roi_heads.{layer}.weight"].T
    ours = (
        maps.transpose(0, 2, 3, 1).reshape(3, -1) @ model.box_head.get_layer("head_dense1").kernel
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


# === Names ===


def test_older_names_are_understood(state, file, name):
    wanted = dict(state)
    older = {
        key.replace("rpn.head.conv.0.0.", "rpn.head.conv."): array for key, array in state.items()
    }
    if name == "resnet50_fpn":  # The second, with normalisation there, had no older names.
        older = {re.sub(r"(_blocks\.\d)\.0", r"\1", key): array for key, array in older.items()}
        assert "backbone.fpn.layer_blocks.3.bias" in older
    state.clear()
    state.update({**older, "backbone.body.bn1.num_batches_tracked": np.array(1)})
    assert "rpn.head.conv.weight" in state
    assert_holds(load_torchvision(name, file)[0], wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone.fpn.inner_blocks.2.0.weight": None}, "lacks backbone.fpn.inner_blocks.2.0.wei"),
        ({"rpn.head.bbox_pred.bias": None, "rpn.head.cls_logits.bias": None}, "bias and 1 more"),
        ({"roi_heads.mask_head.mask_fcn1.weight": np.ones(1)}, "has roi_heads.mask_head.mask_fcn1"),
        ({"rpn.head.conv.weight": np.ones(1)}, "has rpn.head.conv.weight"),  # And the newer name.
        (
            {"roi_heads.box_predictor.cls_score.bias": np.zeros(21, np.float32)},
            "roi_heads.box_predictor.cls_score.bias is float32 (21,), not float (91,)",
        ),
    ],
)
def test_other_weights_are_one_line(name, state, file, change, said):
    state.update(change)
    for key, array in change.items():
        if array is None:
            del state[key]
    line = refusal(load_torchvision, name, file)
    assert line.startswith(f"{file}: not this network's weights: ")
    assert said in line
    assert line.endswith(f"; it should be a copy of {PUBLISHED[name].url}")


def test_a_file_that_is_none(tmp_path, name):
    assert (
        refusal(load_torchvision, name, tmp_path / "no.pth")
        == f"{tmp_path / 'no.pth'}: no such file"
    )


# === To be trained ===


def test_other_classes_have_a_predictor_of_their_own(name, state, file):
    model = FasterRCNN(ARCHITECTURES[name], ("cell", "platelet"))
    before = [model.box_head.get_layer(layer).get_weights() for layer in PREDICTOR]
    load_torchvision_into(model, file)
    assert_holds(model, state, but="roi_heads.box_predictor.")
    for layer, weights in zip(PREDICTOR, before, strict=True):
        for old, new in zip(weights, model.box_head.get_layer(layer).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    trained = {variable.path for variable in model.stage_variables()}
    assert any("head_classes" in path for path in trained)
    assert any("body_layer4" in path for path in trained)
    assert not any("body_layer1" in path for path in trained)


def test_the_file_may_be_of_other_classes_then(name, state, file):
    del state["roi_heads.box_predictor.cls_score.weight"]
    state["roi_heads.box_predictor.bbox_pred.bias"] = np.zeros(8, np.float32)
    model = FasterRCNN(ARCHITECTURES[name], [f"class {number}" for number in range(90)])
    load_torchvision_into(model, file)
    assert_holds(model, state, but="roi_heads.box_predictor.")


def test_coco_s_classes_keep_the_predictor(name, state, file):
    model = FasterRCNN(ARCHITECTURES[name], CATEGORIES)
    load_torchvision_into(model, file)
    assert_holds(model, state)
    assert model.trainable_variables
