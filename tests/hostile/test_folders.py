"""Run and sweep folders whose files say anything: read as they are, or one clear line."""

import contextlib
import dataclasses
import json
import os

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atelier.cli.records import read_record
from atelier.errors import AtelierError, OutputError, WeightsError
from atelier.files import reading
from atelier.sweeps import sweep as sweeps
from atelier.sweeps.sweep import TrialResult, run_sweep
from atelier.training import runs
from atelier.training.runs import RunFolder, load_run
from classify.config import NetworkConfig as ClassifierConfig
from classify.networks import Network as Classifier
from classify.networks import build as build_classifier
from detection.predict import own_threshold
from superres.config import NetworkConfig
from superres.network.model import build_network
from superres.networks import Network as Enlarger

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 10**20),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["\x1b[2J", "a\nb", "x" * 99, [[["x"]]]]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a run."""

    rate: float = 0.5
    widths: tuple[int, ...] = (1, 2)


OWN = {"rate": 0.5, "widths": [1, 2]}


def replaced(value: dict, path: tuple, new: object) -> object:
    """A copy of a JSON value with another one at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def places(value: object, path: tuple = ()) -> list[tuple]:
    """All places in a JSON value."""
    inner = []
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [place for key, part in pairs for place in places(part, (*path, key))]
    return [path, *inner]


# === Settings and history of runs ===


@given(place=st.sampled_from(places(OWN)), new=JSON)
def test_a_run_accepts_its_own_settings_alone_and_keeps_what_was_there(
    tmp_path_factory, refusal, place, new
):
    folder = tmp_path_factory.mktemp("run")
    value = replaced(OWN, place, new)
    text = json.dumps(value)
    (folder / "config.json").write_text(text)
    if value == OWN:
        assert RunFolder(folder, Settings()).history() == []
    else:
        refusal(RunFolder, folder, Settings())
    assert (folder / "config.json").read_text() == text


@pytest.mark.parametrize("name", ["config.json", "history.csv"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(tmp_path, refusal, name):
    os.mkfifo(tmp_path / name)
    assert name in refusal(lambda: RunFolder(tmp_path, Settings()).history())


@pytest.mark.parametrize(
    ("module", "name", "read"),
    [
        (runs, "JSON_BYTES", lambda folder: RunFolder(folder / "run", Settings())),
        (runs, "JSON_BYTES", lambda folder: load_run(folder / "run")),
        (reading, "TABLE_BYTES", lambda folder: RunFolder(folder / "run", Settings()).history()),
        (sweeps, "JSON_BYTES", lambda folder: sweep(folder / "sweep")),
    ],
    ids=["settings", "card", "history", "plan"],
)
def test_bytes_of_files_in_run_and_sweep_folders_are_bounded(
    tmp_path, refusal, monkeypatch, module, name, read
):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    RunFolder(tmp_path / "run", Settings()).finish(model, {"network": "small"})
    (tmp_path / "run" / "history.csv").write_text("epoch,loss\n1,0.5\n")
    sweep(tmp_path / "sweep")
    read(tmp_path)
    monkeypatch.setattr(module, name, 10)
    refusal(read, tmp_path)


@given(epochs=st.lists(st.one_of(st.integers().map(str), st.text(max_size=6)), max_size=4))
def test_a_history_is_of_numbered_epochs_or_damaged(tmp_path_factory, refusal, epochs):
    folder = tmp_path_factory.mktemp("run")
    rows = [f'"{epoch}",0.5' for epoch in epochs if '"' not in epoch and epoch.isprintable()]
    (folder / "history.csv").write_text("\n".join(["epoch,loss", *rows]), encoding="utf-8")
    try:
        expected = [int(row[1:-5]) for row in rows]
    except ValueError:
        assert "is damaged" in refusal(RunFolder(folder, Settings()).history)
    else:
        assert [int(row["epoch"]) for row in RunFolder(folder, Settings()).history()] == expected


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
    assert use(load(folder)) is not None


@settings(max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("task", ["classify", "superres"])
def test_a_network_with_any_card_is_refused_in_one_line_or_can_be_used(
    finished, refusal, task, data
):
    folder, card, load, use = finished[task]
    place = data.draw(st.sampled_from(places(card)))
    (folder / "card.json").write_text(json.dumps(replaced(card, place, data.draw(JSON))))
    try:
        found = load(folder)
    except AtelierError:
        assert "card" in refusal(load, folder) or "is damaged" in refusal(load, folder)
    else:
        assert use(found) is not None


def test_a_card_of_another_network_is_one_line(finished, refusal):
    folder, card, load, _ = finished["superres"]
    (folder / "card.json").write_text(json.dumps(replaced(card, ("shape", "scale"), 3)))
    assert "is not what its card says" in refusal(load, folder)


@given(score=st.floats(0, 1), value=JSON)
def test_a_threshold_lies_between_0_and_1(score, value):
    card = {"validation": {"classes": [{"label": "person", "best_score": score}]}}
    assert own_threshold(card) == round(score, 2)
    for place in places(card):
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            assert 0 <= own_threshold(replaced(card, place, value)) <= 1


# === JSON ===


def sweep(folder) -> list[dict]:
    picture = TrialResult(np.zeros((8, 10, 3), np.uint8), {"loss": 1.0})
    return run_sweep(Settings(), [{"rate": 0.5}], lambda *_: picture, folder)


def test_json_on_which_python_gives_up_is_one_line(finished, tmp_path, refusal, monkeypatch):
    sweep(tmp_path / "sweep")
    RunFolder(tmp_path / "run", Settings())
    (tmp_path / "record.json").write_text('{"version": 1}')
    loads = json.loads

    def give_up(text, **options):
        if isinstance(text, bytes):  # Of a file.
            raise RecursionError
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", give_up)
    for reader, kind in (
        (lambda: sweep(tmp_path / "sweep"), OutputError),
        (lambda: RunFolder(tmp_path / "run", Settings()), OutputError),
        (lambda: load_run(finished["superres"][0]), WeightsError),
    ):
        refusal(reader)
        with pytest.raises(kind):
            reader()
    assert read_record(tmp_path / "record.json") is None
