"""Annotation files of strangers: bombs, nests, numbers that are none, and names that lead away."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detection.coco import read_coco
from detection.voc import read_voc
from fuzz.readers import coco_files, draw, voc_pages

PAGE = voc_pages()[0].decode()
COCO = json.loads(coco_files()[0])

LEADING_AWAY = ("../secret.png", "/etc/passwd", "..\\secret.png", "C:\\x.png", "link.png", "a\0b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set's folder with a picture and a link to one outside."""
    top = tmp_path_factory.mktemp("data")
    (top / "set").mkdir()
    Image.fromarray(draw()).save(top / "set" / "a.png")
    Image.fromarray(draw()).save(top / "secret.png")
    (top / "set" / "link.png").symlink_to(top / "secret.png")
    return top / "set"


def as_voc(folder, text: str | bytes):
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    (folder / "a.xml").write_bytes(data)
    return folder


def as_coco(folder, value: object):
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    return folder / "a.json"


# === VOC ===

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "nan", "inf", "-inf", "1e999", "9" * 5000, "-1", "0", "0x10", "١", "\ud800"]
    ),
    st.sampled_from(LEADING_AWAY),
)


@given(old=st.sampled_from([">1<", ">6<", ">10<", ">8<", ">person<", ">a.png<"]), new=TEXTS)
def test_any_value_in_a_page(folder, survives, old, new):
    assert old in PAGE
    page = PAGE.replace(old, f">{new.replace('&', '&amp;').replace('<', '&lt;')}<", 1)
    data = survives(read_voc, as_voc(folder, page))
    for item in data.items if data else ():
        assert item.image == folder / "a.png"
        assert (item.boxes >= 0).all()
        assert (item.boxes <= 10).all()


@given(data=st.binary(max_size=100), at=st.integers(0, len(PAGE)))
def test_any_bytes_in_a_page(folder, survives, data, at):
    page = PAGE.encode()
    survives(read_voc, as_voc(folder, page[:at] + data + page[at + len(data) // 2 :]))


BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7"]
)
@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE annotation [<!ENTITY e0 "x">{BOMB}]>',
        '<!DOCTYPE annotation [<!ENTITY e11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE annotation [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
    ],
)
def test_document_types_are_refused(folder, refusal, encoding, document):
    page = f'<?xml version="1.0" encoding="{encoding}"?>{document}{PAGE}'.replace("person", "&e11;")
    text = refusal(read_voc, as_voc(folder, page.encode(encoding)))
    assert "refused: it declares a document type" in text or "malformed" in text or "UTF-8" in text
    assert "root:" not in text


@pytest.mark.parametrize(
    "page",
    [
        "<annotation>" * 150_000,
        "<annotation>" * 80_000 + "</annotation>" * 80_000,
        "<annotation " + " ".join(f"a{i}=''" for i in range(50_000)) + "/>",
        "<annotation>" + "<object/>" * 50_000 + "</annotation>",
        f"<annotation><filename>{'x' * 1_900_000}</filename></annotation>",
        "<" + "a" * 1_900_000 + "/>",
        "<annotation>" + "&#0;" * 10,
        "<!--" + "-" * 1_900_000,
    ],
    ids=["open", "deep", "attributes", "objects", "name", "tag", "NUL", "comment"],
)
def test_pages_made_to_unfold(folder, survives, page):
    data = survives(read_voc, as_voc(folder, page))
    assert data is None or not len(data.items[0].boxes)


# === COCO ===

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(10**400),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from([*LEADING_AWAY, "\ud800", "x" * 5000, "\x1b[2J", "a\nb"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: object, path: tuple = ()):
    """All places in a JSON value."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(value: object, path: tuple, new: object) -> object:
    """A copy of a JSON value with another one at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@given(place=st.sampled_from(list(places(COCO))), new=JSON)
def test_any_value_anywhere(folder, survives, place, new):
    data = survives(read_coco, as_coco(folder, replaced(COCO, place, new)))
    for item in data.items if data else ():
        assert item.image == folder / "a.png"
        assert (item.boxes >= 0).all()
        assert (item.boxes <= 10).all()
    for fault in data.faults if data else ():
        assert str(fault).isprintable()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("depth", [500, 900, 100_000])
@pytest.mark.parametrize(
    "place", [("images", 0, "id"), ("annotations", 0, "bbox"), ("annotations", 0, "iscrowd")]
)
def test_nests(folder, survives, place, depth, strict):
    text = json.dumps(replaced(COCO, place, "NEST")).replace('"NEST"', "[" * depth + "]" * depth)
    survives(read_coco, as_coco(folder, text), strict=strict)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-0.0"]
)
def test_numbers_that_are_none(folder, survives, value):
    for place in [
        ("images", 0, "height"),
        ("annotations", 0, "bbox", 2),
        ("annotations", 0, "category_id"),
    ]:
        text = json.dumps(replaced(COCO, place, "NUMBER")).replace('"NUMBER"', value)
        data = survives(read_coco, as_coco(folder, text))
        assert data is None or data.faults


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_ids_that_come_twice(folder, survives, key):
    data = survives(read_coco, as_coco(folder, COCO | {key: COCO[key] * 2}))
    assert data is None or len(data.items) == 1


# === Places ===


@pytest.mark.parametrize("name", LEADING_AWAY)
def test_no_file_outside_the_folder_is_read(folder, refusal, nothing_opened_outside, name):
    with nothing_opened_outside(folder):
        assert refusal(read_coco, as_coco(folder, replaced(COCO, ("images", 0, "file_name"), name)))
        if "\0" not in name:
            page = PAGE.replace("a.png", name)
            assert refusal(read_voc, as_voc(folder, page))


def test_links_for_annotations_and_folders_are_not_followed(tmp_path, refusal):
    (tmp_path / "set" / "annotations").mkdir(parents=True)
    (tmp_path / "other.json").write_text(json.dumps(COCO))
    (tmp_path / "set" / "annotations" / "instances_a.json").symlink_to(tmp_path / "other.json")
    assert "leads out of the folder" in refusal(read_coco, tmp_path / "set")
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "Annotations").symlink_to(tmp_path / "set")
    assert "leads out of the folder" in refusal(read_voc, tmp_path / "voc")
