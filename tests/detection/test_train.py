"""Training: a run from annotated pictures to a detector, its schemes, and going on after a kill."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import detection.train as module
from atelier import cli
from atelier.errors import DataError, SettingsError
from atelier.media.images import load_image, save_image
from atelier.nets.features import vgg19_lite
from detection.annotations import read_dataset
from detection.detections import Detections
from detection.measures.metrics import evaluate
from detection.network.faster_rcnn import LOSSES, PARTS, FasterRCNN
from detection.predict import Detector
from detection.train import TrainConfig, main, read_data, train, trainee
from detection.training import data
from detection.training.schemes import STAGES, WarmCosine


def rows(folder) -> list[dict]:
    with open(folder / "history.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def flags(config: TrainConfig) -> list[str]:
    """The command line of `config`, with its folders whole."""
    plain = dataclasses.replace(config, data=TrainConfig.data, out=TrainConfig.out)
    words = ["--data", *config.data, "--out", config.out, *cli.as_flags(plain).split()]
    return [str(word) for word in words]


def weights(model: FasterRCNN) -> dict[str, np.ndarray]:
    """All weights of each part, (N,)."""
    return {
        part: np.concatenate([w.ravel() for w in getattr(model, part).get_weights()])
        for part in PARTS
    }


def assert_same_weights(one: FasterRCNN, other: FasterRCNN) -> None:
    """To the bit."""
    for part, values in weights(one).items():
        np.testing.assert_array_equal(weights(other)[part], values)


def numbers(folder) -> list[dict]:
    """What the history says of each epoch, but for the seconds."""
    return [{name: row[name] for name in row if name != "seconds"} for row in rows(folder)]


# === Settings ===


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "--epochs must be at least 1"),
        ({"batch": 0}, "--batch must be at least 1"),
        ({"side": 0}, "--side must be at least 64"),
        ({"side": 100}, "--side is a multiple of 64"),
        ({"min_size": 32}, "--min-size is from 64 to 2048 pixels"),
        ({"validate_every": 0}, "--validate-every must be at least 1"),
        *[({"learning_rate": bad}, "--learning-rate must not") for bad in (-1.0, np.nan, np.inf)],
        ({"weight_decay": -1.0}, "--weight-decay must not be negative"),
        *[({"jitter": bad}, "--jitter is from 1 to 4") for bad in (0.9, 4.1, np.nan)],
        *[({"whole": bad}, "--whole is from 0 to 1") for bad in (-0.1, 1.1, np.nan)],
        *[({"ema": bad}, "--ema is from 0 to below 1") for bad in (-0.1, 1.0, np.nan)],
        ({"scheme": "alternating", "epochs": 6}, "--scheme alternating takes 4 equal steps"),
        ({"scheme": "non-approximate", "backbone": "vgg16"}, "needs gradients through RoIAlign"),
        *[({"seed": bad}, "--seed must be from 0") for bad in (-1, 2**31)],
    ],
)
def test_senseless_setting_is_refused_in_one_line(settings, words):
    with pytest.raises(SettingsError) as error:
        TrainConfig(**settings)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        # Of 40 steps, two rise; the cosine is at its half in the middle of the other 38.
        (1, {0: 0.5, 1: 1.0, 2: 1.0, 21: 0.5, 39: 0.00171}),
        # Of each ten, one rises.
        (4, {0: 1.0, 1: 1.0, 9: 0.03015, 10: 1.0, 19: 0.03015, 30: 1.0, 39: 0.03015}),
    ],
)
def test_the_rate_rises_and_falls_as_often_as_there_are_stages(stages, expected):
    schedule = WarmCosine(2.0, 40, stages)
    for step, share in expected.items():
        assert float(schedule(step)) == pytest.approx(2 * share, abs=1e-4)
    assert WarmCosine.from_config(schedule.get_config()).get_config() == schedule.get_config()


# === What is trained on ===


def test_each_sixth_is_held_back_or_the_one_there_is(shapes, tmp_path, tiny):
    seen, held_back = read_data(tiny)
    assert [item.name for item in held_back.items] == ["5.png"]
    assert [item.name for item in seen.items] == [f"{n}.png" for n in (0, 1, 2, 3, 4, 6)]
    few = shutil.copytree(shapes, tmp_path / "few")
    for number in range(2, 7):
        (few / "Annotations" / f"{number}.xml").unlink()
    seen, held_back = read_data(dataclasses.replace(tiny, data=(str(few),)))
    assert [item.name for item in seen.items] == ["0.png", "1.png"]
    assert [item.name for item in held_back.items] == ["0.png"], "trained on as well"


def test_a_split_for_validation_leaves_the_rest_whole(shapes, tmp_path, tiny):
    folder = shutil.copytree(shapes, tmp_path / "split")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join("0123456"[:6]))
    (lists / "val.txt").write_text("6")
    config = dataclasses.replace(tiny, data=(str(folder),), split="train", validation="val")
    seen, held_back = read_data(config)
    assert (len(seen), [item.name for item in held_back.items]) == (6, ["6.png"])


def test_backgrounds_are_pictures_without_objects(tiny, tmp_path):
    for number in range(3):
        save_image(tmp_path / "walls" / f"{number}.png", np.zeros((50, 60, 3), np.uint8))
    seen, held_back = read_data(dataclasses.replace(tiny, backgrounds=(tmp_path / "walls",)))
    assert seen.name == held_back.name == "shapes + walls"
    assert (len(seen), len(held_back)) == (9, 1)
    assert sum(len(item.boxes) == 0 for item in seen.items) == 3


def test_what_is_measured_on_is_not_trained_on_under_another_name(shapes, tmp_path, tiny):
    folder = shutil.copytree(shapes, tmp_path / "again")
    for kind, suffix in (("JPEGImages", "png"), ("Annotations", "xml")):
        shutil.copy(folder / kind / f"5.{suffix}", folder / kind / f"9.{suffix}")
    page = folder / "Annotations" / "9.xml"
    page.write_text(page.read_text().replace("5.png", "9.png"))
    seen, held_back = read_data(dataclasses.replace(tiny, data=(str(folder),)))
    assert [item.name for item in held_back.items] == ["5.png"]
    assert [item.name for item in seen.items] == [f"{n}.png" for n in (0, 1, 2, 3, 4, 6)]
    (fault,) = seen.faults
    assert "1 pictures such as 9.png, which are measured on, are not trained on" in str(fault)


def test_without_a_split_to_train_on_what_is_measured_on_is_left_out(shapes, tmp_path, tiny):
    folder = shutil.copytree(shapes, tmp_path / "split")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2\n6")
    config = dataclasses.replace(tiny, data=(str(folder),), validation="val")
    seen, held_back = read_data(config)
    assert [item.name for item in held_back.items] == ["2.png", "6.png"]
    assert [item.name for item in seen.items] == [f"{n}.png" for n in (0, 1, 3, 4, 5)]
    with pytest.raises(DataError, match="none is left to train on"):
        read_data(dataclasses.replace(config, split="val"))


# === What is pasted ===


@pytest.fixture
def people(tmp_path) -> Path:
    """Eight photos with masks, each object of a brightness of its own, the last in both places."""
    for number in range(8):
        image, mask = np.zeros((80, 80, 3), np.uint8), np.zeros((80, 80), np.uint8)
        image[20:70, 30:60], mask[20:70, 30:60] = 100 + 10 * number, 255
        save_image(tmp_path / "people" / "images" / f"{number}.png", image)
        save_image(tmp_path / "people" / "masks" / f"{number}.png", mask)
    return tmp_path / "people"


def test_what_is_held_back_is_never_pasted(quick, people, tmp_path, tiny, monkeypatch):
    """A cut-out has the brightness of its photo, by which it is told."""
    pasted, real = set(), data.paste

    def spy(image, boxes, labels, cut_out, *rest):
        pasted.add(int(np.median(cut_out.image)))
        return real(image, boxes, labels, cut_out, *rest)

    monkeypatch.setattr(data, "paste", spy)
    config = dataclasses.replace(
        tiny, data=(str(people),), classes=("object",), paste=people, epochs=8,
        out=tmp_path / "run",
    )  # fmt: skip
    _, held_back = read_data(config)
    assert [item.name for item in held_back.items] == ["5.png"]
    card = train(config).card
    assert card["cut_outs"] == 7
    assert pasted <= {100 + 10 * number for number in (0, 1, 2, 3, 4, 6, 7)}
    assert len(pasted) > 4


@pytest.mark.parametrize("way", ["by name", "by content"])
def test_photos_of_the_validation_set_are_not_to_be_pasted(people, shapes, tmp_path, tiny, way):
    folder = shutil.copytree(shapes, tmp_path / "split")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("6")
    for file in sorted(people.glob("*/*.png")):
        file.rename(file.with_stem(f"p{file.stem}"))
    config = dataclasses.replace(tiny, data=(str(folder),), validation="val", paste=people)
    _, held_back = read_data(config)
    assert len(module.read_pasted(config, held_back)) == 8
    if way == "by name":
        for kind in ("images", "masks"):
            (people / kind / "p3.png").rename(people / kind / "6.png")
    else:
        shutil.copy(folder / "JPEGImages" / "6.png", people / "images" / "p3.png")
    name = "6.png" if way == "by name" else "p3.png"
    with pytest.raises(SettingsError, match=f"holds 1 of the pictures of --validation.*{name}"):
        train(dataclasses.replace(config, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# === A run ===


def test_run_folder_is_complete(run, tiny):
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "history.csv", "checkpoint", "samples", "model.keras", "card.json")
    }
    assert [file.name for file in (run / "samples").iterdir()] == ["epoch-0002.png"]
    assert load_image(run / "samples" / "epoch-0002.png").shape[1] == 640 + 2 * 12
    first, last = rows(run)
    assert (first["epoch"], last["epoch"]) == ("1", "2")
    fields = {"epoch", "loss", *LOSSES, "val_loss", "val_ap", "val_ap50", "seconds"}
    assert first.keys() == last.keys() == fields
    assert {name for name, value in first.items() if value == "nan"} == {
        *("val_loss", "val_ap", "val_ap50")
    }
    assert all(np.isfinite(float(value)) for value in last.values())
    total = sum(float(first[name]) for name in LOSSES)
    assert float(first["loss"]) == pytest.approx(total, rel=1e-5)


def test_card_says_what_was_done(run, tiny, detector):
    card = json.loads((run / "card.json").read_text())
    assert card == detector.card
    assert (card["architecture"], card["scheme"]) == ("lite", "approximate")
    assert (card["epochs"], card["seed"]) == (2, 0)
    assert card["classes"] == ["disc", "square"]
    assert card["parameters"] == detector.model.count_params()
    assert card["data"] == "shapes: 6 pictures, 12 objects"
    assert card["held_back"] == "shapes: 1 pictures, 2 objects"
    assert str(run.parent) not in json.dumps(card), "whose disk it was is nobody's business"
    program = "python -m detection.train "
    assert card["command"].startswith(program)
    again = cli.parse(TrainConfig, card["command"].removeprefix(program).split())
    assert again == dataclasses.replace(tiny, data=("shapes",), out=Path(run.name))


def test_card_is_honest(run, tiny, detector):
    """What it says is what can be measured again, of the network as it was stored."""
    _, held_back = read_data(tiny)
    scores = evaluate(held_back, list(detector.detect_all(held_back))).as_dict()
    assert detector.card["validation"] == json.loads(json.dumps(scores))
    assert float(rows(run)[-1]["val_ap50"]) == pytest.approx(scores["ap50"], abs=1e-6)


def test_a_finished_run_is_left_as_it_is(run, tiny, detector, monkeypatch):
    monkeypatch.setattr(module, "trainee", None)
    again = train(dataclasses.replace(tiny, out=run))
    assert_same_weights(again.model, detector.model)
    assert again.card == detector.card


@pytest.mark.usefixtures("small")
def test_a_second_run_is_the_first_to_the_bit(run, tiny, detector, tmp_path):
    """With momentum, the mean of weights, a falling rate and all augmentation."""
    again = train(dataclasses.replace(tiny, out=tmp_path / "again"))
    assert_same_weights(again.model, detector.model)
    assert numbers(tmp_path / "again") == numbers(run)


# === Schemes, without graphs, which take longer than these few steps ===


class Watch(keras.callbacks.Callback):
    """Takes the place of `Validation`: keeps weights, and copies of the run folder."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder, self.starts, self.ends, self.graphs = folder, [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.graphs.append(self.model.train_function)
        self.starts.append(weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        for name in LOSSES:
            logs.setdefault(name, np.nan)
        self.ends.append({**weights(self.model), "stage": self.model.stage})
        if epoch:  # What a kill in this epoch would have left.
            shutil.copytree(self.folder, f"{self.folder}-{epoch}")


@pytest.fixture
def quick(small, monkeypatch):
    """Trains step by step, and measures nothing; gives the latest training's `Watch`."""
    compiled, watches = FasterRCNN.compile, []

    def watch(dataset, folder, every, epochs):
        watches.append(Watch(folder))
        return watches[-1]

    def nothing(self, dataset):
        return [Detections(np.zeros((0, 4)), np.zeros(0), ()) for _ in dataset.items]

    monkeypatch.setattr(
        FasterRCNN, "compile", lambda self, *a, **k: compiled(self, *a, **k, run_eagerly=True)
    )
    monkeypatch.setattr(module, "Validation", watch)
    monkeypatch.setattr(Detector, "detect_all", nothing)
    return watches


@pytest.fixture
def four_steps(tiny, shapes, tmp_path) -> TrainConfig:
    """A step in each of the four stages, each at the highest rate."""
    few = shutil.copytree(shapes, tmp_path / "few")
    for number in range(2, 7):
        (few / "Annotations" / f"{number}.xml").unlink()
    return dataclasses.replace(
        tiny, data=(str(few),), scheme="alternating", epochs=4, learning_rate=1e-3, ema=0.5,
        out=tmp_path / "whole",
    )  # fmt: skip


def test_alternating_goes_through_its_four_steps_and_on_after_a_stop(quick, four_steps, tmp_path):
    whole = train(four_steps)
    (watch,) = quick
    one, two, three, _ = watch.ends
    assert tuple(end["stage"] for end in watch.ends) == STAGES
    assert len(set(map(id, watch.graphs))) == 4, "each stage has a graph of its own"

    start = watch.starts[0]
    changed = [
        {part for part in PARTS if (before[part] != after[part]).any()}
        for before, after in zip((start, one, two, three), watch.ends, strict=True)
    ]
    # Step three trains the level of the backbone that only the region proposal network reads.
    assert changed == [
        {"backbone", "rpn"}, {"backbone", "box_head"}, {"backbone", "rpn"}, {"box_head"},
    ]  # fmt: skip
    assert (watch.starts[1]["backbone"] != one["backbone"]).any(), "which starts anew at step two"
    # The mean of weights knows nothing of the step before.
    np.testing.assert_allclose(weights(whole.model)["backbone"], three["backbone"], rtol=1e-6)
    taught = {row["epoch"]: {n for n in LOSSES if row[n] != "nan"} for row in rows(four_steps.out)}
    assert taught == {
        "1": {"objectness", "rpn_box"}, "2": {"class", "box"},
        "3": {"objectness", "rpn_box"}, "4": {"class", "box"},
    }  # fmt: skip

    # Killed after the first, and after the second stage.
    for epoch in (1, 2):
        out = tmp_path / f"whole-{epoch}"
        settings = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps({**settings, "out": str(out)}))
        resumed = train(dataclasses.replace(four_steps, out=out))
        assert len(quick[-1].ends) == 4 - epoch
        assert_same_weights(resumed.model, whole.model)
        assert_same_weights(quick[-1].model.proposer, watch.model.proposer)
    assert whole.card["scheme"] == "alternating"


