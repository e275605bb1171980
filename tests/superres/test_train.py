"""Training: the report's settings, a run from pictures to a network, and going on after a kill."""

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from atelier import cli
from atelier.errors import SettingsError, WeightsError
from atelier.media.images import find_pictures, save_image
from superres import evaluate
from superres import train as module
from superres.network.model import build_network, collapse
from superres.networks import Network, apply
from superres.train import BEST, PRESETS, REPORT, TrainArguments, TrainConfig, main, train
from superres.training import data, degradation


def rows(folder):
    with open(folder / "history.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def assert_same_weights(one: keras.Model, other: keras.Model, tolerance: float = 1e-5) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


class Stopped(Exception):
    pass


def stop_after_an_epoch(monkeypatch):
    class StoppedRun(module.KeepRun):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise Stopped

    monkeypatch.setattr(module, "KeepRun", StoppedRun)


# === Settings ===


def test_report_is_what_the_report_says():
    config = PRESETS["report"]
    assert config == REPORT == TrainConfig()
    assert (config.scale, config.network_config.parameters) == (2, 2560)
    assert (config.crop, config.batch, config.loss) == (128, 2, "l1")
    assert (config.learning_rate, config.schedule) == (1e-4, "step")
    assert (config.degradation, config.network) == ("bicubic", "ours")
    assert not any((config.branched, config.ema, config.margin, config.weight_bits))
    assert data.SHRINKS[0] == 1  # Augmented by scaling…
    assert len(data.SHRINKS) > 1


def test_reports_learning_rate_falls_to_a_tenth_every_50_epochs():
    config = dataclasses.replace(REPORT, steps=10, epochs=170)
    rate = module._learning_rate(config)
    found = [float(rate(step)) for step in (0, 499, 500, 999, 1000, 1499, 1500, 1699)]
    expected = [1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6, 1e-7, 1e-7]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("epochs", [1, 50])
def test_short_trainings_keep_the_reports_learning_rate(epochs):
    rate = module._learning_rate(dataclasses.replace(REPORT, steps=10, epochs=epochs))
    assert float(rate(0)) == float(rate(10 * epochs - 1)) == pytest.approx(1e-4)


def test_cosine_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=1000, epochs=10, schedule="cosine", learning_rate=0.01)
    rate = module._learning_rate(config)
    found = [float(rate(step)) for step in (0, 100, 200, 5100, 10_000)]
    np.testing.assert_allclose(found, [0, 0.005, 0.01, 0.005, 0], atol=1e-7)
    short = module._learning_rate(dataclasses.replace(config, steps=3, epochs=1))
    assert [float(short(step)) for step in (0, 3)] == pytest.approx([0.01, 0])


def test_bits_of_the_quantized_preset_are_the_reports():
    config = PRESETS["best-quantized"]
    assert (config.weight_bits, config.activation_bits) == (10, 14)
    assert config.network_config == BEST.network_config
    assert config.network_config.parameters == 2560


@pytest.mark.parametrize("preset", PRESETS)
def test_command_takes_every_preset_and_single_flags(preset):
    arguments = cli.parse(
        TrainArguments, ["--preset", preset, "--batch", "5", "--data", "a", "b"], presets=PRESETS
    )
    expected = dataclasses.replace(PRESETS[preset], batch=5, data=(Path("a"), Path("b")))
    assert cli.settings(TrainConfig, arguments) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *[({name: 0}, f"--{name}") for name in ("batch", "steps", "epochs")],
        ({"crop": 33}, "--crop must be a multiple of the scale"),
        ({"crop": 6}, "--crop must be a multiple of the scale and leave 4 LR pixels"),
        ({"crop": 24, "margin": 5}, "inside the margin"),
        ({"margin": -1}, "--margin"),
        *[({"learning_rate": v}, "--learning-rate") for v in (0.0, -1.0, np.nan, np.inf)],
        *[({"ema": v}, "--ema") for v in (1.0, -0.1, np.nan)],
        *[({"seed": v}, "--seed") for v in (-1, 2**31)],
        ({"weight_bits": 10}, "both --weight-bits and --activation-bits"),
        ({"activation_bits": 10}, "both --weight-bits and --activation-bits"),
        ({"weight_bits": 1, "activation_bits": 14}, "from 2 to 16 bits, not 1"),
        ({"weight_bits": 10, "activation_bits": 17}, "from 2 to 16 bits, not 17"),
        ({"weight_bits": 8, "activation_bits": 8, "network": "srcnn"}, "not srcnn"),
        ({"validation": (Path("Set5/HR"), Path("Set14/HR"))}, "names of their own"),
        ({"widths": (32,)}, "--kernels"),
    ],
)
def test_senseless_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError) as caught:
        TrainConfig(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("border", "l1", "l2"),
    [
        # Of 16 pixels, the 12 at the border are off by 9, the 4 inside by 2.
        (0, (12 * 9 + 4 * 2) / 16, (12 * 81 + 4 * 4) / 16),
        (1, 2, 4),
    ],
)
def test_loss_is_taken_inside_the_border(border, l1, l2):
    truth = np.zeros((2, 4, 4, 1), np.float32)
    result = np.full((2, 4, 4, 1), -9, np.float32)
    result[:, 1:3, 1:3] = 2
    result[1] /= 2
    np.testing.assert_allclose(module._Inside("l1", border).call(truth, result), [l1, l1 / 2])
    np.testing.assert_allclose(module._Inside("l2", border).call(truth, result), [l2, l2 / 4])


