"""VOC as programs write it: numbers, folders, names, encodings, and from where corners count."""

import numpy as np
import pytest
from PIL import Image

from atelier.errors import DataError
from detection.annotations import read_dataset, voc
from detection.annotations.pages import parse
from detection.annotations.voc import read_voc
from detection.annotations.voc_folders import key_of

BOX = [10, 5, 30, 20]
PASCAL = (
    "<source><database>The VOC2007 Database</database>"
    "<annotation>PASCAL VOC2007</annotation></source>"
)


def draw(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)


def thing(box=BOX, name="cat", more="") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    corners = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def page(*things, file="a.jpg", more="", size="<size><width>60</width><height>40</height></size>"):
    return f"<annotation><filename>{file}</filename>{more}{size}{''.join(things)}</annotation>"


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def one(folder, **options):
    """The boxes of the one picture, read without fault."""
    found = read_dataset(folder, strict=True, **options)
    (item,) = found.items
    return item.boxes.tolist()


@pytest.fixture
def put_page(tmp_path):
    """Writes the page of one picture, and returns the folder."""
    draw(tmp_path / "JPEGImages" / "a.jpg")

    def write(text):
        put(tmp_path / "Annotations" / "a.xml", text)
        return tmp_path

    return write


# === Numbers ===


def test_numbers_have_any_number_of_decimals_and_exponents(put_page):
    box = ("10.70000076293945", "+5.369003690036901", "3.2E+1", ".2e2")
    np.testing.assert_allclose(one(put_page(page(thing(box)))), [[10.7, 5.369, 32, 20]], rtol=1e-6)
    assert one(put_page(page(thing(("10", "5.", "30." + "0" * 300, "20"))))) == [BOX]


@pytest.mark.parametrize("text", ["nan", "1e999", "1e", "0x10", "1_0", "١", "1,5", "9" * 12, "."])
def test_what_is_no_number_leaves_the_picture_out(put_page, text):
    folder = put_page(page(thing(), thing((1, 1, text, 9))))
    put(folder / "Annotations" / "b.xml", page(file="b.jpg"))
    draw(folder / "JPEGImages" / "b.jpg")
    found = read_voc(folder)
    assert [item.name for item in found.items] == ["b.jpg"]
    (fault,) = map(str, found.faults)
    assert fault.startswith("a.xml: object 2 (cat): <xmax> is ")
    assert fault.endswith("; its picture is left out")


def test_the_length_of_numbers_is_bounded(put_page, monkeypatch):
    monkeypatch.setattr("detection.annotations.pages.NUMBER_LENGTH", 5)
    with pytest.raises(DataError, match=r"<xmin> is '10\.000', not a number"):
        read_voc(put_page(page(thing(("10.000", 5, 30, 20)))))


# === From where corners count ===


def notes(folder, **options) -> str:
    return "\n".join(map(str, read_voc(folder, strict=True, **options).notes))


def test_corners_count_from_0_and_it_is_said_once(put_page):
    folder = put_page(page(thing(), thing()))
    assert one(folder) == [BOX, BOX]
    assert notes(folder) == (
        f"{folder.name}: corners count pixels from 0, as most programs write them; "
        "--voc-base 1 overrules"
    )


def test_pascals_own_files_count_from_1(put_page):
    folder = put_page(page(thing(), more=PASCAL))
    assert one(folder) == [[9, 4, 30, 20]]
    assert "corners count pixels from 1, as <source> says PASCAL" in notes(folder)
    assert one(folder, voc_base=0) == [BOX]
    put_page(page(thing(), thing((0, 5, 30, 20)), more=PASCAL))
    assert one(folder) == [BOX, [0, 5, 30, 20]], "a 0 anywhere settles it"
    assert "since there is a 0" in notes(folder)


def test_the_base_can_be_said(put_page):
    folder = put_page(page(thing((30, 20, 10, 5))))
    assert one(folder, voc_base=1) == [[9, 4, 30, 20]]
    assert "from 1, as --voc-base says" in notes(folder, base=1)


def test_a_mixed_set_counts_each_file_as_its_source_says(put_page):
    folder = put_page(page(thing(), more=PASCAL))
    draw(folder / "JPEGImages" / "b.jpg")
    put(folder / "Annotations" / "b.xml", page(thing(), file="b.jpg"))
    boxes = [item.boxes.tolist() for item in read_voc(folder).items]
    assert boxes == [[[9, 4, 30, 20]], [BOX]]
    assert "corners of 1 file count pixels from 1" in notes(folder)


# === Encodings ===


