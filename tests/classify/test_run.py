"""`python -m classify.run`: pictures in, answers out, exit codes, one line for each mistake."""

import csv
import io
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atelier.media.images import load_image, save_image
from classify import work as module
from classify.data import CLASSES
from classify.predict import NONE, classify
from classify.run import main
from classify.work import caption

FIELDS = {"input", "label", "known", "energy", "probabilities", "model", "notes"}


@pytest.fixture
def files(monkeypatch, namer, tmp_path, colours):
    """A folder `all`: red.png, deeper/green.jpg and blue.PNG; networks are of literal weights."""
    monkeypatch.setattr(module, "load", lambda name: namer)
    for name, number in (("red.png", 0), ("deeper/green.jpg", 1), ("blue.PNG", 2)):
        picture = np.full((30, 50, 3), colours[number], np.uint8)
        save_image(tmp_path / "all" / name, picture)
    return tmp_path


def run(folder, *arguments, name="all") -> int:
    return main([str(folder / name), "--out", str(folder / "out"), *map(str, arguments)])


def names(folder) -> list[str]:
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if ".atelier" not in file.parts)


def records(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def table(folder) -> list[dict]:
    with open(folder / "out" / "classes.csv", newline="") as lines:
        return list(csv.DictReader(lines))


# === Results ===


def test_each_picture_is_named_and_shown(files, capsys):
    assert run(files) == 0
    assert names(files / "out") == ["contact_sheet.png"]
    said = capsys.readouterr()
    assert said.out == ""
    for name, label in (("blue.PNG", "bird"), ("red.png", "airplane")):
        (line,) = [line for line in said.err.splitlines() if name in line]
        assert line.startswith(f"{files / 'all' / name}: {label} ")
        assert line.count("%") == 3
    assert str(files / "out" / "contact_sheet.png") in said.err


def test_json_is_an_object_a_picture_and_nothing_else(files, capsys, namer):
    assert run(files, "--json", "--top", 10) == 0
    found = records(capsys)
    assert [record["input"] for record in found] == [
        str(files / "all" / name) for name in ("blue.PNG", "deeper/green.jpg", "red.png")
    ]
    assert [record["label"] for record in found] == ["bird", "automobile", "airplane"]
    for record in found:
        assert record.keys() == FIELDS
        assert record["known"] is True
        assert record["model"] == "namer"
        expected = classify(record["input"], network=namer)
        assert list(record["probabilities"]) == list(expected.labels)
        values = list(record["probabilities"].values())
        np.testing.assert_allclose(values, expected.probabilities, atol=1e-4)
        assert record["energy"] == pytest.approx(expected.energy, abs=1e-4)


def test_how_pixels_were_converted_is_said(files, capsys):
    deep = np.full((30, 50), 3000, np.uint16)
    Image.fromarray(deep).save(files / "all" / "deep.png")
    note = "its values end at 3,000: taken for 12 bits in 16"
    assert run(files, name="all/deep.png") == 0
    assert f"; {note}\n" in capsys.readouterr().err
    assert run(files, "--json", "--overwrite", name="all/deep.png") == 0
    assert records(capsys)[0]["notes"] == [note]


def test_table_has_a_row_a_picture(files, namer):
    assert run(files, "--csv", "--top", 2, "--sheet", 0) == 0
    assert names(files / "out") == ["classes.csv"]
    rows = table(files)
    assert list(rows[0]) == [
        *("input", "answer", "energy", "label_1", "probability_1", "label_2", "probability_2")
    ]
    assert [row["answer"] for row in rows] == ["bird", "automobile", "airplane"]
    for row in rows:
        expected = classify(row["input"], network=namer)
        assert (row["label_1"], row["label_2"]) == expected.labels[:2]
        assert float(row["probability_2"]) == pytest.approx(expected.probabilities[1], abs=1e-4)


def test_unknown_pictures_are_none_of_the_ten(files, namer, monkeypatch, capsys):
    card = {**namer.card, "threshold": 1e9}
    monkeypatch.setattr(module, "load", lambda name: type(namer)(namer.model, card))
    assert run(files, "--json", "--csv", name="all/red.png") == 0
    (record,) = records(capsys)
    assert (record["label"], record["known"]) == (NONE, False)
    assert next(iter(record["probabilities"])) == "airplane"
    (row,) = table(files)
    assert (row["answer"], row["label_1"]) == (NONE, "airplane")
    assert run(files, "--overwrite", name="all/red.png") == 0
    assert f"red.png: {NONE} (nearest: airplane " in capsys.readouterr().err


def test_settings_reach_the_network(files, photo, namer, capsys):
    """A picture whose middle is green, and whose left half is red."""
    wide = np.zeros((20, 100, 3), np.uint8)
    wide[...] = (230, 30, 30)
    wide[:, 40:60] = (30, 230, 30)
    save_image(files / "wide.png", wide)
    for fit, label in (("squeeze", "airplane"), ("crop", "automobile")):
        assert run(files, "--fit", fit, "--json", "--sheet", 0, name="wide.png") == 0
        assert records(capsys)[0]["label"] == label


def test_views_reach_the_network(run_folder_files, capsys):
    energies = []
    for views in (1, 6, 0):
        assert run(*run_folder_files, "--views", views, "--json", name="photo.png") == 0
        energies.append(records(capsys)[0]["energy"])
    assert energies[0] != energies[1] == energies[2], "0 is what the card says"


@pytest.fixture
def run_folder_files(run_folder, tmp_path, photo):
    """The arguments of `run` for photo.png and the network of a run folder."""
    save_image(tmp_path / "photo.png", photo)
    return tmp_path, "--sheet", 0, "--network", run_folder


@pytest.fixture
def run_folder(request):
    """The fixture `run` of all tests; here, that is the command's name."""
    return request.getfixturevalue("run")


def test_network_is_a_run_folder_or_an_embedded_one(run_folder_files, embedded, capsys):
    found = []
    for more in ((), ("--network", "strong")):
        assert run(*run_folder_files, "--json", *more, name="photo.png") == 0
        found.append(records(capsys)[0]["energy"])
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_nothing_given_classifies_pictures_of_scikit_image(files, capsys):
    assert main(["--out", str(files / "out"), "--json", "--csv"]) == 0
    found = records(capsys)
    assert [record["input"] for record in found] == list(module.EXAMPLES)
    assert names(files / "out") == ["classes.csv", "contact_sheet.png"]
    assert len(table(files)) == len(module.EXAMPLES)
    # Nine pictures stand in three rows of three, each 240 wide.
    assert load_image(files / "out" / "contact_sheet.png").shape[1] == 3 * (240 + 12) + 12


def test_standard_input_is_a_picture(files, monkeypatch, capsys):
    data = (files / "all" / "red.png").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["-", "--out", str(files / "out"), "--json", "--gradcam"]) == 0
    assert records(capsys)[0]["input"] == "standard input"
    assert names(files / "out") == ["contact_sheet.png", "stdin.gradcam.png"]