# === A run ===


def test_run_folder_is_complete(run, tiny, pictures):
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "history.csv", "checkpoint", "model.keras", "card.json")
    }
    assert json.loads((run / "config.json").read_text())["steps"] == 4
    history = rows(run)
    assert [row["epoch"] for row in history] == ["1", "2"]
    for row in history:
        assert row.keys() == {"epoch", "loss", "psnr_Set3", "seconds"}
        assert all(np.isfinite(float(value)) for value in row.values())
    card = json.loads((run / "card.json").read_text())
    assert card["network"] == "ours"
    assert card["parameters"] == tiny.network_config.parameters
    assert card["shape"] == json.loads(json.dumps(dataclasses.asdict(tiny.network_config)))
    assert (card["degradation"], card["epochs"]) == ("bicubic", 2)
    assert card["data"] == {"Set3": 3}
    assert "--epochs 2" in card["command"]
    assert "formats" not in card
    assert str(pictures.parent) not in json.dumps(card), "whose disk it was is nobody's business"


def test_psnr_of_the_card_is_that_of_the_network(run, pictures):
    network = Network.load(run)
    pairs = evaluate.benchmark_pairs(pictures, 2)
    score = evaluate.measure(evaluate.methods({"it": network}, 2)["it"], pairs)
    assert network.card["psnr"] == {"Set3": pytest.approx(score.psnr, abs=1e-3)}
    assert float(rows(run)[-1]["psnr_Set3"]) == pytest.approx(score.psnr, abs=1e-3)


def test_finished_run_is_left_as_it_is(run, tiny):
    before = {name: (run / name).read_bytes() for name in ("history.csv", "card.json")}
    network = train(dataclasses.replace(tiny, out=run))
    assert_same_weights(network.model, Network.load(run).model, 0)
    assert {name: (run / name).read_bytes() for name in before} == before


def test_weights_are_those_of_adam_on_the_crops(tiny, tmp_path, pictures):
    """Step by step, with the margin and the running average of weights, which is validated too."""
    config = dataclasses.replace(
        tiny, out=tmp_path, branched=True, steps=5, ema=0.9, margin=2, crop=24, learning_rate=0.03
    )
    found = train(config)
    keras.utils.set_random_seed(config.seed)
    model = build_network(config.network_config, branched=True)
    model.compile(
        keras.optimizers.Adam(0.03),
        lambda y, x: keras.ops.mean(keras.ops.abs(x - y)[:, 4:-4, 4:-4]),
    )
    pool = data.pairs(find_pictures(config.data), scale=2, degradation=degradation.bicubic_model(2))
    average = None
    for x, y in data.crops(pool, size=12, batch=2, steps=range(10), seed=config.seed):
        model.train_on_batch(x, y)
        weights = model.get_weights()
        average = average or weights
        average = [0.9 * a + 0.1 * w for a, w in zip(average, weights, strict=True)]
    pairs = evaluate.benchmark_pairs(pictures, 2)
    raw = evaluate.measure(lambda lr: apply(model, lr), pairs)
    model.set_weights(average)
    averaged = evaluate.measure(lambda lr: apply(model, lr), pairs)
    assert_same_weights(found.model, collapse(model, config.network_config))
    assert found.card["psnr"]["Set3"] == pytest.approx(averaged.psnr, abs=2e-3)
    assert abs(raw.psnr - averaged.psnr) > 0.01


