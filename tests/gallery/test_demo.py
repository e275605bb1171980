"""`python -m gallery.demo`: one page of all five tasks, which asks for nothing from outside."""

import base64
import hashlib
import html.parser
import importlib
import io
import json
import re
import shlex
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atelier.cli.records import FOLDER
from atelier.errors import WeightsError
from atelier.media.images import load_image
from atelier.progress import Step
from gallery.demo import command, page
from gallery.demo.command import STOPPED, DemoArguments, main, without_places
from gallery.demo.page import data_url, duration, render
from gallery.demo.scenes import SCENES, Exhibit, Photo, Scene, SceneConfig, Side, halved

VOID = {"meta", "link", "img", "input", "br"}
TASKS = ("nst", "cartoon", "superres", "classify", "detection")


class Page(html.parser.HTMLParser):
    """A page's tags; fails where one is closed that is not open."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute comes twice in <{tag}>"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def exhibit(name: str = "red", **changes) -> Exhibit:
    before, after = (np.full((6, 8, 3), level, np.uint8) for level in (40, 200))
    return Exhibit(
        **{
            "title": name.capitalize(),
            "photo": Photo(f"{name}.png", b"the photo's bytes"),
            "result": after,
            "file": f"nst/{name}.png",
            "before": Side(before, "photo", "The photo"),
            "after": Side(after, "result", "The result"),
            "settings": ("64 pixels",),
            "command": f"python -m nst.run photos/{name}.png --out nst",
            "seconds": 1.25,
            **changes,
        }
    )


def scene(name: str, play) -> Scene:
    return Scene(name, name.capitalize(), f"What {name} does.", play)


@pytest.fixture
def stage(monkeypatch, tmp_path):
    """Gives a function that puts scenes on stage and plays them: the exit code."""
    monkeypatch.setattr(page, "machine", lambda: "A processor, 2 cores")

    def run(scenes, *arguments) -> int:
        monkeypatch.setattr(command, "SCENES", tuple(scenes))
        return main(["--out", str(tmp_path / "demo"), *arguments])

    return SimpleNamespace(run=run, out=tmp_path / "demo", index=tmp_path / "demo" / "index.html")


def red(config, on_step):
    yield exhibit("red")


def two(config, on_step):
    yield exhibit("green", file="cartoon/green.png")
    yield exhibit("blue", file="cartoon/blue.png")


def broken(config, on_step):
    yield exhibit("half", file="superres/half.png")
    raise WeightsError("superres/weights/clean.npz is damaged; install the package anew")


# === The command ===


def test_results_and_photos_lie_beside_the_page(stage, capsys):
    assert stage.run([scene("nst", red), scene("cartoon", two)]) == 0
    files = sorted(str(f.relative_to(stage.out)) for f in stage.out.rglob("*") if f.is_file())
    assert files == [
        *("cartoon/blue.png", "cartoon/green.png", "index.html", "nst/red.png"),
        *("photos/blue.png", "photos/green.png", "photos/red.png"),
    ]
    assert (stage.out / "photos" / "red.png").read_bytes() == b"the photo's bytes"
    np.testing.assert_array_equal(load_image(stage.out / "nst" / "red.png"), exhibit().result)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith(f"{stage.index}: ")
    assert "cartoon: 2 pictures" in said.err


def test_json_is_an_object_a_task(stage, capsys):
    assert stage.run([scene("nst", red), scene("superres", broken)], "--json") == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "task": "nst",
        "seconds": first["seconds"],
        "files": [str(stage.out / "nst" / "red.png")],
        "error": None,
    }
    assert second["files"] == [str(stage.out / "superres" / "half.png")]
    assert second["error"].endswith("install the package anew")


def test_some_tasks_alone(stage):
    scenes = [scene("nst", red), scene("cartoon", two)]
    assert stage.run(scenes, "--tasks", "cartoon") == 0
    shown = Page(stage.index.read_text(encoding="utf-8"))
    assert [section["id"] for section in shown.all("section")] == ["cartoon"]


def test_failed_task_has_its_line_and_the_others_are_shown(stage, error_line):
    assert stage.run([scene("superres", broken), scene("cartoon", two)]) == 1
    reason = "superres/weights/clean.npz is damaged; install the package anew"
    assert error_line() == f"error: superres: {reason}"
    shown = Page(stage.index.read_text(encoding="utf-8"))
    assert f"Not shown: {reason}" in shown.text
    assert len(shown.all("figure")) == 3  # What it had made before that, too.


def test_task_that_fails_at_once_keeps_its_place(stage):
    def play(config, on_step):
        raise WeightsError("no weights")
        yield

    assert stage.run([scene("superres", play)]) == 1
    shown = Page(stage.index.read_text(encoding="utf-8"))
    assert "Not shown: no weights" in shown.text
    assert [tile["href"] for tile in shown.all("a")] == ["#superres"]


def test_existing_page_is_kept_before_any_work(stage, error_line):
    def never(config, on_step):
        raise AssertionError

    stage.out.mkdir()
    stage.index.write_text("mine")
    assert stage.run([scene("nst", never)]) == 2
    assert error_line().endswith("index.html exists; choose another --out or pass --overwrite")
    assert stage.index.read_text() == "mine"
    assert stage.run([scene("nst", red)], "--overwrite") == 0
    assert stage.index.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("file", ["nst/red.png", "photos/red.png"])
def test_existing_result_is_kept(stage, file, capsys):
    (stage.out / file).parent.mkdir(parents=True)
    (stage.out / file).write_bytes(b"mine")
    assert stage.run([scene("nst", red), scene("cartoon", two)]) == 1
    assert (stage.out / file).read_bytes() == b"mine"
    assert f"{file} exists" in capsys.readouterr().err
    text = Page(stage.index.read_text(encoding="utf-8")).text
    assert f"Not shown: {file} exists" in text  # Without the folder's place.


def test_ctrl_c_keeps_what_is_done(stage, capsys):
    def stopped(config, on_step):
        yield exhibit("green", file="cartoon/green.png")
        signal.raise_signal(signal.SIGINT)
        assert on_step(Step(1, 2, {}))
        yield exhibit("blue", file="cartoon/blue.png")
        raise AssertionError("goes on after Ctrl-C")

    scenes = [scene("nst", red), scene("cartoon", stopped), scene("superres", broken)]
    assert stage.run(scenes) == 130
    assert "error: stopped; what was finished is kept" in capsys.readouterr().err
    shown = Page(stage.index.read_text(encoding="utf-8"))
    assert len(shown.all("figure")) == 3
    assert shown.text.count(f"Not shown: {STOPPED}") == 2
    assert (stage.out / "cartoon" / "blue.png").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--size", "8"], "--size must be at least 32, not 8"),
        (["--iterations", "0"], "--iterations must be 1 or more, not 0"),
        (["--tasks", "poetry"], "poetry"),
    ],
)
def test_bad_usage_is_one_line(stage, arguments, reason, error_line):
    assert stage.run([scene("nst", red)], *arguments) == 2
    assert reason in error_line()
    assert not stage.out.exists()


# === The page ===


def test_names_are_text_wherever_they_come():
    evil = '<b onload="x">&"</b>'
    bad = exhibit(
        evil,
        title=evil,
        settings=(evil,),
        found=evil,
        bars=((evil, 0.5),),
        before=Side(np.zeros((4, 4, 3), np.uint8), evil, evil),
        inset=Side(np.zeros((4, 4, 3), np.uint8), evil, evil),
    )
    shows = [page.Show(Scene(evil, evil, evil, red), (bad,), 1.0, evil)]
    shown = Page(render(shows))
    assert shown.all("b") == []
    assert shown.text.count(evil) >= 8
    assert [i["alt"] for i in shown.all("img") if i.get("class") == "before"] == [evil]


def test_bars_are_as_long_as_they_say():
    bars = (("cat", 0.995), ("dog", 0.25), ("frog", 0.001))
    shown = Page(render([page.Show(scene("classify", red), (exhibit(bars=bars),), 1.0)]))
    assert [bar["width"] for bar in shown.all("rect")] == ["99.5", "25.0", "0.1"]
    for words in ("over 99 %", "25 %", "under 1 %"):
        assert words in shown.text


def test_line_starts_where_an_exhibit_says():
    shows = [
        page.Show(scene("nst", red), (exhibit(),), 1.0),
        page.Show(scene("detection", red), (exhibit(start=12),), 1.0),
    ]
    shown = Page(render(shows))
    assert [frame["value"] for frame in shown.all("input")] == ["50", "12"]
    assert [tile["class"] for tile in shown.all("a")] == ["tile", "tile early"]


def test_details_keep_every_pixel_and_other_pictures_are_bounded(rng):
    noise = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    large = np.zeros((400, 1600, 3), np.uint8)
    shows = [
        exhibit(before=Side(noise, "", ""), after=Side(noise, "", ""), detail=True),
        exhibit(before=Side(large, "", ""), after=Side(large, "", "")),
    ]
    shown = Page(render([page.Show(scene("superres", red), tuple(shows), 1.0)]))
    first, second = [i for i in shown.all("img") if i.get("class") == "before"]
    data = base64.b64decode(first["src"].partition(",")[2])
    np.testing.assert_array_equal(load_image(data), noise)
    assert (second["width"], second["height"]) == (str(page.LONGEST), str(page.LONGEST // 4))


def test_transparency_stays():
    image = np.dstack([np.full((8, 8, 3), 90, np.uint8), np.eye(8, dtype=np.uint8) * 255])
    kept = load_image(base64.b64decode(data_url(image).partition(",")[2]), alpha="keep")
    np.testing.assert_array_equal(kept[..., 3], image[..., 3])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.344, "0.34 s"),
        (9.999, "10.0 s"),
        (59.9, "59.9 s"),
        (59.99, "1 min 0 s"),
        (68, "1 min 8 s"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_places_are_left_out_of_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path / "demo", DemoArguments().out):
        message = f"cannot write {out.absolute()}/nst/a.png: no space"
        assert without_places(message, out) == "cannot write nst/a.png: no space"
    root = page.HERE.parents[1]
    assert without_places(f"{root}/nst/x.npz is damaged", tmp_path) == "nst/x.npz is damaged"


def test_scenes_are_the_five_tasks_in_order():
    assert tuple(s.name for s in SCENES) == TASKS == DemoArguments().tasks
    assert SceneConfig().size % 32 == 0


def test_halved_photos_are_files_of_half_the_size(photo):
    small = halved("astronaut.png", photo, 75)
    assert (small.name, small.stem, small.title) == (
        *("astronaut.half.jpg", "astronaut.half"),
        "Astronaut",
    )
    assert Image.open(io.BytesIO(small.data)).format == "JPEG"
    assert load_image(small.data).shape == (48, 48, 3)
    assert halved("astronaut.png", photo, None).name == "astronaut.half.png"


# === All five, for real ===


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder of a demo with small paintings."""
    folder = tmp_path_factory.mktemp("demo")
    assert main(["--out", str(folder), "--size", "64", "--iterations", "2"]) == 0
    return folder


