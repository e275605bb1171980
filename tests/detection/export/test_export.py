"""`python -m detection.export`: files that find what the Keras network does, in plain runtimes."""

import dataclasses
import importlib.util
import json
import sys

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import OutputError, SettingsError
from atelier.export.runtimes import open_litert, write_litert
from atelier.media.images import load_image, resize, sample
from detection import predict
from detection.annotations.voc import read_voc
from detection.detections import Detections
from detection.export import command as export
from detection.export import litert
from detection.export.command import Exported, compare, difference, fit, keras_detections, main
from detection.export.fixed import Fixed, default_size
from detection.network import faster_rcnn, roi
from detection.network.architectures import LITE, RESNET50_FPN, RESNET50_FPN_V2, VGG16
from detection.network.backbones import load_vgg19_lite
from detection.network.faster_rcnn import FasterRCNN
from detection.network.nms import nms
from detection.network.resnet import resnet50_fpn
from detection.network.transform import normalize
from detection.predict import Detector

FEW = {"pre_nms": (100, 64), "post_nms": (100, 32), "detections": 20}
SIZE = (192, 320)
KEPT = 12
"""Of the twenty detections, those above the files' threshold."""


def spread(model, *, objectness=1.0, anchors=1.0, boxes=10.0):
    """Makes the random heads of a network say many things."""
    factors = {"rpn_objectness": objectness, "rpn_deltas": anchors, "head_deltas": boxes}
    for part in (model.rpn, model.box_head):
        for layer in part.layers:
            if layer.name in factors:
                layer.set_weights([factors[layer.name] * each for each in layer.get_weights()])


@pytest.fixture(scope="module")
def lite():
    """An untrained detector on the embedded features."""
    keras.utils.set_random_seed(0)
    small = {"min_size": 96, "max_size": 128}
    model = FasterRCNN(dataclasses.replace(LITE, **small, **FEW), ("disc", "square", "owl"))
    load_vgg19_lite(model.backbone)
    spread(model)
    return Detector(model, {})


@pytest.fixture(scope="module")
def picture():
    return np.float32(resize(load_image(sample("astronaut.png")), SIZE))


@pytest.fixture(scope="module")
def expected(lite, picture):
    found = keras_detections(lite, picture)
    assert len(found) == 20
    assert set(found.labels) > {"disc"}
    return found


@pytest.fixture(scope="module")
def threshold(expected):
    return float(expected.scores[KEPT - 1 : KEPT + 1].mean())


