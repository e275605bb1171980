"""The HLS project: emulated, it puts out the integers; its FIFOs are deep enough, and no deeper."""

import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from atelier.errors import OutputError, SettingsError
from superres.config import NetworkConfig
from superres.export import hls
from superres.export.hls import to_hls
from superres.fixed_point.integer import IntegerNetwork
from superres.networks import Network

pytest.importorskip("hls4ml", reason="the extra `hls` is not installed")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")

REPORT = NetworkConfig(kernels=("3x3", "1x5", "5x1", "3x3"))
SMALL = NetworkConfig(
    widths=(3, 4, 3),
    kernels=("3x3", "1x5", "5x1"),
    residuals=(2,),
    scale=3,
    interpolation="nearest",
)
SIZE = (8, 10)


@pytest.fixture(scope="module")
def luma():
    """Noise with a black and a white corner, uint8 (8, 10)."""
    luma = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    luma[:2, :3], luma[-3:, -3:] = 0, 255
    return luma


@pytest.fixture(scope="module")
def report(fixed_point_network, tmp_path_factory):
    """The report's topology and its project."""
    network = fixed_point_network(REPORT)
    return network, to_hls(network, tmp_path_factory.mktemp("hls") / "report", size=SIZE)


def core(network: Network) -> keras.Model:
    """The Keras network up to its last pointwise convolution."""
    last = f"pointwise_{len(network.config.widths)}_quantize"
    return keras.Model(network.model.input, network.model.get_layer(last).output)


@needs_compiler
def test_report_network_is_emulated_to_the_bit(report, luma):
    network, project = report
    result = project.emulate(luma[None])
    expected = IntegerNetwork.of(network).core(luma)
    assert np.ptp(expected.values) > 500
    assert result.fraction == expected.fraction
    np.testing.assert_array_equal(result.values[0], expected.values)
    output = core(network)(luma[None, ..., None] / np.float32(256)).numpy()
    np.testing.assert_array_equal(result.real, output)


@pytest.mark.soak
@needs_compiler
def test_stem_as_residual_and_wide_numbers(fixed_point_network, tmp_path, luma):
    """The other residual, another scale, 16 bits; and frames one after another."""
    network = fixed_point_network(SMALL, (16, 16))
    project = to_hls(network, tmp_path / "small", size=SIZE)
    frames = np.stack([luma, luma[::-1], luma])
    result = project.emulate(frames)
    integers = IntegerNetwork.of(network)
    for frame, values in zip(frames, result.values, strict=True):
        np.testing.assert_array_equal(values, integers.core(frame).values)


# === FIFOs ===

BOUNDED = """
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
namespace hls {
template <class T> class stream {
    std::deque<T> items;
    std::mutex mutex;
    std::condition_variable changed;
    template <class F> void wait(std::unique_lock<std::mutex> &lock, F ready) {
        if (!changed.wait_for(lock, std::chrono::seconds(6), ready)) std::_Exit(77);
    }

  public:
    size_t depth = SIZE_MAX;
    stream(const std::string = "") {}
    bool empty() { return items.empty(); }
    size_t size() { return items.size(); }
    T read() {
        std::unique_lock<std::mutex> lock(mutex);
        wait(lock, [&] { return !items.empty(); });
        T item = items.front();
        items.pop_front();
        changed.notify_all();
        return item;
    }
    void write(const T &item) {
        std::unique_lock<std::mutex> lock(mutex);
        wait(lock, [&] { return items.size() < depth; });
        items.push_back(item);
        changed.notify_all();
    }
};
}
"""
"""FIFOs that block when they are full, as in hardware; a deadlock ends the program with 77."""


def build_with_threads(project, folder):
    """The C++ with a thread for each process and FIFOs of the depths that the project states.

    The program takes pixels from the depth of each FIFO that is deeper than 1: its one argument.
    """
    shutil.copytree(project.folder, folder)
    (folder / "firmware/ap_types/hls_stream.h").write_text(BOUNDED)
    top = folder / "firmware/superres.cpp"
    text = top.read_text()
    text, fifos = re.subn(
        r"#pragma HLS STREAM variable=(\w+) depth=(\d+)",
        r'\1.depth = \2 - (\2 > 1 ? std::atoi(std::getenv("LESS")) : 0);',
        text,
    )
    process = re.compile(r"^    (nnet::\w+<.*;) //.*$", flags=re.MULTILINE)
    text, processes = process.subn(r"    threads.emplace_back([&] { \1 });", text)
    assert fifos == processes  # The clone puts out two, the last one none.
    start, end = text.index("    threads."), text.rindex("}")
    body = f"std::vector<std::thread> threads;\n{text[start:end]}"
    top.write_text(f"{text[:start]}{body}for (auto &thread : threads) thread.join();\n}}\n")
    subprocess.run(
        ["g++", "-O0", "-w", "-pthread", "-Ifirmware/ap_types", "superres_test.cpp"]
        + [f'-DWEIGHTS_DIR="{folder}/firmware/weights"', "firmware/superres.cpp", "-o", "test"],
        cwd=folder,
        check=True,
    )

    def run(less: int) -> int:
        done = subprocess.run(
            ["./test"], cwd=folder, env={"LESS": str(less)}, stdout=subprocess.DEVNULL, check=False
        )
        return done.returncode

    return run


