"""`python -m superres.export`: networks in, files for other runtimes out, and how good they are."""

import importlib.util
import json
import math
import shutil
import sys

import numpy as np
import pytest

from atelier.errors import SettingsError
from atelier.export.runtimes import open_litert
from superres.config import NetworkConfig
from superres.export import command as export
from superres.export.command import HELD_OUT, compare, main, run_file, to_litert
from superres.export.hls import HlsProject
from superres.export.litert import CALIBRATION
from superres.fixed_point.integer import Codes, IntegerNetwork
from superres.networks import Network

SMALL = NetworkConfig(widths=(3, 4, 3), kernels=("3x3", "1x5", "5x1"), residuals=(2,))


@pytest.fixture(scope="module")
def fixed(fixed_point_network, tmp_path_factory):
    """The run folder of a small network in fixed point."""
    network = fixed_point_network(SMALL, (8, 10))
    folder = tmp_path_factory.mktemp("runs") / "fixed"
    folder.mkdir()
    network.model.save(folder / "model.keras")
    (folder / "card.json").write_text(json.dumps(network.card))
    return folder


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_litert_files_of_a_run_and_their_numbers(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(run), "--out", str(out), "--json"]) == 0
    assert names(out) == ["float-float16.tflite", "float-int8.tflite"]
    float16, int8 = records(capsys)
    assert float16.keys() == int8.keys()
    for record, format in ((float16, "litert-float16"), (int8, "litert-int8")):
        assert (record["network"], record["format"]) == (str(run), format)
        assert record["bytes"] == (out / record["output"]).stat().st_size
        assert not record["exact"]
        assert 25 < record["psnr_keras"] < 40
        assert record["psnr"] == pytest.approx(record["psnr_keras"], abs=0.05)
    assert float16["agreement"] > int8["agreement"] > 45


def test_fixed_point_in_float32_is_exact(fixed, tmp_path, capsys):
    arguments = ["--format", "litert-float32", "--out", str(tmp_path), "--json"]
    assert main([str(fixed), *arguments]) == 0
    (record,) = records(capsys)
    assert record["exact"]
    assert record["agreement"] is None
    assert record["psnr"] == record["psnr_keras"]


def test_onnx_is_exact(fixed, tmp_path, capsys):
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    assert main([str(fixed), "--format", "onnx", "--out", str(tmp_path), "--json"]) == 0
    assert names(tmp_path) == ["fixed.onnx"]
    (record,) = records(capsys)
    assert record["exact"]
    network = Network.load(fixed)
    luma = np.random.default_rng(0).integers(0, 256, (13, 9), np.uint8)
    expected = IntegerNetwork.of(network)(luma).real * 256
    np.testing.assert_array_equal(run_file(tmp_path / "fixed.onnx", luma), expected)