# === More than a batch ===


def test_batches_change_nothing_and_bound_what_is_read(files, monkeypatch, photo):
    """Results of a batch are told before the next is read."""
    many = files / "many"
    for number in range(11):
        save_image(many / f"{number:02d}.png", photo[number : number + 30])
    (many / "05.png").write_bytes(b"broken")
    loaded, told = [], []
    load = module.load_image

    def counted(source):
        loaded.append(source)
        return load(source)

    def tell(outcome, arguments):
        told.append(outcome.record)
        # Of each batch of four the last may be read, and one that is broken.
        assert len(loaded) <= 4 * (1 + (len(told) - 1) // 4) + 1

    monkeypatch.setattr(module, "load_image", counted)
    monkeypatch.setattr(module, "tell", tell)
    monkeypatch.setattr(module, "BATCH", 4)
    assert run(files, "--csv", "--sheet", 3, "--top", 10, name="many") == 1
    names = [str(many / f"{number:02d}.png") for number in range(11) if number != 5]
    assert [record["input"] for record in told] == names
    assert [row["input"] for row in table(files)] == names
    for record in told:
        expected = classify(record["input"], network=module.load("strong"))
        found = list(record["probabilities"].values())
        np.testing.assert_allclose(found, expected.probabilities, atol=1e-4)


def test_a_picture_that_cannot_be_classified_fails_alone(files, monkeypatch, capsys):
    """Though it is in a batch with others."""
    real = module.classify_prepared

    def fail_at_red(images, network, views):
        if (images[:, 0, 0, 0] > images[:, 0, 0, 1:].max(axis=-1) + 99).any():
            raise MemoryError
        return real(images, network, views)

    monkeypatch.setattr(module, "classify_prepared", fail_at_red)
    assert run(files, "--csv") == 1
    said = capsys.readouterr().err
    log = files / "out" / "faults.log"
    line = f"error: {files}/all/red.png: failed unexpectedly: MemoryError (traceback in {log})"
    assert line in said.splitlines()
    assert [row["answer"] for row in table(files)] == ["bird", "automobile"]


def test_a_second_run_answers_from_records_and_shows_the_same_sheet(files, monkeypatch, capsys):
    assert run(files, "--csv", "--json") == 0
    answers, sheet = records(capsys), load_image(files / "out" / "contact_sheet.png")
    monkeypatch.setattr(module, "classify_prepared", lambda *_: pytest.fail("classified again"))
    assert run(files, "--csv", "--json") == 0
    assert records(capsys) == answers
    assert (load_image(files / "out" / "contact_sheet.png") == sheet).all()
    assert len(table(files)) == 3


@pytest.mark.parametrize(("sheet", "columns"), [(1, 1), (4, 2), (48, 3)])
def test_sheet_shows_the_first_pictures(files, sheet, columns):
    """Those that can be read: a broken one first takes no place."""
    for number in range(5):
        save_image(files / "all" / f"z{number}.png", np.full((9, 9, 3), 128, np.uint8))
    (files / "all" / "a.png").write_bytes(b"broken")
    assert run(files, "--sheet", sheet) == 1
    width = load_image(files / "out" / "contact_sheet.png").shape[1]
    assert width == columns * (240 + 12) + 12


@pytest.mark.parametrize(
    ("probabilities", "known", "expected"),
    [
        ([0.9, 0.1], True, "cat 90%, dog 10%\na.png"),
        ([0.999, 0.001], True, "cat over 99%\na.png"),
        ([0.6, 0.4], False, "none of the ten (cat?)\na.png"),
    ],
)
def test_captions_by_hand(probabilities, known, expected):
    result = SimpleNamespace(labels=("cat", "dog"), probabilities=probabilities, known=known)
    assert caption("some/where/a.png", result) == expected


# === Grad-CAM ===


def test_gradcam_is_a_picture_beside_the_sheet(files):
    assert run(files, "--gradcam") == 0
    assert names(files / "out") == [
        *("blue.gradcam.png", "contact_sheet.png", "deeper/green.gradcam.png", "red.gradcam.png")
    ]
    assert load_image(files / "out" / "red.gradcam.png").shape == (192, 320, 3)


def test_gradcam_is_not_overwritten_unasked(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "red.gradcam.png").write_bytes(b"kept")
    assert run(files, "--gradcam", "--sheet", 0, "--json") == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert "red.gradcam.png exists" in line
    assert (files / "out" / "red.gradcam.png").read_bytes() == b"kept"
    assert len(said.out.splitlines()) == 2, "the others are done"
    assert run(files, "--gradcam", "--sheet", 0, "--overwrite") == 0
    assert load_image(files / "out" / "red.gradcam.png").shape == (192, 320, 3)


def test_same_names_clash_for_gradcam_alone(files, error_line):
    """Nothing else is written under the names of the pictures."""
    for name in ("a", "b"):
        save_image(files / name / "x.png", np.zeros((9, 9, 3), np.uint8))
    inputs = [str(files / name / "x.png") for name in ("a", "b")]
    out = ["--out", str(files / "out")]
    assert main([*inputs, *out, "--gradcam"]) == 2
    assert "two inputs would both be written to" in error_line()
    assert not (files / "out").exists()
    assert main([*inputs, *out, "--csv"]) == 0
    assert len(table(files)) == 2


def test_names_that_differ_by_their_suffix_keep_it(files):
    save_image(files / "all" / "red.jpg", np.zeros((9, 9, 3), np.uint8))
    inputs = [str(files / "all" / name) for name in ("red.png", "red.jpg")]
    assert main([*inputs, "--out", str(files / "out"), "--gradcam", "--sheet", "0"]) == 0
    assert names(files / "out") == ["red.jpg.gradcam.png", "red.png.gradcam.png"]


# === Mistakes ===


BAD = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"this is no picture", "not a picture"),
    "cut.jpg": ("JPEG", "damaged or truncated"),
}