@pytest.mark.soak
@needs_compiler
def test_fifos_hold_what_they_must_and_no_less_would_do(report, tmp_path, monkeypatch):
    """Without the slack for pipelines, as the emulated processes hold no more than a pixel."""
    monkeypatch.setattr(hls, "FIFO", 1)
    monkeypatch.setattr(hls, "SLACK", 0)
    network, _ = report
    project = to_hls(network, tmp_path / "tight", size=SIZE)
    run = build_with_threads(project, tmp_path / "threads")
    assert run(less=0) == 0
    log = (tmp_path / "threads/tb_data/csim_results.log").read_text()
    expected = IntegerNetwork.of(network).core(project.picture()).real
    np.testing.assert_allclose(np.array(log.split(), float), expected.ravel(), rtol=1e-4)
    assert run(less=1) == 77


def test_no_fifo_holds_a_whole_picture(report):
    _, project = report
    text = (project.folder / "firmware/superres.cpp").read_text()
    depths = [int(depth) for depth in re.findall(r"#pragma HLS STREAM .* depth=(\d+)", text)]
    # Past a 1x5 and a 5x1 convolution: two rows of 10 pixels, and two pixels.
    assert sorted(depths) == [hls.FIFO] * (len(depths) - 1) + [22 + hls.SLACK]


# === The project ===


def test_interface_and_test_data(report):
    network, project = report
    formats = network.formats
    interface = json.loads((project.folder / "interface.json").read_text())
    assert interface["size"] == [8, 10]
    assert interface["input"] == {"bits": 9, "fraction": 8}
    assert interface["output"] == vars(formats["pointwise_4"])
    assert interface["interpolation_format"] == vars(formats["interpolation"])
    lines = [
        (project.folder / f"tb_data/tb_{name}.dat").read_text().splitlines()
        for name in ("input_features", "output_predictions")
    ]
    given, expected = (np.array(line.split(), float) for (line,) in lines)
    luma = np.uint8(given * 256).reshape(SIZE)
    np.testing.assert_array_equal(luma, project.picture())
    output = IntegerNetwork.of(network).core(luma).real
    np.testing.assert_array_equal(expected.reshape(output.shape), output)


def test_project_names_no_place_on_this_machine(report):
    _, project = report
    for file in project.folder.rglob("*"):
        if file.is_file():
            assert str(project.folder.parent).encode() not in file.read_bytes(), file


def test_existing_folder_is_kept_unless_told_otherwise(fixed_point_network, tmp_path):
    network = fixed_point_network(SMALL)
    target = tmp_path / "small"
    target.mkdir()
    (target / "notes.txt").write_text("kept")
    with pytest.raises(OutputError, match="--overwrite"):
        to_hls(network, target, size=SIZE)
    assert [file.name for file in target.iterdir()] == ["notes.txt"]
    to_hls(network, target, size=SIZE, overwrite=True)
    assert not (target / "notes.txt").exists()
    assert (target / "firmware/superres.cpp").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["small"]


def test_nothing_is_left_of_a_project_that_failed(fixed_point_network, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hls, "_set_depths", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        to_hls(fixed_point_network(SMALL), tmp_path / "small", size=SIZE)
    assert not list(tmp_path.iterdir())


def test_file_in_the_way(fixed_point_network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        to_hls(fixed_point_network(SMALL), tmp_path / "file", size=SIZE, overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        to_hls(fixed_point_network(SMALL), tmp_path / "file" / "small", size=SIZE)


def test_network_of_floats_is_refused(fixed_point_network, tmp_path):
    network = fixed_point_network(SMALL)
    floats = Network(network.model, {**network.card, "formats": None})
    with pytest.raises(SettingsError, match="network of floats"):
        to_hls(floats, tmp_path / "small", size=SIZE)
    assert not list(tmp_path.iterdir())


def test_missing_package_is_one_line(fixed_point_network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hls4ml", None)
    with pytest.raises(SettingsError, match=r"hls4ml is missing: pip install .*\[hls\]"):
        to_hls(fixed_point_network(SMALL), tmp_path / "small", size=SIZE)
    assert not list(tmp_path.iterdir())


def test_missing_compiler_is_one_line(report, luma, monkeypatch):
    _, project = report
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="g\\+\\+ is missing"):
        project.emulate(luma[None])


def test_emulation_takes_pictures_of_its_size(report, luma):
    _, project = report
    with pytest.raises(ValueError, match="uint8"):
        project.emulate(luma[None, 1:])
    with pytest.raises(ValueError, match="uint8"):
        project.emulate(luma[None] / 256)
