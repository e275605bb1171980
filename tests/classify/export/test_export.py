"""`python -m classify.export`: networks in, files for other runtimes out, and how good they are."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from atelier.errors import SettingsError
from classify.data import CLASSES
from classify.export import command as export
from classify.export.command import (
    HELD_OUT,
    compare,
    keras_probabilities,
    main,
    run_file,
    to_litert,
)
from classify.export.litert import CALIBRATION, patches
from classify.networks import Network
from classify.predict import classify_prepared

FORMATS = ["litert-float32", "litert-float16", "litert-int8"]


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_files_of_a_run_and_their_numbers(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(run), "--format", *FORMATS, "--out", str(out), "--json"]) == 0
    stems = ["strong-float16", "strong-float32", "strong-int8"]
    assert names(out) == [f"{stem}.{suffix}" for stem in stems for suffix in ("json", "tflite")]
    found = records(capsys)
    assert [record["format"] for record in found] == FORMATS
    for record in found:
        assert record["network"] == str(run)
        assert record["bytes"] == (out / record["output"]).stat().st_size
        assert record["pictures"] == 21 * len(HELD_OUT)
        assert "accuracy" not in record
    float32, float16, int8 = found
    assert (float32["agreement"], float32["difference"]) == (1, pytest.approx(0, abs=1e-4))
    assert float32["difference"] < float16["difference"] < int8["difference"] < 0.5
    assert 0.7 < int8["agreement"] <= float16["agreement"]


def test_with_data_accuracy_is_measured_on_the_test_pictures(
    run, official, drawn, tmp_path, capsys
):
    arguments = [str(run), "--format", *FORMATS, "--data", str(official), "--out", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    network = Network.load(run)
    right = network.logits(drawn.test.images, views=1).argmax(axis=1) == drawn.test.labels
    assert right.mean() > 0.6
    for record in records(capsys):
        assert record["pictures"] == 100
        assert record["accuracy_keras"] == pytest.approx(right.mean())
        points = 100 * (record["accuracy_keras"] - record["accuracy"])
        assert record["loss"] == pytest.approx(points, abs=1e-4)
        assert abs(record["loss"]) <= 5
    file = tmp_path / "strong-int8.tflite"
    chosen = run_file(file, drawn.test.images)["probabilities"].argmax(axis=1)
    assert record["accuracy"] == pytest.approx((chosen == drawn.test.labels).mean())


def test_int8_is_calibrated_on_the_first_training_pictures(
    run, official, drawn, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(export, "CALIBRATION", 7)
    monkeypatch.setattr(
        export,
        "to_litert",
        lambda *given, calibration, **options: seen.append(calibration) or to_litert(*given),
    )
    arguments = [str(run), "--format", "litert-int8", "--no-check"]
    assert main([*arguments, "--data", str(official), "--out", str(tmp_path / "a")]) == 0
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 0
    np.testing.assert_array_equal(seen[0], drawn.train.images[:7])
    assert seen[1] is None


def test_onnx(run, official, tmp_path, capsys):
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    arguments = [str(run), "--format", "onnx", "--data", str(official), "--out", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    assert names(tmp_path) == ["strong.json", "strong.onnx"]
    (record,) = records(capsys)
    assert (record["agreement"], record["loss"]) == (1, 0)
    assert record["difference"] < 1e-4


def test_embedded_network_by_name_with_one_line_a_file(embedded, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--format", "litert-float32", "--out", str(out)]) == 0
    assert names(out) == ["strong-float32.json", "strong-float32.tflite"]
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if "strong-float32.tflite" in line]
    assert "the same class as Keras for 100.00% of 84 pictures" in line


def test_without_check_nothing_is_measured(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "compare", None)
    arguments = [str(run), "--format", "litert-float16", "--no-check", "--out", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    (record,) = records(capsys)
    assert record.keys() == {"network", "format", "output", "bytes"}


def test_existing_file_is_kept_and_the_others_are_written(run, tmp_path, error_line):
    (tmp_path / "strong-float32.tflite").write_bytes(b"kept")
    arguments = [str(run), "--format", "litert-float32", "litert-float16", "--out", str(tmp_path)]
    assert main([*arguments, "--no-check"]) == 1
    assert "strong-float32.tflite exists" in error_line()
    assert (tmp_path / "strong-float32.tflite").read_bytes() == b"kept"
    assert (tmp_path / "strong-float16.tflite").stat().st_size > 1000
    arguments.remove("litert-float16")
    assert main([*arguments, "--no-check", "--overwrite"]) == 0
    assert (tmp_path / "strong-float32.tflite").stat().st_size > 1000


def test_compare_tells_a_worse_file(network, drawn, tmp_path):
    """One with a head turned round, which names first what is least probable."""
    to_litert(network, tmp_path / "good.tflite", "float32")
    images, labels = drawn.test.images, drawn.test.labels
    expected = keras_probabilities(network, images)
    good = compare(tmp_path / "good.tflite", images, expected, labels)
    assert (good.agreement, good.loss) == (1, 0)
    model = type(network.model).from_config(network.model.get_config())
    model.set_weights(network.model.get_weights())
    head = model.get_layer("head")
    head.set_weights([-head.get_weights()[0]])
    to_litert(Network(model, network.card), tmp_path / "bad.tflite", "float32")
    bad = compare(tmp_path / "bad.tflite", images, expected, labels)
    assert bad.agreement < 0.2
    assert bad.difference > 0.2
    assert bad.loss == pytest.approx(100 * (bad.accuracy_keras - bad.accuracy))
    assert bad.loss > 40
    assert compare(tmp_path / "bad.tflite", images, expected).loss is None


@pytest.mark.parametrize("format", ["litert-float32", "litert-int8", "onnx"])
def test_a_file_and_its_json_tell_what_is_none_of_the_ten(run, drawn, tmp_path, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    assert main([str(run), "--format", format, "--no-check", "--out", str(tmp_path)]) == 0
    (text,) = tmp_path.glob("*.json")
    facts = json.loads(text.read_text())
    card = json.loads((run / "card.json").read_text())
    assert facts == {
        "file": f"strong{'.onnx' if format == 'onnx' else '-' + format[7:] + '.tflite'}",
        "labels": list(CLASSES),
        "views": 1,
        "temperature": card["temperature"]["1"],
        "threshold": card["threshold"]["1"],
    }
    images = drawn.test.images
    found = run_file(tmp_path / facts["file"], images)
    expected = classify_prepared(images, Network.load(run), views=1)
    energies = np.array([one.energy for one in expected])
    assert (found["energy"].shape, found["energy"].dtype) == ((100,), np.float32)
    tolerance = 0.1 * np.ptp(energies) if "int8" in format else 1e-3
    np.testing.assert_allclose(found["energy"], energies, atol=tolerance)
    known = np.array([one.known for one in expected])
    assert 80 < known.sum() < 100
    agreed = (found["energy"] >= facts["threshold"]) == known
    assert agreed.mean() >= (0.9 if "int8" in format else 1)


def test_existing_json_of_another_file_is_kept(run, tmp_path, error_line):
    (tmp_path / "strong-float32.json").write_text("kept")
    arguments = [str(run), "--format", "litert-float32", "--no-check", "--out", str(tmp_path)]
    assert main(arguments) == 1
    assert "strong-float32.json exists" in error_line()
    assert names(tmp_path) == ["strong-float32.json"]


def test_pictures_come_in_any_number(network, tmp_path):
    """More than at once through the network, and not a multiple of that."""
    to_litert(network, tmp_path / "x.tflite", "float32")
    images = patches(HELD_OUT)[: export.BATCH + 3]
    result = run_file(tmp_path / "x.tflite", images)["probabilities"]
    np.testing.assert_allclose(result, keras_probabilities(network, images), atol=1e-4)


# === Mistakes ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "caffe"), "caffe"),
        (("--format",), "--format"),
        (("--data", "no-such-folder"), "no-such-folder: no such folder"),
    ],
)
def test_bad_usage_is_one_line_and_2(run, tmp_path, error_line, arguments, message):
    assert main([str(run), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in error_line()
    assert not (tmp_path / "out").exists()


def test_unknown_network(tmp_path, error_line):
    assert main(["no-such-network", "--out", str(tmp_path / "out")]) == 2
    assert "no embedded network 'no-such-network'" in error_line()


def test_folder_without_a_run(tmp_path, error_line):
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no finished run" in error_line()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_is_said_before_any_work(run, tmp_path, error_line, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    arguments = ["--format", "litert-float16", "onnx", "--out", str(tmp_path / "out")]
    assert main([str(run), *arguments]) == 2
    line = error_line()
    if package in line:  # The other package may be missing here too.
        assert f"{package} is missing: pip install 'atelier-vision[export]'" in line
    assert not (tmp_path / "out").exists()


def test_runtime_that_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"onnxruntime is missing.*--no-check"):
        run_file(tmp_path / "x.onnx", np.zeros((1, 32, 32, 3), np.uint8))


def test_the_pictures_that_are_measured_on_are_not_calibrated_on():
    assert not set(HELD_OUT) & set(CALIBRATION)