@pytest.mark.parametrize(("name", "content", "words"), [(n, *bad) for n, bad in BAD.items()])
def test_bad_picture_in_a_folder_is_named_and_the_others_done(
    files, photo, capsys, name, content, words
):
    if content == "JPEG":
        stream = io.BytesIO()
        Image.fromarray(photo).save(stream, "JPEG")
        content = stream.getvalue()[: stream.tell() // 2]
    (files / "all" / name).write_bytes(content)
    assert run(files, "--csv", "--json") == 1
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert "Traceback" not in said.err
    assert name in line
    assert words in line
    assert len(said.out.splitlines()) == len(table(files)) == 3
    assert (files / "out" / "contact_sheet.png").exists()


@pytest.mark.parametrize("name", ["gone.png", "large.png"])
def test_picture_alone_that_cannot_be_read_leaves_nothing(files, error_line, monkeypatch, name):
    monkeypatch.setattr("atelier.media.images.MAX_PIXELS", 100)
    if name == "large.png":
        Image.new("L", (11, 10)).save(files / name)
    assert run(files, name=name) == 1
    line = error_line()
    assert name in line
    assert ("no such file" if name == "gone.png" else "11×10 is more than 100 pixels") in line
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), (230, 30, 30)),
        Image.new("L", (60, 1), 128),
        Image.new("P", (5, 90)),
        Image.new("RGBA", (40, 40), (0, 0, 0, 0)),
        Image.new("CMYK", (40, 40)),
        Image.fromarray(np.full((40, 30), 65535, np.uint16)),
    ],
    ids=lambda image: image.mode,
)
def test_every_kind_of_picture_is_classified_and_shown(files, image, capsys):
    name = "x.tif" if image.mode == "CMYK" else "x.png"
    image.save(files / name)
    assert run(files, "--gradcam", "--csv", "--json", name=name) == 0
    assert records(capsys)[0]["label"] in CLASSES
    assert names(files / "out") == ["classes.csv", "contact_sheet.png", "x.gradcam.png"]