@pytest.mark.parametrize("name", ["iso-8859-1", "gb2312", "shift_jis", "euc-kr", "windows-1251"])
def test_pages_of_any_encoding_that_they_declare_are_read(put_page, name):
    label = {"iso-8859-1": "café", "euc-kr": "고양이", "windows-1251": "кот"}.get(name, "猫")
    text = f'<?xml version="1.0" encoding="{name}"?>' + page(thing(name=label))
    assert read_voc(put_page(text.encode(name))).classes == (label,)


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_unicode_pages_are_known_by_how_they_begin(put_page, name):
    text = '<?xml version="1.0"?>' + page(thing(name="猫"))
    assert read_voc(put_page(text.encode(name))).classes == ("猫",)


def test_pages_that_say_utf_16_and_are_utf_8_are_read(put_page):
    text = '<?xml version="1.0" encoding="utf-16"?>' + page(thing(name="猫"))
    assert read_voc(put_page(text)).classes == ("猫",)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("ascii", "not text, as it declares (ascii)"),
        ("klingon", "it declares the encoding 'klingon', which is not known"),
        ("base64", "it declares the encoding 'base64', which is not known"),
        ("utf-7", "it declares the encoding 'utf-7', which is not known"),
    ],
)
def test_an_encoding_that_does_not_fit_is_named(put_page, declared, reason):
    text = f'<?xml version="1.0" encoding="{declared}"?>' + page(thing(name="猫"))
    with pytest.raises(DataError) as error:
        read_voc(put_page(text))
    assert reason in str(error.value)


# === Objects ===


@pytest.mark.parametrize(
    ("element", "box"),
    [
        ("<polygon><x1>10</x1><y1>5</y1><x2>30.5</x2><y2>9</y2><x3>12</x3><y3>20</y3></polygon>",
         [10, 5, 30.5, 20]),
        ("<polygon><pt><x>10</x><y>5</y></pt><pt><x>30</x><y>20</y></pt></polygon>", BOX),
        ("<robndbox><cx>20</cx><cy>10</cy><w>4</w><h>8</h><angle>1.5707963</angle></robndbox>",
         [16, 8, 24, 12]),
    ],
)  # fmt: skip
def test_an_outline_gives_the_box_and_it_is_said(put_page, element, box):
    folder = put_page(page(f"<object><name>cat</name>{element}</object>"))
    np.testing.assert_allclose(one(folder), [box], atol=1e-5)
    assert "1 object without a box: the box around the outline is taken" in notes(folder)


def test_objects_that_were_deleted_are_none(put_page):
    assert one(put_page(page(thing(), thing(more="<deleted>1</deleted>")))) == [BOX]


@pytest.mark.parametrize("name", ["نیم\u200cفاصله", "x" * 101, "a  b", "émoji 🐈\u200d⬛"])
def test_class_names_are_of_any_script_and_length(put_page, name):
    assert read_dataset(put_page(page(thing(name=name))), strict=True).classes == (name,)


@pytest.mark.parametrize(
    "size",
    [
        "",
        "<size/>",
        "<size><width>0</width><height>0</height></size>",
        "<size><width>x</width><height>40</height></size>",
    ],
)
def test_without_a_size_the_pictures_own_is_taken_and_said(put_page, size):
    folder = put_page(page(thing(), size=size))
    assert one(folder) == [BOX]
    assert "1 picture without a stated size: the picture's own is taken (a.xml)" in notes(folder)


# === Folders ===


def test_folders_below_are_read_at_every_level(tmp_path):
    for stem in ("cam1/a", "cam 2/b", "c"):
        draw(tmp_path / "JPEGImages" / f"{stem}.jpg")
        name = stem.rpartition("/")[2]
        put(tmp_path / "Annotations" / f"{stem}.xml", page(thing(), file=f"{name}.jpg"))
    draw(tmp_path / "JPEGImages" / "cam1" / "nothing.jpg")
    draw(tmp_path / "JPEGImages" / "cam1" / "new.jpg")
    put(tmp_path / "ImageSets" / "Main" / "train.txt", 'cam1/a\n"cam 2/b"\ncam1/nothing\n')
    found = read_dataset(tmp_path, strict=True)
    counts = {item.name: len(item.boxes) for item in found.items}
    assert counts == {"c.jpg": 1, "cam 2/b.jpg": 1, "cam1/a.jpg": 1, "cam1/nothing.jpg": 0}
    said = "\n".join(map(str, found.notes))
    assert "taken as without objects (cam1/nothing.jpg)" in said
    assert "a place in a list: passed over (JPEGImages/cam1/new.jpg)" in said
    train = read_dataset(tmp_path, "train", strict=True)
    assert [item.name for item in train.items] == [
        *("cam1/a.jpg", "cam 2/b.jpg", "cam1/nothing.jpg")
    ]


