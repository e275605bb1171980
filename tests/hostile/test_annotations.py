"""Annotations of unknown origin: whatever one place says, all else is read as before."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detection.annotations.coco import read_coco
from detection.annotations.voc import read_voc

LEADING_AWAY = (
    "../secret.png",
    "/elsewhere/a.png",
    "..\\secret.png",
    "C:\\x.png",
    "link.png",
    "a\0b",
)

PAGE = """<annotation><filename>a.png</filename><size><width>10</width><height>8</height></size>
<object><name>person</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>6</xmax><ymax>7</ymax></bndbox>
</object></annotation>"""

COCO = {
    "images": [
        {"id": number, "file_name": f"{name}.png", "width": 10, "height": 8}
        for number, name in enumerate("ba")
    ],
    "annotations": [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 2, 5, 5], "iscrowd": 0}
        for number in range(2)
    ],
    "categories": [{"id": 1, "name": "person"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures a and b, the good page of b, and a link to a picture outside."""
    top = tmp_path_factory.mktemp("data")
    (top / "set").mkdir()
    for name in ("set/a.png", "set/b.png", "secret.png"):
        Image.new("RGB", (10, 8)).save(top / name)
    (top / "set" / "link.png").symlink_to(top / "secret.png")
    (top / "set" / "b.xml").write_text(PAGE.replace("a.png", "b.png"))
    return top / "set"


def check(folder, data) -> None:
    """Of b, the one object; of a, objects on it or none; and faults that are a line each."""
    found = {item.name: item for item in data.items}
    assert found.keys() <= {"a.png", "b.png"}
    assert found["b.png"].boxes[0].tolist() in ([0, 1, 6, 7], [1, 2, 6, 7])  # VOC counts from 1.
    for item in data.items:
        assert item.image == folder / item.name
        assert (item.boxes >= 0).all()
        assert (item.boxes <= 10).all()
    assert all(str(fault).isprintable() for fault in data.faults)


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "nan", "inf", "-1", "0", "0x10", "1e9", "9" * 20, "١", "\ud800"]),
    st.sampled_from(LEADING_AWAY),
)


@given(old=st.sampled_from([">1<", ">6<", ">10<", ">8<", ">person<", ">a.png<"]), new=TEXTS)
def test_any_value_in_a_page_of_voc(folder, old, new):
    assert old in PAGE
    page = PAGE.replace(old, f">{new.replace('&', '&amp;').replace('<', '&lt;')}<", 1)
    (folder / "a.xml").write_bytes(page.encode("utf-8", "surrogatepass"))
    check(folder, read_voc(folder))


def test_a_page_of_voc_cut_anywhere(folder):
    for length in range(len(PAGE)):
        (folder / "a.xml").write_text(PAGE[:length])
        data = read_voc(folder)
        check(folder, data)
        assert len(data.faults) == 1


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from([*LEADING_AWAY, "\ud800", "x" * 99, "\x1b[2J", "a\nb", [[["x"]]]]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    place=st.sampled_from(
        [("images", key) for key in COCO["images"][1]]
        + [("annotations", key) for key in COCO["annotations"][1]]
        + [("images", None), ("annotations", None)]
    ),
    new=JSON,
)
def test_any_value_in_the_last_record_of_coco(folder, place, new):
    kind, key = place
    *before, last = COCO[kind]
    content = COCO | {kind: [*before, new if key is None else last | {key: new}]}
    text = json.dumps(content)
    (folder / "a.json").write_text(text)
    check(folder, read_coco(folder / "a.json"))