def test_page_shows_all_tasks_and_holds_all_it_shows(real):
    text = (real / "index.html").read_text(encoding="utf-8")
    shown = Page(text)
    assert len(text) < 4e6
    assert [section["id"] for section in shown.all("section")] == list(TASKS)
    assert [tile["href"] for tile in shown.all("a")] == [f"#{task}" for task in TASKS]
    for _tag, attributes in shown.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert "style" not in attributes  # The page's own policy would refuse it.
    assert "url(" not in text.partition("<body>")[0]
    images, frames = shown.all("img"), shown.all("input")
    assert all("alt" in image for image in images)
    assert sum(image["alt"] == "" for image in images) == 2 * len(TASKS)  # The mosaic's.
    assert len(frames) == 15
    assert len({frame["aria-label"] for frame in frames}) == len(frames)
    assert "Not shown" not in shown.text


def test_pictures_of_the_page_are_of_both_sides_and_one_size(real):
    shown = Page((real / "index.html").read_text(encoding="utf-8"))
    frames = [i for i in shown.all("img") if i.get("class") in ("before", "after")]
    for before, after in zip(frames[::2], frames[1::2], strict=True):
        assert (before["class"], after["class"]) == ("before", "after")
        pictures = []
        for image in (before, after):
            kind, _, data = image["src"].partition(",")
            assert kind == "data:image/webp;base64"
            picture = Image.open(io.BytesIO(base64.b64decode(data)))
            assert picture.size == (int(image["width"]), int(image["height"]))
            pictures.append(picture.convert("RGB"))
        assert pictures[0].size == pictures[1].size