@pytest.fixture(scope="module")
def files(lite, threshold, tmp_path_factory):
    """Gives the file of a format, made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("files"), {}

    def file(format):
        if format not in made:
            made[format] = folder / f"{format}.{'onnx' if format == 'onnx' else 'tflite'}"
            export.export(lite, made[format], format, size=SIZE, threshold=threshold)
        return made[format]

    return file


def needs(format):
    if format == "onnx":
        for package in ("onnx", "onnxruntime"):
            pytest.importorskip(package, reason="the extra `export` is not installed")


# === What they find ===


@pytest.mark.parametrize("format", ["litert-float32", "onnx"])
def test_file_finds_what_keras_does(files, picture, expected, format):
    needs(format)
    found = Exported(files(format)).find(picture[None])
    assert {name: (part.shape, part.dtype.name) for name, part in found.items()} == {
        "boxes": ((1, 20, 4), "float32"),
        "scores": ((1, 20), "float32"),
        "labels": ((1, 20), "int32"),
        "count": ((1,), "int32"),
    }
    assert found["count"] == [KEPT]
    np.testing.assert_allclose(found["boxes"][0, :KEPT], expected.boxes[:KEPT], atol=0.01)
    np.testing.assert_allclose(found["scores"][0, :KEPT], expected.scores[:KEPT], atol=1e-4)
    classes = ("", "disc", "square", "owl")
    assert tuple(classes[label] for label in found["labels"][0, :KEPT]) == expected.labels[:KEPT]
    for name in ("boxes", "scores", "labels"):
        assert (found[name][0, KEPT:] == 0).all()


@pytest.mark.parametrize("format", ["litert-float32", "onnx"])
def test_a_picture_of_one_colour(lite, files, format):
    """Whatever is found on it, if anything."""
    needs(format)
    grey, file = np.full((*SIZE, 3), 90, np.float32), Exported(files(format))
    found = export.as_detections(file.find(grey[None]), file.classes)
    others = keras_detections(lite, grey).select(file.threshold)
    assert len(found) == len(others)
    np.testing.assert_allclose(found.scores, others.scores, atol=1e-4)


def test_fewer_bits_are_near_and_smaller(lite, files):
    sizes = {kind: files(f"litert-{kind}").stat().st_size for kind in ("float32", "float16")}
    weights = lite.model.count_params()
    assert sizes["float32"] - sizes["float16"] > 1.9 * weights
    assert files("litert-int8").stat().st_size < sizes["float16"] - 0.8 * weights
    near, nearer = (compare(lite, files(f"litert-{kind}")) for kind in ("int8", "float16"))
    assert near.objects == nearer.objects > 5
    assert nearer.same >= nearer.objects - 1
    assert nearer.score_difference < 0.02
    assert near.same >= near.objects / 2
    assert nearer.score_difference < near.score_difference < 0.3


@pytest.mark.parametrize(
    ("architecture", "format"),
    [(RESNET50_FPN, "onnx"), (RESNET50_FPN_V2, "onnx"), (RESNET50_FPN_V2, "litert-float32")],
    ids=lambda value: getattr(value, "backbone", value),
)
def test_torchvisions_networks(tmp_path, monkeypatch, picture, architecture, format):
    """Slim ones: four levels, strides by the maps' sizes, normalisation, another padding."""
    needs(format)
    norm = architecture is RESNET50_FPN_V2
    monkeypatch.setattr(
        faster_rcnn,
        "build_backbone",
        lambda name: resnet50_fpn(norm, width=8, depths=(1, 1, 1, 1), channels=16),
    )
    keras.utils.set_random_seed(3)
    slim = {"rpn_channels": 16, "head_dense": (32,) * len(architecture.head_dense)}
    slim["head_convs"] = ((16, 1),) * len(architecture.head_convs)
    many = {"pre_nms": (100, 64), "post_nms": (100, 200), "detections": 200}
    model = FasterRCNN(dataclasses.replace(architecture, **slim, **many), ("cat", "dog"))
    rng = np.random.default_rng(0)
    for part in (model.backbone, model.box_head):
        for layer in part.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                shape = layer.gamma.shape
                parts = [rng.uniform(0.5, 1.5, shape), *rng.normal(0, 0.2, (2, *shape))]
                layer.set_weights([*parts, rng.uniform(0.5, 2, shape)])
    spread(model, objectness=50.0, anchors=20.0, boxes=100.0)
    detector = Detector(model, {})
    size = (160, 224)  # 5 by 7 positions of stride 32, and 3 by 4 of torchvision's 53 and 56.
    file = tmp_path / f"x.{'onnx' if format == 'onnx' else 'tflite'}"
    export.export(detector, file, format, size=size)
    window = picture[: size[0], 48 : 48 + size[1]]
    others = keras_detections(detector, window)
    sides = np.sqrt(np.prod(others.boxes[:, 2:] - others.boxes[:, :2], axis=1))
    assert sides.min() < 100 < 125 < sides.max()  # Of more than one level.
    found = Exported(file)
    found = export.as_detections(found.find(window[None]), found.classes)
    same = difference(found, others)
    assert (len(found), same.same) == (len(others), len(others))
    assert same.box_difference < 0.05
    assert same.score_difference < 1e-3