@pytest.mark.parametrize("name", ["contact_sheet.png", "classes.csv"])
def test_nothing_is_overwritten_unasked(files, error_line, name):
    (files / "out").mkdir()
    (files / "out" / name).write_bytes(b"kept")
    assert run(files, "--csv") == 2
    assert "pass --overwrite" in error_line()
    assert names(files / "out") == [name], "refused before the work, not after it"
    assert (files / "out" / name).read_bytes() == b"kept"
    assert run(files, "--csv", "--overwrite") == 0
    assert names(files / "out") == ["classes.csv", "contact_sheet.png"]
    assert len(table(files)) == 3


def test_a_folder_that_cannot_be_made_is_named(files, error_line):
    (files / "out").write_text("a file where a folder should be")
    assert run(files) == 2
    assert str(files / "out") in error_line()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--top", 0), "--top is from 1 to 10, not 0"),
        (("--top", 11), "--top is from 1 to 10, not 11"),
        (("--sheet", -1), "--sheet is from 0 to 400 pictures, not -1"),
        (("--sheet", 401), "--sheet is from 0 to 400"),
        (("--fit", "stretch"), "stretch"),
        (("--views", 3), "--views"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_bad_usage_is_one_line_and_2(files, error_line, arguments, words):
    assert run(files, *arguments) == 2
    assert words in error_line()
    assert not (files / "out").exists()


def test_empty_folder_is_one_line(files, error_line):
    (files / "empty").mkdir()
    assert run(files, name="empty") == 2
    assert "no pictures in this folder" in error_line()


def test_missing_network_is_one_line(weights, tmp_path, photo, error_line):
    save_image(tmp_path / "photo.png", photo)
    assert run(tmp_path, name="photo.png") == 2
    assert "no embedded network 'strong'; there is none" in error_line()
    assert run(tmp_path, "--network", weights, name="photo.png") == 2
    assert "holds no finished run" in error_line()


def test_ctrl_c_keeps_the_table_so_far(run_folder, interrupt, tmp_path):
    many, out = tmp_path / "many", tmp_path / "out"
    save_image(many / "0000.png", np.full((32, 32, 3), (230, 30, 30), np.uint8))
    for number in range(1, 1500):
        os.link(many / "0000.png", many / f"{number:04d}.png")
    command = [sys.executable, "-m", "classify.run", "many", "--out", "out", "--csv", "--gradcam"]
    network = ["--network", str(run_folder)]
    interrupt([*command, *network], tmp_path, (out / "0003.gradcam.png").exists)
    rows = table(tmp_path)
    assert 4 <= len(rows) < 1500
    assert [row["input"] for row in rows] == [f"many/{n:04d}.png" for n in range(len(rows))]
    assert len(list(out.glob("*.gradcam.png"))) == len(rows)
    assert (out / "contact_sheet.png").exists()
    assert not list(out.glob(".tmp-*"))


def test_of_an_animation_the_first_frame_is_named_and_the_line_says_so(files, capsys, colours):
    first, second = (Image.new("RGB", (30, 50), tuple(map(int, colours[n]))) for n in (2, 0))
    first.save(files / "a.gif", save_all=True, append_images=[second], duration=50)
    assert run(files, name="a.gif") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "a.gif: bird" in line]
    assert line.endswith("; only the first frame is taken")