def test_alternating_changes_every_variable(quick, four_steps):
    trained = train(four_steps).model
    fresh = module._fresh(four_steps, trained.classes)
    pairs = zip(trained.trainable_variables, fresh.trainable_variables, strict=True)
    assert [v.path for v, start in pairs if np.array_equal(v, start)] == []


def test_each_level_is_trained_by_whoever_reads_it(small, tiny):
    model = trainee(dataclasses.replace(tiny, scheme="alternating", epochs=4), ("a", "b"), 4)
    assert {layer.name for layer in model.unpooled_layers} == {"relu5", "p6", "p7"}
    own = {v.path for v in model.backbone.get_layer("p6").trainable_variables}
    assert len(own) == 2
    trained = {}
    for stage in STAGES:
        model.set_stage(stage)
        trained[stage] = {variable.path for variable in model.stage_variables()}
    backbone, rpn, head = (
        {v.path for v in getattr(model, part).trainable_variables} for part in PARTS
    )
    assert trained == {
        "rpn": backbone | rpn,
        "head": backbone - own | head,
        "rpn-only": own | rpn,
        "head-only": head,
    }


def test_the_levels_that_only_proposals_read_never_start_anew(small, tiny, run):
    """Not even where all starts from a trained detector."""
    config = dataclasses.replace(tiny, start=str(run), scheme="alternating", epochs=4)
    model = trainee(config, ("disc", "square"), 4)
    starts = {layer.name: layer.get_weights() for layer in model.backbone.layers if layer.weights}
    for variable in model.trainable_variables:
        variable.assign_add(np.ones(variable.shape, np.float32))
    changed = {layer.name: layer.get_weights() for layer in model.backbone.layers if layer.weights}
    alternation = module.Alternation(
        lambda: module.pretrained_layers(config, ("disc", "square")), 4
    )
    alternation.set_model(model)
    alternation.on_train_begin()
    alternation.on_epoch_begin(1)
    for name in starts:
        expected = (changed if name == "p6" else starts)[name]
        for one, other in zip(model.backbone.get_layer(name).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_each_step_starts_with_an_optimizer_of_its_own(quick, four_steps):
    seen, _ = read_data(four_steps)
    model = trainee(four_steps, seen.classes, 4)
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(np.ones(variable.shape, variable.dtype))
    alternation = module.Alternation(dict, 4)
    alternation.set_model(model)
    alternation.on_train_begin()
    alternation.on_epoch_begin(2)
    assert int(model.optimizer.iterations) == 0
    mean = {f"{v.path.replace('/', '_')}_average": v for v in model.trainable_variables}
    for variable in model.optimizer.variables:
        name = variable.path.partition("/")[2]
        np.testing.assert_array_equal(variable, mean.get(name, np.zeros(variable.shape)), name)


def test_batch_normalisation_and_biases_do_not_decay(tiny, monkeypatch):
    class Normalised(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()
            self.conv.build((None, 2, 2, 3))
            self.norm.build((None, 2, 2, 2))

    monkeypatch.setattr(module, "_fresh", lambda config, classes: Normalised())
    model = trainee(tiny, ("a",), 5)
    decays = {v.name: model.optimizer._use_weight_decay(v) for v in model.trainable_variables}
    assert decays == {"kernel": True, "bias": False, "gamma": False, "beta": False}


def test_step_two_starts_from_the_pretrained_backbone(quick, four_steps):
    """And the proposals are those of step one."""
    seen, _ = read_data(four_steps)
    model = trainee(four_steps, seen.classes, 4)
    pretrained = weights(model)["backbone"]
    for variable in model.trainable_variables:
        variable.assign_add(0.1 * np.ones(variable.shape, np.float32))
    trained = weights(model)
    fresh = module._pretrained(four_steps, seen.classes)
    one, other = (net.get_layer("block3_conv2") for net in (fresh.backbone, vgg19_lite()))
    np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])
    alternation = module.Alternation(lambda: module.pretrained_layers(four_steps, seen.classes), 4)
    alternation.set_model(model)
    alternation.on_train_begin()
    alternation.on_epoch_begin(1)
    assert model.stage == "head"
    kept = set()
    for layer, start, learnt in zip(
        *(net.backbone.layers for net in (model, fresh, model.proposer)), strict=True
    ):
        expected = start
        if layer.weights and not layer.name.startswith("block"):
            expected = learnt
            kept.add(layer.name)
        for one, other in zip(layer.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert kept == {"inner3", "inner4", "p3", "p4", "p5", "p6"}, "the pyramid is not pretrained"
    assert not np.array_equal(trained["backbone"], pretrained)
    for part in ("backbone", "rpn"):
        np.testing.assert_array_equal(weights(model.proposer)[part], trained[part])
    assert not any(v is w for v in model.trainable_variables for w in model.proposer.variables)


def test_a_training_starts_from_a_trained_detector(small, tiny, run, detector):
    """Its box head is of use for the same classes alone."""
    learnt, fresh = weights(detector.model), weights(trainee(tiny, ("a", "b"), 5))
    config = dataclasses.replace(tiny, start=str(run))
    same = weights(trainee(config, detector.classes, 5))
    other = weights(trainee(config, ("a", "b"), 5))
    for part in PARTS:
        np.testing.assert_array_equal(same[part], learnt[part])
        np.testing.assert_array_equal(other[part], (fresh if part == "box_head" else learnt)[part])


def test_what_to_start_from_has_the_same_backbone(small, tiny, run):
    config = dataclasses.replace(tiny, start=str(run), backbone="resnet50_fpn")
    with pytest.raises(SettingsError, match="has another backbone, lite"):
        trainee(config, ("a", "b"), 5)


def test_seed_decides_the_start(small, tiny):
    same, again, other = (
        weights(trainee(dataclasses.replace(tiny, seed=seed), ("a", "b"), 5)) for seed in (1, 1, 2)
    )
    for part in PARTS:
        np.testing.assert_array_equal(same[part], again[part])
        assert (same[part] != other[part]).any()


# === The command ===


@pytest.fixture
def faulty(shapes, tmp_path):
    """Seven pictures, the annotations of five of which are at fault, each in another way."""
    folder = shutil.copytree(shapes, tmp_path / "faulty")

    def change(number, old, new):
        file = folder / "Annotations" / f"{number}.xml"
        head, found, tail = file.read_text().rpartition(old)
        assert found
        file.write_text(head + new + tail)

    boxes = [read_dataset(shapes).items[n].boxes[1].astype(int) for n in range(2)]
    change(0, f"<xmax>{boxes[0][2]}</xmax>", f"<xmax>{boxes[0][0]}</xmax>")
    change(1, f"<xmax>{boxes[1][2]}</xmax>", "<xmax>131</xmax>")
    change(2, "<name>disc</name>", "")
    (folder / "JPEGImages" / "3.png").unlink()
    change(4, "</annotation>", "")
    return folder


def test_faults_are_named_and_the_rest_is_trained_on(quick, faulty, tmp_path, capsys):
    """By the non-approximate scheme, with cut-outs in some squares."""
    masks = tmp_path / "masks"
    drawn = np.zeros((40, 40), np.uint8)
    drawn[10:30, 10:30] = 255
    save_image(masks / "images" / "a.png", np.full((40, 40, 3), 90, np.uint8))
    save_image(masks / "masks" / "a.png", drawn)
    out = tmp_path / "run"
    words = ("--epochs", 1, "--batch", 3, "--side", 128, "--scheme", "non-approximate", "--ema", 0)
    paths = ("--data", faulty, "--paste", masks, "--out", out)
    assert main([str(word) for word in (*words, *paths)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    left_out = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    reasons = [
        "0.xml: object 2 (disc): the box",
        "2.xml: object 2: no <name>",
        "3.xml: the picture '3.png' is missing",
        "4.xml: malformed XML",
    ]
    assert len(left_out) == 4
    for line, reason in zip(left_out, reasons, strict=True):
        assert line.startswith(f"left out: {reason}")
    assert "has no area" in left_out[0]
    assert "1 box reached beyond the picture by up to 3 px: clipped (1.xml: object 2" in said.err
    assert f"trained: {out / 'model.keras'}, AP 0.000, AP50 0.000" in said.err
    card = json.loads((out / "card.json").read_text())
    assert card["data"] == "faulty: 3 pictures, 6 objects"
    assert card["held_back"] == "faulty: 1 pictures, 2 objects, trained on as well"
    assert card["scheme"] == "non-approximate"
    assert all(np.isfinite(float(rows(out)[0][name])) for name in ("loss", *LOSSES))


def test_strict_stops_at_the_first_fault(faulty, tmp_path, error_line):
    assert main(["--data", str(faulty), "--strict", "--out", str(tmp_path / "run")]) == 2
    assert "faulty: 0.xml: object 2 (disc): the box" in error_line()
    assert not (tmp_path / "run").exists()


def test_without_objects_to_measure_on_no_ap_is_said(tiny, detector, monkeypatch, capsys, tmp_path):
    unknown = {**detector.card, "validation": {"ap": None, "ap50": None}}
    monkeypatch.setattr(module, "train", lambda *a, **k: Detector(detector.model, unknown))
    assert main(flags(dataclasses.replace(tiny, out=tmp_path))) == 0
    said = capsys.readouterr().err
    assert said.splitlines()[1:] == [f"trained: {tmp_path / 'model.keras'}"]
    assert said.startswith("note: shapes: corners count pixels from 0")


def test_commands_mistakes_are_one_line(run, tiny, small, tmp_path, error_line):
    new = dataclasses.replace(tiny, out=tmp_path / "new")
    for words, reason in (
        (["--data", str(tmp_path / "none")], "none: no such folder"),
        (["--data"], "--data names no data set"),
        ([*flags(new), "--classes", "disc", "cat"], "no class 'cat'; there are disc, square"),
        ([*flags(new), "--backgrounds", str(tmp_path / "none")], "none: no such folder"),
        ([*flags(new), "--paste", str(tmp_path / "none")], "must hold the folders images/"),
        ([*flags(new), "--scheme", "both"], "both"),
        (flags(dataclasses.replace(tiny, out=run, batch=3)), "with other settings (batch)"),
    ):
        assert main(words) == 2
        assert reason in error_line()