def test_training_lowers_the_loss_and_beats_bicubic(tiny, tmp_path, pictures):
    config = dataclasses.replace(
        *(tiny,), out=tmp_path, branched=True, epochs=3, steps=40, batch=8, schedule="cosine"
    )
    config = dataclasses.replace(config, learning_rate=1e-2, ema=0.9, margin=2, crop=24)
    network = train(config)
    losses = [float(row["loss"]) for row in rows(tmp_path)]
    assert losses[-1] < losses[0]
    pairs = evaluate.benchmark_pairs(pictures, 2)
    bicubic = evaluate.measure(evaluate.methods({}, 2)["bicubic"], pairs)
    assert network.card["psnr"]["Set3"] > bicubic.psnr + 0.1
    assert network.model.count_params() == config.network_config.parameters


def test_proposed_degradation_is_drawn_anew_for_each_variant(tiny, tmp_path, monkeypatch):
    pools = []
    crops = data.crops

    def watched(pairs, **options):
        pools.append(pairs)
        return crops(pairs, **options)

    monkeypatch.setattr(data, "crops", watched)
    config = dataclasses.replace(tiny, epochs=1, steps=1, validation=())
    train(dataclasses.replace(config, out=tmp_path / "eq1"))
    card = train(dataclasses.replace(config, out=tmp_path / "eq2", degradation="proposed")).card
    assert card["degradation"] == "proposed"
    assert card["psnr"] == {}
    clean, degraded = pools
    assert len(clean) == 3 * len(data.SHRINKS)
    assert len(degraded) == module.POOL_VARIANTS * len(clean)
    variants = [lr for lr, _ in degraded[: module.POOL_VARIANTS]]
    assert all((variants[0] != other).any() for other in variants[1:])
    assert all((clean[0][0] != lr).any() for lr in variants)


def test_baseline_is_trained_by_the_same_command(tiny, tmp_path):
    config = dataclasses.replace(tiny, out=tmp_path, network="fsrcnn-s", epochs=1, steps=1)
    network = train(config)
    assert network.card["network"] == "fsrcnn-s"
    assert network.card["parameters"] == network.model.count_params() == 3937 + 74
    assert_same_weights(Network.load(tmp_path).model, network.model, 0)


# === Fixed point ===


@pytest.fixture
def fixed(tiny, run, tmp_path) -> TrainConfig:
    """Fine-tunes the finished run in fixed point."""
    return dataclasses.replace(
        tiny, start=run, weight_bits=10, activation_bits=14, learning_rate=1e-5, out=tmp_path / "q"
    )


def test_fixed_point_goes_on_from_floats(fixed, run, luma):
    floats, network = Network.load(run), train(fixed)
    assert network.bits == (10, 14)
    assert network.card["started_from"] == floats.card
    loaded = Network.load(fixed.out)
    assert loaded.formats == network.formats
    np.testing.assert_array_equal(loaded.model(luma), network.model(luma))
    np.testing.assert_allclose(network.model(luma), floats.model(luma), atol=2 / 256)
    for name, form in network.formats.items():
        if name.endswith("/kernel"):
            kernel = network.model.get_layer(name.removesuffix("/kernel")).kernel
            codes = np.asarray(kernel) * 2.0**form.fraction
            assert (codes == np.rint(codes)).all()
            assert form.lowest <= codes.min() <= codes.max() <= form.highest
    psnr = {name: card["psnr"]["Set3"] for name, card in (("f", floats.card), ("q", network.card))}
    assert psnr["q"] == pytest.approx(psnr["f"], abs=0.1)


def test_few_bits_cost_quality(fixed, run):
    config = dataclasses.replace(fixed, weight_bits=3, activation_bits=4, epochs=1, steps=1)
    assert train(config).card["psnr"]["Set3"] < Network.load(run).card["psnr"]["Set3"] - 1


@pytest.mark.parametrize("branched", [False, True])
def test_start_is_the_network_that_was_trained(branched, tiny, tmp_path, luma):
    """A learning rate of next to nothing leaves it as it was."""
    config = dataclasses.replace(tiny, branched=branched, epochs=1, validation=())
    start = train(dataclasses.replace(config, out=tmp_path / "start"))
    config = dataclasses.replace(config, start=tmp_path / "start", learning_rate=1e-12)
    found = train(dataclasses.replace(config, out=tmp_path / "found"))
    np.testing.assert_allclose(found.model(luma), start.model(luma), atol=1e-5)


def test_fixed_point_without_a_start_claims_no_folder(fixed):
    with pytest.raises(SettingsError, match="pass --start RUN"):
        train(dataclasses.replace(fixed, start=None))
    assert not fixed.out.exists()