def test_hls_is_checked_by_emulation(fixed, tmp_path, capsys, monkeypatch):
    """What the emulation itself is worth, tests/superres/test_hls.py tells."""
    pytest.importorskip("hls4ml", reason="the extra `hls` is not installed")
    integers = IntegerNetwork.of(Network.load(fixed))
    off = 0

    def emulate(project, frames):
        assert frames.shape == (1, 8, 12)
        codes = integers.core(frames[0])
        return Codes(codes.values[None] + off, codes.fraction)

    monkeypatch.setattr(HlsProject, "emulate", emulate)
    arguments = [str(fixed), "--format", "hls", "--size", "8", "12", "--out", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    (record,) = records(capsys)
    assert record["exact"]
    assert json.loads((tmp_path / "fixed-hls/interface.json").read_text())["size"] == [8, 12]
    off = 1
    assert main([*arguments, "--overwrite"]) == 1
    assert "does not compute what the network does" in capsys.readouterr().err


def test_without_check_nothing_is_measured(fixed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "compare", None)
    arguments = ["--format", "litert-float16", "--no-check", "--out", str(tmp_path), "--json"]
    assert main([str(fixed), *arguments]) == 0
    (record,) = records(capsys)
    assert record.keys() == {"network", "format", "output", "bytes"}


def test_size_is_fixed_where_asked(fixed, tmp_path, capsys):
    arguments = ["--format", "litert-float32", "--size", "24", "32", "--out", str(tmp_path)]
    assert main([str(fixed), *arguments, "--json"]) == 0
    (given,) = open_litert(tmp_path / "fixed-float32.tflite").get_input_details()
    assert given["shape"].tolist() == [1, 24, 32, 1]
    assert records(capsys)[0]["exact"]


def test_existing_file_is_kept_and_the_others_are_written(fixed, tmp_path, error_line):
    (tmp_path / "fixed-float32.tflite").write_bytes(b"kept")
    arguments = ["--format", "litert-float32", "litert-float16", "--out", str(tmp_path)]
    assert main([str(fixed), *arguments]) == 1
    assert "fixed-float32.tflite exists" in error_line()
    assert (tmp_path / "fixed-float32.tflite").read_bytes() == b"kept"
    assert (tmp_path / "fixed-float16.tflite").stat().st_size > 1000
    assert main([str(fixed), *arguments, "--overwrite"]) == 0
    assert (tmp_path / "fixed-float32.tflite").stat().st_size > 1000


def test_compare_tells_a_worse_file(fixed, tmp_path):
    """Three times the weights of one layer: agreement and quality both fall."""
    network = Network.load(fixed)
    to_litert(network, tmp_path / "good.tflite", "float32")
    assert compare(network, tmp_path / "good.tflite").agreement == math.inf
    kernel = network.model.get_layer("pointwise_3").kernel
    kernel.assign(3 * kernel)
    to_litert(network, tmp_path / "bad.tflite", "float32")
    bad = compare(Network.load(fixed), tmp_path / "bad.tflite")
    assert not bad.exact
    assert 20 < bad.agreement < 60
    assert bad.psnr < bad.psnr_keras


# === Mistakes ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "caffe"), "caffe"),
        (("--format",), "--format"),
        (("--size", "4", "100"), "--size must be at least 8 8"),
        (("--clock-period", "0"), "--clock-period must be positive"),
    ],
)
def test_bad_usage_is_one_line_and_2(fixed, tmp_path, error_line, arguments, message):
    assert main([str(fixed), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in error_line()
    assert not (tmp_path / "out").exists()


def test_unknown_network(tmp_path, error_line):
    assert main(["no-such-x2", "--out", str(tmp_path / "out")]) == 2
    assert "no embedded network 'no-such-x2'" in error_line()


def test_folder_without_a_run(tmp_path, error_line):
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no finished run" in error_line()


def test_hls_of_floats_is_refused_before_any_work(run, tmp_path, error_line):
    pytest.importorskip("hls4ml", reason="the extra `hls` is not installed")
    arguments = ["--format", "litert-float16", "hls", "--out", str(tmp_path / "out")]
    assert main([str(run), *arguments]) == 2
    assert "network of floats" in error_line()
    assert not (tmp_path / "out").exists()


def test_other_networks_are_refused(fixed, tmp_path, error_line):
    shutil.copytree(fixed, tmp_path / "srcnn")
    card = json.loads((fixed / "card.json").read_text())
    (tmp_path / "srcnn/card.json").write_text(json.dumps({**card, "network": "srcnn"}))
    assert main([str(tmp_path / "srcnn"), "--out", str(tmp_path / "out")]) == 2
    assert "only our own network can be exported, not srcnn" in error_line()


@pytest.mark.parametrize(
    ("format", "package", "extra"),
    [("onnx", "onnx", "export"), ("onnx", "onnxruntime", "export"), ("hls", "hls4ml", "hls")],
)
def test_missing_package_is_said_before_any_work(
    fixed, tmp_path, error_line, monkeypatch, format, package, extra
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    arguments = ["--format", "litert-float16", format, "--out", str(tmp_path / "out")]
    assert main([str(fixed), *arguments]) == 2
    line = error_line()
    if package in line:  # Another package may be missing here too.
        assert f"{package} is missing: pip install 'atelier-vision[{extra}]'" in line
    assert not (tmp_path / "out").exists()


def test_missing_compiler_is_said_before_any_work(fixed, tmp_path, error_line, monkeypatch):
    pytest.importorskip("hls4ml", reason="the extra `hls` is not installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main([str(fixed), "--format", "hls", "--out", str(tmp_path / "out")]) == 2
    assert "g++ is missing" in error_line()
    assert not (tmp_path / "out").exists()


def test_runtime_that_is_missing_is_one_line(fixed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"onnxruntime is missing.*--no-check"):
        run_file(tmp_path / "x.onnx", np.zeros((8, 8), np.uint8))


def test_tensorflows_own_interpreter_stands_in(fixed, tmp_path, monkeypatch):
    network = Network.load(fixed)
    to_litert(network, tmp_path / "x.tflite", "float32")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert compare(network, tmp_path / "x.tflite").exact


def test_the_picture_that_is_measured_on_is_not_calibrated_on():
    assert HELD_OUT not in CALIBRATION