def test_policy_allows_the_pages_own_style_and_script_alone(real):
    text = (real / "index.html").read_text(encoding="utf-8")
    (policy,) = [m["content"] for m in Page(text).all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        (inline,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_page_names_no_place_of_the_machine(real):
    text = (real / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"base64,[^\"]+", "", text)
    for place in (str(real), str(real.parent), str(page.HERE), "/home/", "/tmp/"):
        assert place not in text


@pytest.mark.parametrize("task", TASKS)
def test_command_below_an_exhibit_makes_the_same(real, task, monkeypatch):
    text = Page((real / "index.html").read_text(encoding="utf-8")).text
    (line, *_) = re.findall(rf"python -m {task}\.run [^\n]+", text)
    green = {"background": (9, 200, 90)}  # On which transparency shows.
    files = {file: load_image(file, **green) for file in (real / task).iterdir()}
    run = importlib.import_module(f"{task}.run")
    monkeypatch.chdir(real)
    assert run.main([*shlex.split(line)[3:], "--overwrite"]) == 0
    written = {file for file in (real / task).iterdir() if file.name != FOLDER}
    assert written == set(files)  # Under the same names.
    for file, image in files.items():
        again = load_image(file, **green).astype(int)
        assert np.abs(again - image).mean() < (2 if task == "nst" else 1e-3), file.name
