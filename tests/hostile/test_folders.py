"""Run and sweep folders whose files say anything: one clear line, and nothing is overwritten."""

import contextlib
import dataclasses
import json
import os

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.errors import OutputError, WeightsError
from atelier.manifest import entries
from atelier.runs import RunFolder
from atelier.sweep import TrialResult, run_sweep
from classify.config import NetworkConfig as ClassifierConfig
from classify.networks import Network as Classifier
from classify.networks import build as build_classifier
from detection.predict import own_threshold
from fuzz.readers import Settings, cards, draw
from superres.config import NetworkConfig
from superres.model import build_network
from superres.networks import Network as Enlarger

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 10**20),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["\x1b[2J", "a\nb", "x" * 5000, "__import__('os')"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)

NESTS = ["[" * depth + "]" * depth for depth in (900, 100_000)]
RAW = [*NESTS, "", "{", "NaN", "9" * 5000, '{"a": 1, "a": 2}', "\ufeff{}", '"\\ud800"', "\0"]


def replaced(value: dict, path: tuple, new: object) -> object:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def places(value: object, path: tuple = ()) -> list[tuple]:
    inner = []
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [place for key, part in pairs for place in places(part, (*path, key))]
    return [path, *inner]


# === Settings of runs ===


@given(value=JSON)
def test_any_config(tmp_path_factory, survives, value):
    folder = tmp_path_factory.mktemp("run")
    text = json.dumps(value)
    (folder / "config.json").write_text(text)
    survives(RunFolder, folder, Settings())
    assert (folder / "config.json").read_text() == text


@pytest.mark.parametrize("text", RAW)
@pytest.mark.parametrize("name", ["config.json", "history.csv"])
def test_any_text(tmp_path, survives, name, text):
    (tmp_path / name).write_text(text, errors="surrogatepass")
    survives(lambda: RunFolder(tmp_path, Settings()).history())


@pytest.mark.parametrize("name", ["config.json", "history.csv"])
def test_pipes_and_endless_files(tmp_path, refusal, name):
    def read():
        RunFolder(tmp_path, Settings()).history()

    os.mkfifo(tmp_path / name)
    assert refusal(read)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert refusal(read)


@given(
    rows=st.lists(st.lists(st.one_of(st.text(max_size=6), st.integers().map(str)), max_size=4)),
    key=st.sampled_from(["epoch,loss", "epoch", "loss", '"epoch', "epoch,epoch"]),
)
def test_any_history(tmp_path_factory, survives, rows, key):
    folder = tmp_path_factory.mktemp("run")
    text = "\n".join([key, *(",".join(row) for row in rows)])
    (folder / "history.csv").write_text(text, errors="replace")
    survives(lambda: RunFolder(folder, Settings()).history())


