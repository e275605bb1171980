"""Pictures by the names that annotations give them: found in the data set, or nowhere."""

import unicodedata

import pytest

from detection.annotations import FaultError, finder
from detection.annotations.finder import PictureFinder, readings


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("a%20b.jpg", "a b.jpg"),
        ("x\\a.jpg", "x/a.jpg"),
        ("/data/local-files/?d=photos/a%20b.jpg", "photos/a b.jpg"),
        ("http://localhost:8080/data/upload/3/1f-a.jpg?x=1", "/data/upload/3/1f-a.jpg"),
        ("s3://bucket/photos/a.jpg", "/photos/a.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("a?b.jpg", "a?b.jpg"),
    ],
)
def test_readings_of_a_name(name, reading):
    found = readings(name)
    assert found[0] == name
    assert reading in found


@pytest.mark.parametrize(
    "name",
    [
        "ein astronaut.jpg",
        "ein%20astronaut.jpg",
        "images/ein astronaut.jpg",
        "images\\ein astronaut.jpg",
        "C:\\Users\\me\\ein astronaut.jpg",
        "\\\\server\\share\\ein astronaut.jpg",
        "/home/me/ein astronaut.jpg",
        "../../x/ein astronaut.jpg",
        "/data/local-files/?d=x/ein%20astronaut.jpg",
        "https://example.org/files/ein%20astronaut.jpg?token=1#top",
        "Ein Astronaut.JPG",
    ],
)
def test_a_picture_is_found_below_the_data_folder(tmp_path, name):
    make(tmp_path, "deep/images/ein astronaut.jpg", "other.jpg")
    path = PictureFinder([tmp_path], [tmp_path]).find(name)
    assert path == tmp_path / "deep" / "images" / "ein astronaut.jpg"


def test_a_name_that_is_itself_percent_encoded_goes_first(tmp_path):
    make(tmp_path, "a%20b.jpg", "a b.jpg")
    assert PictureFinder([tmp_path]).find("a%20b.jpg").name == "a%20b.jpg"


def test_of_several_files_of_a_name_the_path_decides(tmp_path):
    make(tmp_path, "cam1/a.jpg", "cam2/a.jpg")
    finder = PictureFinder([tmp_path])
    assert finder.find("D:\\x\\cam2\\a.jpg") == tmp_path / "cam2" / "a.jpg"
    with pytest.raises(FaultError, match=r"several pictures have the name 'a\.jpg': cam1/a\.jpg, "):
        finder.find("D:\\x\\a.jpg")


def test_unicodes_two_forms_are_one_name(tmp_path):
    make(tmp_path, unicodedata.normalize("NFD", "Öl.jpg"))
    found = PictureFinder([tmp_path]).find(unicodedata.normalize("NFC", "Öl.jpg"))
    assert found.is_file()


@pytest.mark.parametrize("name", ["../secret.jpg", "/elsewhere/secret.jpg", "..\\secret.jpg"])
def test_what_lies_outside_is_never_taken(tmp_path, name):
    make(tmp_path, "secret.jpg", "set/a.jpg")
    with pytest.raises(FaultError, match="leads out of the folder"):
        PictureFinder([tmp_path / "set"]).find(name)
    (tmp_path / "set" / "secret.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(FaultError, match="is a link that leads out of the folder"):
        PictureFinder([tmp_path / "set"]).find(name)


def test_no_picture_is_a_fault(tmp_path):
    make(tmp_path, "a.jpg", "a.txt")
    for name in ("b.jpg", "a.txt.jpg", "..", "/", "x" * 5000):
        with pytest.raises(FaultError):
            PictureFinder([tmp_path]).find(name)


def test_files_that_are_looked_through_are_bounded(tmp_path, monkeypatch):
    make(tmp_path, "deep/a.jpg")
    monkeypatch.setattr(finder, "LISTED", 1)
    assert PictureFinder([tmp_path]).find("C:\\a.jpg").is_file()
    monkeypatch.setattr(finder, "LISTED", 0)
    with pytest.raises(FaultError, match="leads out of the folder"):
        PictureFinder([tmp_path]).find("C:\\a.jpg")
