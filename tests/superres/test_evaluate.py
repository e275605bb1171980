"""Table 1 and the experiment on JPEG, against numbers made another way."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from atelier.errors import ImageError
from atelier.media.images import save_image
from superres import networks
from superres.evaluate import Score, benchmark_pairs, compare, find_sets, main, markdown, measure
from superres.metrics import psnr, ssim
from superres.networks import Network, apply


@pytest.fixture(autouse=True)
def no_embedded_networks(monkeypatch, tmp_path):
    """So that the tests do not depend on which there are."""
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("superres.evaluate.WEIGHTS", tmp_path / "none")
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path / "none")


def resized(plane, size) -> np.ndarray:
    image = Image.fromarray(np.float32(plane)).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image)


def rounded(values) -> np.ndarray:
    return np.clip(np.floor(np.float64(values) + 0.5), 0, 255)


def luma(picture: np.ndarray) -> np.ndarray:
    return rounded(rgb2ycbcr(np.uint8(picture))[..., 0] if picture.ndim == 3 else picture)


def by_hand(folder, quality: int | None = None) -> tuple[float, float]:
    """PSNR and SSIM of bicubic interpolation on a folder, with Pillow and scikit-image alone."""
    scores = []
    for file in sorted(folder.iterdir()):
        picture = np.asarray(Image.open(file))
        height, width = (side // 2 for side in picture.shape[:2])
        picture = picture[: 2 * height, : 2 * width]
        planes = np.atleast_3d(picture)
        small = [resized(planes[..., c], (height, width)) for c in range(planes.shape[-1])]
        small = rounded(np.stack(small, -1)).reshape(height, width, *picture.shape[2:])
        if quality is not None:
            stream = io.BytesIO()
            Image.fromarray(np.uint8(small)).save(stream, "JPEG", quality=quality)
            small = np.asarray(Image.open(stream))
        result = rounded(resized(luma(small), (2 * height, 2 * width)))[2:-2, 2:-2]
        truth = luma(picture)[2:-2, 2:-2]
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        scores.append(
            (
                peak_signal_noise_ratio(truth, result, data_range=255),
                structural_similarity(truth, result, data_range=255, **options),
            )
        )
    return tuple(np.mean(scores, axis=0))


# === Scores ===


@pytest.mark.parametrize("quality", [None, 90, 40])
def test_bicubic_row_is_that_of_pillow_and_scikit_image(pictures, quality, capsys):
    qualities = [] if quality is None else [str(quality)]
    assert main(["--data", str(pictures), "--json", "--qualities", *qualities]) == 0
    row = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    assert row["input"] == ("clean" if quality is None else f"jpeg {quality}")
    assert row["method"] == "bicubic"
    expected = by_hand(pictures, quality)
    assert row["Set3_psnr"] == pytest.approx(expected[0], abs=0.011)
    assert row["Set3_ssim"] == pytest.approx(expected[1], abs=0.0002)


def test_measure_is_the_mean_over_pictures(rng):
    truths = [rng.integers(0, 256, (20, 24), dtype=np.uint8) for _ in range(2)]
    pairs = [(truth[::2, ::2], truth) for truth in truths]

    def method(lr):
        return lr.repeat(2, 0).repeat(2, 1)

    found = measure(method, pairs)
    each = [(psnr(method(lr), hr, 2), ssim(method(lr), hr, 2)) for lr, hr in pairs]
    assert found == Score(*(pytest.approx(np.mean(values)) for values in zip(*each, strict=True)))
    with pytest.raises(ValueError):
        measure(lambda lr: lr, pairs)


def test_perfect_method_has_no_end_of_psnr(rng):
    truth = rng.integers(0, 256, (24, 24), dtype=np.uint8)
    assert measure(lambda lr: truth, [(truth[::2, ::2], truth)]) == Score(np.inf, 1.0)


def test_border_is_as_wide_as_the_scale(rng):
    truth = rng.integers(0, 256, (36, 36), dtype=np.uint8)
    for scale in (2, 3, 4):
        spoilt = 255 - truth
        spoilt[scale:-scale, scale:-scale] = truth[scale:-scale, scale:-scale]
        lr = truth[::scale, ::scale]
        assert measure(lambda _, spoilt=spoilt: spoilt, [(lr, truth)]).psnr == np.inf


def test_every_method_is_measured_on_every_set(rng):
    truth = rng.integers(0, 256, (20, 20), dtype=np.uint8)
    sets = {"A": [(truth[::2, ::2], truth)], "B": [(truth[1::2, ::2], truth)]}
    found = compare({"x": lambda lr: truth, "y": lambda lr: truth // 2}, sets)
    assert {name: set(by_set) for name, by_set in found.items()} == {
        "x": {"A", "B"},
        "y": {"A", "B"},
    }
    assert found["x"]["A"] == Score(np.inf, 1.0)
    assert found["y"]["A"].psnr < 20


def test_jpeg_costs_quality(pictures):
    sizes = []
    for quality in (None, 90, 30):
        pairs = benchmark_pairs(pictures, 2, quality)
        sizes.append(measure(lambda lr: apply_bicubic(lr), pairs).psnr)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] + 0.3


def apply_bicubic(lr):
    return resized(lr, tuple(2 * side for side in lr.shape))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_benchmark_pairs_are_multiples_of_the_scale(pictures, scale):
    for lr, hr in benchmark_pairs(pictures, scale):
        assert hr.shape == tuple(scale * side for side in lr.shape)


# === Test sets ===


@pytest.fixture
def two_sets(pictures, tmp_path):
    """A folder of Set3, Other (one picture), and a folder without pictures."""
    folder = tmp_path / "sets"
    shutil.copytree(pictures, folder / "Set3")
    (folder / "Other").mkdir()
    shutil.copy(pictures / "a.png", folder / "Other" / "a.png")
    (folder / "notes").mkdir()
    (folder / "notes" / "README.txt").write_text("no picture")
    return folder


def test_sets_are_the_folders_that_hold_pictures(two_sets):
    assert find_sets(two_sets) == {"Other": two_sets / "Other", "Set3": two_sets / "Set3"}
    assert find_sets(two_sets / "Set3") == {"Set3": two_sets / "Set3"}
    assert find_sets(two_sets, ["Set3"]) == {"Set3": two_sets / "Set3"}


def test_no_pictures_are_no_set(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ImageError, match="no pictures in"):
            find_sets(folder)


# === The command ===


def test_tables_are_printed_and_written(two_sets, run, tmp_path, capsys):
    out = tmp_path / "table.csv"
    arguments = ["--data", two_sets, "--runs", run, "--qualities", 80, "--out", out]
    assert main([str(word) for word in arguments]) == 0
    captured = capsys.readouterr()
    assert "clean: 1 of Other, 3 of Set3" in captured.err
    lines = captured.out.splitlines()
    names = ["input", "method", "parameters", "weight_bits", "activation_bits"]
    names += [f"{name}_{metric}" for name in ("Other", "Set3") for metric in ("psnr", "ssim")]
    assert lines[0] == f"| {' | '.join(names)} |"
    assert lines[1] == f"|{' --- |' * len(names)}"
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["input"], row["method"]) for row in rows] == [
        *(("clean", "bicubic"), ("clean", "float"), ("jpeg 80", "bicubic"), ("jpeg 80", "float"))
    ]
    for line, row in zip([lines[2], lines[3], lines[7], lines[8]], rows, strict=True):
        assert line == f"| {' | '.join(row.values())} |"
    network = Network.load(run)
    assert rows[1]["parameters"] == str(network.card["parameters"])
    assert (rows[1]["weight_bits"], rows[1]["activation_bits"]) == ("32", "32")
    assert (rows[0]["parameters"], rows[0]["weight_bits"]) == ("", "")
    expected = measure(lambda lr: apply(network.model, lr), benchmark_pairs(two_sets / "Set3", 2))
    assert float(rows[1]["Set3_psnr"]) == pytest.approx(expected.psnr, abs=0.006)
    assert float(rows[1]["Set3_ssim"]) == pytest.approx(expected.ssim, abs=6e-5)
    for row in rows[2:]:
        assert float(row["Set3_psnr"]) < float(rows[0]["Set3_psnr"])


def test_json_is_an_object_a_row_and_nothing_else(pictures, run, capsys):
    assert main(["--data", str(pictures), "--json", "--runs", str(run)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == [
        title for title in ("clean", "jpeg 70", "jpeg 80", "jpeg 90") for _ in range(2)
    ]
    assert [row["method"] for row in rows] == ["bicubic", "float"] * 4
    assert all(isinstance(row["Set3_psnr"], float) for row in rows)


def test_named_sets_alone_are_measured(two_sets, capsys):
    arguments = ["--data", str(two_sets), "--sets", "Other", "--qualities", "--json"]
    assert main(arguments) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert {name for name in json.loads(line) if name.endswith("psnr")} == {"Other_psnr"}


def test_scale_3_is_measured_by_bicubic_alone(pictures, capsys):
    assert main(["--data", str(pictures), "--scale", "3", "--qualities", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["method"] == "bicubic"


def test_embedded_networks_are_compared(pictures, run, tmp_path, monkeypatch, capsys):
    from atelier.nets.weights import save_embedded

    network = Network.load(run)
    save_embedded(network.model, "clean-x2", network.card, tmp_path / "none")
    assert main(["--data", str(pictures), "--qualities", "--json"]) == 0
    methods = [json.loads(line)["method"] for line in capsys.readouterr().out.splitlines()]
    assert methods == ["bicubic", "clean-x2"]


def test_markdown_by_hand():
    rows = [{"a": 1, "b": ""}, {"a": 2.5, "b": "x"}]
    assert markdown(rows).splitlines() == ["| a | b |", "| --- | --- |", "| 1 |  |", "| 2.5 | x |"]


def test_existing_table_is_not_overwritten(pictures, tmp_path, error_line):
    out = tmp_path / "table.csv"
    out.write_text("mine")
    arguments = ["--data", str(pictures), "--qualities", "--out", str(out)]
    assert main(arguments) == 2
    assert "--overwrite" in error_line()
    assert out.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert out.read_text().startswith("input,method,")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a folder of test sets: --data DIR"),
        (("--data", "{place}/nowhere"), "no pictures in"),
        (("--data", "{place}/none"), "no pictures in"),
        (("--data", "{place}/tiny"), "none of the 1 pictures"),
        (("--data", "{data}", "--sets", "Set5"), "no pictures in"),
        (("--data", "{data}", "--scale", "5"), "--scale is 2, 3 or 4, not 5"),
        (("--data", "{data}", "--qualities", "0"), "--qualities go from 1 to 100"),
        (("--data", "{data}", "--runs", "{place}/none"), "holds no finished run"),
        (("--data", "{data}", "--runs", "{run}", "--scale", "3"), "is for scale 2, not 3"),
        (("--data", "{data}", "--runs", "{run}", "{run}"), "two networks are called float"),
    ],
)
def test_mistake_is_one_line(pictures, run, tmp_path, error_line, arguments, words):
    save_image(tmp_path / "tiny" / "x.png", np.zeros((10, 10, 3), np.uint8))
    places = {"place": tmp_path, "data": pictures, "run": run}
    assert main([word.format(**places) for word in arguments]) == 2
    assert words in error_line()


def test_unreadable_picture_is_named_and_the_others_measured(pictures, tmp_path, capsys):
    folder = shutil.copytree(pictures, tmp_path / "Set4")
    (folder / "broken.png").write_bytes(b"no picture")
    save_image(folder / "tiny.png", np.zeros((5, 5, 3), np.uint8))
    assert main(["--data", str(folder), "--qualities", "80", "--json"]) == 1
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert "broken.png" in errors[0]
    assert "tiny.png" in errors[1]
    assert len(said.out.splitlines()) == 2