# === Cards ===


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Finished runs of a classifier and of a network that enlarges; their cards, and a load."""
    keras.utils.set_random_seed(0)
    shape, enlarging = ClassifierConfig("strong", (4, 8), 1), NetworkConfig(2, (4,), ("3x3",), ())
    runs = {}
    for name, model, config, load, use in (
        (
            "classify",
            build_classifier(shape),
            {"network": "strong", "shape": dataclasses.asdict(shape), "temperature": 1.5}
            | {"threshold": -3.0, "views": 2},
            Classifier.load,
            lambda found: found.logits(np.zeros((1, 32, 32, 3), np.uint8)),
        ),
        (
            "superres",
            build_network(enlarging),
            {"network": "ours", "shape": dataclasses.asdict(enlarging), "formats": None},
            Enlarger.load,
            lambda found: (found.scale, found.formats, found.config, found.bits),
        ),
    ):
        folder = tmp_path_factory.mktemp(name)
        card = json.loads(json.dumps(config))
        RunFolder(folder, Settings()).finish(model, card)
        runs[name] = folder, card, load, use
    return runs


@pytest.mark.parametrize("task", ["classify", "superres"])
def test_a_card_as_it_should_be_is_read(finished, task):
    folder, card, load, use = finished[task]
    (folder / "card.json").write_text(json.dumps(card))
    use(load(folder))


@settings(max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("task", ["classify", "superres"])
def test_any_value_anywhere_in_a_card(finished, survives, task, data):
    folder, card, load, use = finished[task]
    place = data.draw(st.sampled_from(places(card)))
    (folder / "card.json").write_text(json.dumps(replaced(card, place, data.draw(JSON))))
    found = survives(load, folder)
    if found is not None:
        use(found)


def test_a_card_of_another_network_is_one_line(finished, refusal):
    folder, card, load, _ = finished["superres"]
    other = replaced(card, ("shape", "scale"), 3)
    (folder / "card.json").write_text(json.dumps(other))
    assert "is not what its card says" in refusal(load, folder)
    classifier, own, load, _ = finished["classify"]
    (classifier / "card.json").write_text(json.dumps(own))
    whole = (classifier / "model.keras").read_bytes()
    (classifier / "model.keras").write_bytes((folder / "model.keras").read_bytes())
    assert "is not what its card says" in refusal(load, classifier)
    (classifier / "model.keras").write_bytes(whole)


@pytest.mark.parametrize("text", RAW)
def test_any_text_for_a_card(finished, survives, text):
    for folder, _, load, _ in finished.values():
        (folder / "card.json").write_text(text, errors="surrogatepass")
        with pytest.raises(WeightsError):
            load(folder)


@given(value=JSON)
def test_a_threshold_comes_from_any_card_or_none(value):
    for card in (value, {"validation": value}, {"validation": {"classes": value}}):
        try:
            threshold = own_threshold(card)
        except Exception:  # Which `load_run` says to be damage.
            continue
        assert 0 <= threshold <= 1


def test_the_cards_that_searches_start_from_are_such():
    assert own_threshold(json.loads(cards()[4])) == 0.5


# === Sweeps and manifests ===


def sweep(folder):
    picture = TrialResult(draw(), {"loss": 1.0})
    return run_sweep(Settings(), [{"rate": 0.5}], lambda *_: picture, folder)


TABLES = [
    "trial,rate,loss,error\n0,0.5,0.25,\n",
    "trial\n0\n",
    "trial,rate,loss\n99,0.5,1\n",
    "trial,rate,loss\n-1,0.5,1\n",
    "trial,rate,loss\n 0,0.5,1\n",
    "trial,rate,loss\n0,0.5,abc\n",
    "trial,rate,loss\n0\n",
    "trial,rate,loss\n0,0.5,1,2,3,4\n",
    "trial,trial\n0,1\n",
    f"trial,rate\n0,{'x' * 200_000}\n",
    f"trial\n{'9' * 5000}\n",
]


@pytest.mark.parametrize("text", [*TABLES, *RAW])
def test_any_table_of_trials(tmp_path, survives, text):
    survives(sweep, tmp_path)
    (tmp_path / "trials.csv").write_text(text, errors="surrogatepass")
    rows = survives(sweep, tmp_path)
    assert rows is None or [row["trial"] for row in rows] == ["0"]


@pytest.mark.parametrize("text", RAW)
def test_any_plan(tmp_path, refusal, text):
    (tmp_path / "sweep.json").write_text(text, errors="surrogatepass")
    assert "another sweep" in refusal(sweep, tmp_path)


@given(lines=st.lists(st.one_of(JSON.map(json.dumps), st.sampled_from(RAW), st.text()), max_size=4))
def test_any_manifest(tmp_path_factory, lines):
    file = tmp_path_factory.getbasetemp() / "manifest.jsonl"
    file.write_text("\n".join(lines), errors="surrogatepass")
    assert all(isinstance(entry, dict) for _, entry in entries(file))
    with contextlib.suppress(OutputError):  # That it is damaged.
        assert all("input" in entry for _, entry in entries(file, strict=True))