@pytest.mark.parametrize(
    "shape",
    [
        {"widths": (8, 5)},
        {"kernels": ("3x3", "3x3")},
        {"scale": 4},
        {"interpolation": "nearest"},
        {"widths": (6, 5, 6), "kernels": ("3x3",) * 3, "residuals": (2,)},
        {"network": "srcnn", "weight_bits": 0, "activation_bits": 0},
    ],
)
def test_start_of_another_shape_is_one_line(fixed, shape):
    with pytest.raises(WeightsError, match="another shape than the settings"):
        train(dataclasses.replace(fixed, **shape))


# === Going on ===


@pytest.mark.parametrize("kind", ["branched", "in fixed point"])
def test_stopped_run_goes_on_to_the_same_weights(kind, tiny, fixed, monkeypatch):
    settings = {"branched": True, "ema": 0.9, "schedule": "cosine", "degradation": "proposed"}
    config = dataclasses.replace(tiny, **settings) if kind == "branched" else fixed
    whole = train(dataclasses.replace(config, out=fixed.out / "whole"))
    config = dataclasses.replace(config, out=fixed.out / "broken")
    with monkeypatch.context() as patch:
        stop_after_an_epoch(patch)
        with pytest.raises(Stopped):
            train(config)
    assert len(rows(config.out)) == 1
    assert not (config.out / "model.keras").exists()
    resumed = train(config)
    assert [row["epoch"] for row in rows(config.out)] == ["1", "2"]
    assert_same_weights(whole.model, resumed.model)
    assert resumed.formats == whole.formats
    # And once more, with nothing left to do.
    assert_same_weights(train(config).model, resumed.model, 0)


# === The command ===


def flags(config: TrainConfig, *more) -> list[str]:
    paths = ("--data", config.data[0], "--out", config.out)
    small = ("--crop", 16, "--steps", 1, "--epochs", 1, "--widths", 6, "--kernels", "3x3")
    return [str(word) for word in (*paths, *small, "--residuals", *more)]


@pytest.fixture
def fresh(tiny, tmp_path) -> TrainConfig:
    return dataclasses.replace(tiny, out=tmp_path / "run")


def test_command_trains_and_says_where(fresh, capsys):
    assert main(flags(fresh)) == 0
    assert f"trained: {fresh.out / 'model.keras'}" in capsys.readouterr().err
    assert Network.load(fresh.out).config.widths == (6,)


def test_other_settings_in_the_same_folder_are_one_line(run, fresh, error_line):
    assert main(flags(dataclasses.replace(fresh, out=run))) == 2
    assert "another --out" in error_line()


def test_start_is_checked_before_a_folder_is_claimed(fresh, tmp_path, error_line):
    (tmp_path / "empty").mkdir()
    assert main(flags(fresh, "--start", tmp_path / "empty")) == 2
    assert "holds no finished run" in error_line()
    assert not fresh.out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--data", "{empty}"), "no pictures in"),
        (("--data", "{empty}/nowhere"), "no pictures in"),
        (("--data", "{broken}"), "none of the 1 pictures can be read"),
        (("--validation", "{empty}"), "no pictures in"),
        (("--crop", 512), "smaller than crops of 256 LR pixels"),
        (("--crop", 15), "--crop"),
        (("--weight-bits", 10), "--activation-bits"),
        (("--weight-bits", 10, "--activation-bits", 14), "--start RUN"),
        (("--preset", "fast"), "no preset 'fast'"),
        (("--network", "edsr"), "edsr"),
        (("--seed", -1), "--seed"),
    ],
)
def test_mistake_is_one_line(fresh, tmp_path, error_line, more, words):
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"broken")
    places = {name: tmp_path / name for name in ("empty", "broken")}
    assert main(flags(fresh, *(str(word).format(**places) for word in more))) == 2
    assert words in error_line()


def test_data_is_asked_for(error_line):
    assert main([]) == 2
    assert "--data" in error_line()


def test_output_that_cannot_be_written_is_one_line(fresh, tmp_path, error_line):
    fresh.out.write_text("a file")
    assert main(flags(fresh)) == 2
    assert "cannot write" in error_line()


def test_broken_pictures_do_not_end_a_run(fresh, tmp_path, photo):
    save_image(tmp_path / "data" / "a.png", photo)
    (tmp_path / "data" / "b.png").write_bytes(b"broken")
    config = dataclasses.replace(fresh, data=(tmp_path / "data",))
    assert main(flags(config)) == 0