@pytest.mark.parametrize("sampling_ratio", [1, 2])
def test_roi_align_by_gathers(rng, sampling_ratio):
    """Boxes of all levels, over the border, and narrower than a position."""
    maps = [np.float32(rng.normal(size=(1, 320 // s, 640 // s, 3))) for s in (8, 16, 32)]
    corners = rng.uniform(0, (600, 280), (60, 2))
    sides = np.concatenate([rng.uniform(0, 6, (20, 2)), rng.uniform(6, 700, (40, 2))])
    boxes = np.concatenate([corners, np.minimum(corners + sides, (640, 320))], axis=1)
    boxes[:3] = (639.9, 319.9, 640, 320), (0, 0, 0, 0), (0, 0, 640, 320)
    boxes = np.float32(boxes)
    settings = ((8, 16, 32), 7, sampling_ratio)
    expected = roi.roi_align_levels(maps, boxes[None], *settings)[0]
    result = litert.roi_align_levels(maps, boxes, *settings)
    np.testing.assert_allclose(result, expected, atol=2e-4)


def test_suppression_in_litert_is_tensorflow_s(rng, tmp_path):
    """Of equal scores and of IoUs at the threshold, too."""

    def suppress(packed):
        indices, count = litert._nms(packed[:, :4], packed[:, 4], 0.5, 40)
        return {"indices": indices, "count": count}

    signature = tf.TensorSpec((64, 5), tf.float32, name="packed")
    write_litert(suppress, signature, "float32", tmp_path / "x.tflite")
    run = open_litert(tmp_path / "x.tflite").get_signature_runner()
    for _ in range(100):
        corners = rng.integers(0, 12, (64, 2))
        boxes = np.float32(np.hstack([corners, corners + rng.integers(4, 12, (64, 2))]) * 4)
        scores = -np.sort(-rng.uniform(0, 1, 64).round(1).astype(np.float32))
        scores[-9:] = -1
        found = run(packed=np.hstack([boxes, scores[:, None]]))
        kept = nms(boxes[None], scores[None], scores[None] >= 0, 0.5, 40)
        count = int(kept.valid.numpy().sum())
        assert found["count"] == count
        np.testing.assert_array_equal(found["indices"][:count], kept.indices[0][:count])


# === Of what they are made ===


def test_operations_are_litert_s_own(files):
    interpreter = open_litert(files("litert-float32"))
    names = {node["op_name"] for node in interpreter._get_ops_details()}
    assert {"NON_MAX_SUPPRESSION_V4", "TOPK_V2", "GATHER"} <= names
    assert not [name for name in names if "Flex" in name or name in ("CUSTOM", "WHILE")]


def test_opencv_finds_the_same_by_the_onnx_file(files, picture):
    needs("onnx")
    import onnx

    path = files("onnx")
    for node in onnx.load(path).graph.node:
        assert "auto_pad" not in {attribute.name for attribute in node.attribute}
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV's dnn has NonMaxSuppression from version 5 on")
    file = Exported(path)
    expected = export.as_detections(file.find(picture[None]), file.classes)
    assert len(expected) == KEPT
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(picture[None], "image")
    names = ("boxes", "scores", "labels", "count")
    values = dict(zip(names, map(np.asarray, network.forward(names)), strict=True))
    values["boxes"] = values["boxes"].reshape(1, -1, 4)
    found = export.as_detections(values, file.classes)
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


def test_onnx_is_checked_and_of_its_own_operations(files):
    needs("onnx")
    import onnx

    model = onnx.load(files("onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert "disc, square, owl" in model.doc_string


def test_facts_beside_the_file(files, threshold):
    needs("onnx")
    facts = json.loads(files("onnx").with_suffix(".json").read_text())
    assert facts == {
        "classes": ["disc", "square", "owl"],
        "size": [192, 320],
        "threshold": pytest.approx(threshold),
        "padding": [123.68, 116.779, 103.939],
    }


@pytest.mark.parametrize("architecture", [LITE, RESNET50_FPN], ids=["lite", "resnet50_fpn"])
def test_padding_is_nothing_to_the_network(architecture):
    model = type("", (), {"architecture": architecture})
    fixed = Fixed(model, (64, 64), 0.05, (), ())
    np.testing.assert_allclose(normalize(np.array([fixed.padding]), architecture), 0, atol=1e-5)
    (scale, shift), rgb = fixed.colors, np.float32([[10, 100, 250]])
    colors = (rgb[:, ::-1] if fixed.bgr else rgb) * scale + shift
    np.testing.assert_allclose(colors, normalize(rgb, architecture), atol=1e-4)


def test_sizes_for_pictures_of_4_to_3():
    assert default_size(LITE) == (448, 576)
    assert default_size(RESNET50_FPN) == (800, 1088)


# === Pictures of any size ===


def test_picture_is_fitted_at_the_upper_left(rng):
    image = rng.integers(0, 256, (40, 60, 3), np.uint8)
    fitted, scale = fit(image, (64, 128), (1, 2, 3))
    assert (fitted.shape, fitted.dtype) == ((64, 128, 3), np.float32)
    assert scale == (96 / 60, 1.6, 96 / 60, 1.6)
    assert (fitted[:, 96:] == (1, 2, 3)).all()
    assert abs(fitted[:, :96].mean() - image.mean()) < 3
    same, scale = fit(image, (40, 60), (1, 2, 3))
    np.testing.assert_array_equal(same, image)
    assert scale == (1, 1, 1, 1)
    thin, _ = fit(image[:1], (64, 64), (1, 2, 3))
    np.testing.assert_array_equal(thin[1:], np.broadcast_to(np.float32((1, 2, 3)), (63, 64, 3)))


def test_boxes_are_of_the_picture_that_was_given(files, picture, expected):
    """Half as large, and narrower: what is found is where it is in the whole."""
    needs("onnx")
    file = Exported(files("onnx"))
    whole = file.detect(np.uint8(picture))
    np.testing.assert_allclose(whole.boxes, expected.boxes[:KEPT], atol=0.01)
    doubled = np.uint8(picture).repeat(2, axis=0).repeat(2, axis=1)
    found = file.detect(doubled)
    same = difference(dataclasses.replace(found, boxes=found.boxes / 2), whole)
    assert (same.same, same.box_difference) == (KEPT, pytest.approx(0, abs=0.01))
    narrow = file.detect(np.uint8(picture)[:, :100])
    assert (narrow.boxes[:, [0, 2]] <= 100).all()


def test_differences_are_of_pairs():
    def detections(*objects):
        boxes, scores, labels = zip(*objects, strict=True)
        return Detections(np.float32(boxes), np.float32(scores), labels)

    keras_found = detections(
        ((0, 0, 10, 10), 0.9, "a"), ((50, 50, 60, 60), 0.8, "a"), ((0, 0, 10, 10), 0.3, "b")
    )
    file_found = detections(
        ((0, 0, 10, 10.5), 0.3125, "b"), ((0, 1, 10, 10), 0.875, "a"), ((50, 50, 51, 51), 0.8, "a")
    )
    same = difference(file_found, keras_found)
    assert (same.objects, same.same, same.box_difference) == (3, 2, 1.0)
    assert same.score_difference == pytest.approx(0.025)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    assert dataclasses.astuple(difference(nothing, keras_found)) == (3, 0, 0, 0)
    assert dataclasses.astuple(difference(keras_found, nothing)) == (0, 0, 0, 0)


# === The command ===


@pytest.fixture
def named(lite, monkeypatch):
    """Makes of any name this detector; gives what was asked for."""
    asked = []
    monkeypatch.setattr(predict, "load_detector", lambda config: asked.append(config) or lite)
    return asked


def test_command_writes_measures_and_tells(lite, named, tmp_path, shapes, capsys):
    needs("onnx")
    out = tmp_path / "out"
    arguments = ["some/owls", "--format", "onnx", "--size", "128", "192", "--out", str(out)]
    assert main([*arguments, "--data", str(shapes), "--json"]) == 0
    assert named[0].model == "some/owls"
    assert sorted(file.name for file in out.iterdir()) == ["owls.json", "owls.onnx"]
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["bytes"] == (out / "owls.onnx").stat().st_size
    assert record["size"] == [128, 192]
    assert record["objects"] == record["same"] == 20
    assert record["box_difference"] < 0.05
    assert record["score_difference"] < 1e-3
    dataset = read_voc(shapes)
    for key, detector in (("ap", Exported(out / "owls.onnx")), ("ap_keras", lite)):
        expected = export.average_precision(detector, dataset, "")
        assert 0 < expected < 1
        assert record[key] == pytest.approx(expected, abs=1e-6)
    assert "owls.onnx: " in said.err
    assert "20 of 20 objects as Keras on astronaut.png, boxes at most" in said.err


def test_accuracy_is_the_file_s_own(named, lite, files, tmp_path, shapes, capsys, monkeypatch):
    """With a Keras network that finds all, and a file that finds next to nothing of that."""
    needs("onnx")
    dataset = read_voc(shapes)
    truth = {
        item.name: Detections(
            item.boxes,
            np.ones(len(item.boxes), np.float32),
            tuple(dataset.classes[label] for label in item.labels),
        )
        for item in dataset.items
    }
    answers = iter([truth[item.name] for item in dataset.items])
    monkeypatch.setattr(Detector, "detect", lambda self, image: next(answers))
    arguments = ["--format", "onnx", "--size", "64", "64", "--out", str(tmp_path), "--no-check"]
    assert main([*arguments, "--data", str(shapes), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ap"] < 0.01
    assert record["ap_keras"] == 1
    assert record["loss"] == pytest.approx(100 * (1 - record["ap"]), abs=1e-3)
    assert "objects" not in record


def test_existing_file_is_kept_unless_it_may_be_replaced(named, tmp_path, error_line):
    needs("onnx")
    arguments = ["owls", "--format", "onnx", "--size", "64", "64", "--out", str(tmp_path)]
    for name in ("owls.onnx", "owls.json"):
        (tmp_path / name).write_text("kept")
        assert main([*arguments, "--no-check"]) == 1
        assert f"{name} exists" in error_line()
        assert (tmp_path / name).read_text() == "kept"
        (tmp_path / name).unlink()
    (tmp_path / "owls.onnx").write_text("old")
    assert main([*arguments, "--no-check", "--overwrite"]) == 0
    assert (tmp_path / "owls.onnx").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "416", "576"), "multiples of 64, not 416 576"),
        (("--size", "0", "64"), "multiples of 64, not 0 64"),
        (("--format", "caffe"), "caffe"),
        (("--format",), "--format"),
        (("--threshold", "1.5"), "--threshold is from 0.05 to below 1, not 1.5"),
        (("--split", "val"), "--split is a part of --data"),
        (("--images", "photos"), "--images is a part of --data"),
        (("--data", "no-such-folder"), "no-such-folder"),
    ],
)
def test_bad_usage_is_one_line_and_2(named, tmp_path, error_line, arguments, message):
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in error_line()
    assert not (tmp_path / "out").exists()


def test_unknown_network(tmp_path, error_line):
    assert main(["no-such-network", "--out", str(tmp_path / "out")]) == 2
    assert "'no-such-network' is neither a run folder nor one of " in error_line()


def test_roi_pooling_is_not_exported():
    model = type("", (), {"architecture": VGG16})
    with pytest.raises(SettingsError, match="vgg16 has RoI pooling, and is not exported"):
        Fixed.of(model, (608, 800))


def test_kind_and_suffix_that_there_are_not(lite, tmp_path):
    with pytest.raises(SettingsError, match="float32, float16 or int8, not 'int4'"):
        export.to_litert(lite.model, tmp_path / "x.tflite", "int4", size=SIZE)
    with pytest.raises(SettingsError, match=r"ends in \.tflite or \.onnx"):
        export.export(lite, tmp_path / "x.pb")
    (tmp_path / "x.onnx").write_bytes(b"")
    with pytest.raises(OutputError, match=r"no \.json beside it"):
        Exported(tmp_path / "x.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_is_said_before_any_work(named, tmp_path, error_line, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    assert main(["--format", "litert-float16", "onnx", "--out", str(tmp_path / "out")]) == 2
    line = error_line()
    if package in line:  # The other package may be missing here too.
        assert f"{package} is missing: pip install 'atelier-vision[export]'" in line
    assert not named
    assert not (tmp_path / "out").exists()


def test_runtime_that_is_missing_is_one_line(files, monkeypatch):
    needs("onnx")
    file = files("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"onnxruntime is missing.*--no-check"):
        Exported(file)