@pytest.mark.parametrize(
    ("pages", "pictures"),
    [
        ("annots", "images"),
        ("annotations", "JPEGImages"),
        ("ANNOTATIONS", "Images"),
        ("annotations/xmls", "images"),
        ("labels", "data"),
        ("", "images"),
        ("", ""),
        ("train/annotations", "train/images"),
        ("train", "train"),
    ],
)
def test_folders_have_the_names_that_programs_give_them(tmp_path, pages, pictures):
    draw(tmp_path / pictures / "a.JPG")
    put(tmp_path / pages / "a.XML", page(thing()))
    assert one(tmp_path) == [BOX]
    assert one(tmp_path, split="train") == [BOX] if pages.startswith("train") else True


def test_folders_of_parts_are_splits(tmp_path):
    for part in ("train", "valid"):
        draw(tmp_path / part / f"{part}.jpg")
        name = {"train": "cat", "valid": "dog"}[part]
        put(tmp_path / part / f"{part}.xml", page(thing(name=name), file=f"{part}.jpg"))
    found = read_voc(tmp_path, "val", strict=True)
    assert [item.name for item in found.items] == ["valid/valid.jpg"]
    assert found.classes == ("cat", "dog")
    with pytest.raises(DataError, match="no split 'test' in ImageSets/Main; there are: train, val"):
        read_voc(tmp_path, "test")


def test_an_error_says_what_was_found(tmp_path):
    draw(tmp_path / "pictures" / "a.jpg")
    with pytest.raises(DataError, match=r"no XML files .*; found 1 \.jpg in pictures/"):
        read_voc(tmp_path)


def test_folders_that_are_links_are_named(put_page, tmp_path_factory):
    folder = put_page(page(thing()))
    (folder / "JPEGImages" / "more").symlink_to(tmp_path_factory.mktemp("more"))
    assert "1 folder passed over, as links (JPEGImages/more)" in notes(folder)


# === Pictures that EXIF turns ===


def put_turned(folder, name, box, size):
    """A picture stored as 60×40 and shown as 40×60."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / f"{name}.jpg"
    draw(path)
    Image.open(path).save(path, exif=exif)
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    put(folder / f"{name}.xml", page(thing(box), file=path.name, size=sides))


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (120, 80), (80, 120)])
def test_boxes_on_turned_pictures_are_as_the_set_says_whatever_the_size(tmp_path, size):
    factor = max(size) // 60
    put_turned(tmp_path, "a", [factor * side for side in (5, 5, 20, 50)], size)
    put_turned(tmp_path, "b", [factor * side for side in (1, 1, 9, 9)], size)
    a, b = read_voc(tmp_path, strict=True).items
    assert (a.size, a.boxes.tolist(), b.boxes.tolist()) == (
        (60, 40),
        [[5, 5, 20, 50]],
        [[1, 1, 9, 9]],
    )
    put_turned(tmp_path, "a", [factor * side for side in (5, 5, 50, 20)], size)
    a, b = read_voc(tmp_path, strict=True).items
    assert (a.boxes.tolist(), b.boxes.tolist()) == ([[20, 5, 35, 50]], [[31, 1, 39, 9]])
    (shown, _) = read_voc(tmp_path, exif="shown").items
    assert shown.boxes.tolist() == [[5, 5, 40, 20]]


# === Names ===


@pytest.mark.parametrize(
    "name",
    [
        "ein%20astronaut.jpg",
        "/data/local-files/?d=set/ein%20astronaut.jpg",
        "C:\\data\\photos\\ein astronaut.jpg",
        "/home/someone/ein astronaut.jpg",
        "../elsewhere/ein astronaut.jpg",
        "https://example.org/x/ein%20astronaut.jpg?size=1",
        "deep/ein astronaut.jpg",
        "JPEGImages/deep/ein astronaut.jpg",
        "EIN ASTRONAUT.JPG",
        "ein astronaut",
    ],
)
def test_pictures_named_by_other_machines_are_found_below_the_folder(tmp_path, name):
    draw(tmp_path / "JPEGImages" / "deep" / "ein astronaut.jpg")
    put(tmp_path / "Annotations" / "1.xml", page(thing(), file=name))
    assert one(tmp_path) == [BOX]


def test_a_pages_own_name_beats_a_stale_one(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path / f"{name}.jpg")
        put(tmp_path / f"{name}.xml", page(thing(name=name), file="a.jpg"))
    found = read_voc(tmp_path, strict=True)
    assert [(item.name, found.classes[item.labels[0]]) for item in found.items] == [
        ("a.jpg", "a"), ("b.jpg", "b"),
    ]  # fmt: skip


def test_a_picture_of_two_pages_is_that_of_its_name_and_the_other_is_a_fault(put_page):
    folder = put_page(page(thing()))
    put(folder / "Annotations" / "stale.xml", page(thing(), thing()))
    found = read_voc(folder)
    assert [len(item.boxes) for item in found.items] == [1]
    assert [str(fault) for fault in found.faults] == [
        "stale.xml: the picture 'JPEGImages/a.jpg' is that of a.xml, too"
    ]


def test_a_picture_of_two_pages_of_other_names_is_left_out(tmp_path):
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "c.jpg")
    for name, file in (("x", "a.jpg"), ("y", "a.jpg"), ("c", "c.jpg")):
        put(tmp_path / f"{name}.xml", page(thing(), file=file))
    found = read_voc(tmp_path)
    assert [item.name for item in found.items] == ["c.jpg"]
    assert [str(fault) for fault in found.faults] == [
        "x.xml: the picture 'a.jpg' is that of y.xml, too",
        "y.xml: the picture 'a.jpg' is that of x.xml, too",
    ]


def test_pictures_of_one_name_are_told_apart_by_what_is_stated(tmp_path):
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "a.png")
    put(tmp_path / "a.xml", page(thing(), file="renamed.png"))
    (item,) = read_voc(tmp_path, strict=True).items
    assert item.name == "a.png"
    put(tmp_path / "a.xml", page(thing(), file="a"))
    with pytest.raises(
        DataError, match=r"a\.xml: several pictures are of this name: a\.jpg, a\.png"
    ):
        read_voc(tmp_path)


def test_a_mask_of_the_same_name_is_not_the_picture(put_page):
    folder = put_page(page(thing()))
    (folder / "JPEGImages" / "a.jpg").rename(folder / "JPEGImages" / "other.jpg")
    for place in ("SegmentationClass", "JPEGImages/masks"):
        draw(folder / place / "a.png")
    with pytest.raises(DataError, match=r"a\.xml: the picture 'a\.jpg' is missing"):
        read_voc(folder)


def test_a_picture_without_a_suffix_is_read_where_it_is_named(tmp_path):
    draw(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "JPEGImages" / "a.jpg").rename(tmp_path / "JPEGImages" / "shot 1")
    put(tmp_path / "Annotations" / "1.xml", page(thing(), file="shot 1"))
    assert one(tmp_path) == [BOX]
    assert one(tmp_path, images=tmp_path / "JPEGImages") == [BOX]


def test_a_split_has_the_order_of_its_list_and_class_lists_add_nothing(tmp_path):
    for name in "abc":
        draw(tmp_path / "JPEGImages" / f"{name}.jpg")
        if name != "c":
            put(tmp_path / "Annotations" / f"{name}.xml", page(thing(), file=f"{name}.jpg"))
    lists = tmp_path / "ImageSets" / "Main"
    put(lists / "train.txt", "b\na\n")
    put(lists / "cat_train.txt", "b  1\nc -1\n")
    assert [item.name for item in read_voc(tmp_path, "train").items] == ["b.jpg", "a.jpg"]
    assert [item.name for item in read_voc(tmp_path).items] == ["a.jpg", "b.jpg"]
    (lists / "train.txt").unlink()
    assert len(read_voc(tmp_path)) == 3, "where there are no others, they count"


def test_names_in_lists_may_have_suffixes_and_flags(put_page):
    folder = put_page(page(thing()))
    for line in ("a", "a.jpg", "JPEGImages/a.jpg", "a  1", "a -1", '"a"'):
        put(folder / "imagesets" / "main" / "train.txt", line + "\n")
        assert one(folder, split="train") == [BOX], line
    put(folder / "imagesets" / "main" / "train.txt", "a\n".encode("utf-16"))
    assert one(folder, split="train") == [BOX]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Annotations/cam1/A.XML", "cam1/a"),
        ("JPEGImages/cam1/a.jpg", "cam1/a"),
        ("train/images/a.b.png", "train/a.b"),
        ("a.v2", "a.v2"),
        ("..\\x\\a.jpg", "x/a"),
        ("/images/a.jpg", "a"),
    ],
)
def test_keys_are_what_pages_and_pictures_share(name, key):
    assert key_of(name) == key


def test_pages_state_their_source():
    for source, own in (
        ("<database>The VOC2012 Database</database>", True),
        ("<annotation>PASCAL VOC2009</annotation>", True),
        ("<database>Unknown</database>", False),
        ("<database>roboflow.ai</database>", False),
    ):
        text = page(thing(), more=f"<source>{source}</source>")
        assert parse(text.encode()).pascal == own


def test_bytes_of_a_page_are_bounded(put_page, monkeypatch):
    monkeypatch.setattr(voc, "XML_BYTES", 100)
    with pytest.raises(DataError, match=r"a\.xml: larger than 100 bytes"):
        read_voc(put_page(page(thing())))
