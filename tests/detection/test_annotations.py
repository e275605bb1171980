"""Annotations of VOC, COCO and tensorflow-datasets: one result, faults by name, bounds."""

import io
import os
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atelier.errors import DataError
from atelier.media.images import load_image
from detection.annotations import join, keep_classes, read_backgrounds, read_dataset, voc
from detection.annotations.prepared import read_prepared
from detection.annotations.voc import read_voc

WIDTH, HEIGHT = 60, 40


def draw(path, size=(WIDTH, HEIGHT), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path, **options)


def thing(name="cat", box=(11, 6, 30, 20), **more) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    extra = "".join(f"<{key}>{value}</{key}>" for key, value in more.items())
    return f"<object><name>{name}</name>{extra}<bndbox>{sides}</bndbox></object>"


def page(*things, filename="a.jpg", size=(WIDTH, HEIGHT)) -> str:
    sides = f"<width>{size[0]}</width><height>{size[1]}</height><depth>3</depth>" if size else ""
    return (
        f"<annotation><folder>x</folder><filename>{filename}</filename>"
        f"<path>/somewhere/else.jpg</path>{f'<size>{sides}</size>' if size else ''}"
        f"{''.join(things)}</annotation>"
    )


@pytest.fixture
def folder(tmp_path):
    """Three pictures in VOC's form: a with two objects, b with one, c with none."""
    pages = {
        "a": page(thing(), thing("dog", (1, 1, WIDTH, HEIGHT), difficult=1)),
        "b": page(thing("dog", (2.5, 3, 4, 5.25)), filename="b.jpg"),
        "c": page(filename="c.jpg"),
    }
    for stem, text in pages.items():
        draw(tmp_path / "set" / "JPEGImages" / f"{stem}.jpg")
        put(tmp_path / "set", stem, text)
    lists = tmp_path / "set" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\nc\n\n")
    (lists / "cat_val.txt").write_text("a  1\nb -1\n")
    return tmp_path / "set"


def put(folder, stem, text):
    (folder / "Annotations").mkdir(exist_ok=True)
    content = text.encode() if isinstance(text, str) else text
    (folder / "Annotations" / f"{stem}.xml").write_bytes(content)


def fault(folder, **options) -> str:
    """The one fault of reading a folder; strictly read, the same is the error's text."""
    found = read_dataset(folder, **options)
    (line,) = map(str, found.faults)
    with pytest.raises(DataError) as error:
        read_dataset(folder, strict=True, **options)
    assert str(error.value) == f"{found.name}: {line}"
    assert "\n" not in line
    return line


# === Pascal VOC ===


def test_voc_by_hand(folder):
    found = read_voc(folder)
    assert found.name == "set"
    assert found.classes == ("cat", "dog")
    assert found.faults == ()
    assert [item.name for item in found.items] == ["a.jpg", "b.jpg", "c.jpg"]
    a, b, c = found.items
    assert a.boxes.dtype == np.float32
    assert a.labels.dtype == np.int64
    np.testing.assert_array_equal(a.boxes, [[11, 6, 30, 20], [1, 1, WIDTH, HEIGHT]])
    np.testing.assert_array_equal(a.labels, [0, 1])
    np.testing.assert_array_equal(a.difficult, [False, True])
    np.testing.assert_array_equal(a.crowd, [False, False])
    np.testing.assert_array_equal(b.boxes, [[2.5, 3, 4, 5.25]])
    assert (c.boxes.shape, c.labels.shape, c.crowd.dtype) == ((0, 4), (0,), bool)
    assert a.size == load_image(a.image).shape[:2] == (HEIGHT, WIDTH)


def test_a_split_is_a_list_and_has_the_classes_of_all(folder):
    found = read_dataset(folder, "train")
    assert [item.name for item in found.items] == ["b.jpg", "c.jpg"]
    assert (found.name, found.classes) == ("set train", ("cat", "dog"))
    assert [item.name for item in read_voc(folder, "cat_val").items] == ["a.jpg", "b.jpg"]


def test_classes_that_are_given_rule(folder):
    found = read_voc(folder, classes=("dog", "cat"))
    np.testing.assert_array_equal(found.items[0].labels, [1, 0])
    line = fault(folder, classes=("dogs",), split="train")
    assert line == "b.xml: object 1 (dog): 'dog' is none of the classes; is it 'dogs'?"


def test_labelimg_beside_the_pictures_with_names_that_differ(tmp_path):
    draw(tmp_path / "one.PNG")
    draw(tmp_path / "two.jpeg")
    (tmp_path / "one.xml").write_text(page(thing(), filename="renamed.jpg"))
    (tmp_path / "two.xml").write_bytes(b"\xef\xbb\xbf" + page(thing(), filename="two").encode())
    found = read_dataset(tmp_path)
    assert [item.image.name for item in found.items] == ["one.PNG", "two.jpeg"]
    assert found.faults == ()


def test_pictures_may_lie_elsewhere_if_the_user_says_so(folder, tmp_path):
    (folder / "JPEGImages").rename(tmp_path / "pictures")
    assert len(read_voc(folder, images=tmp_path / "pictures")) == 3


FAULTS = {
    "no area": (page(thing(box=(5, 5, 5, 9))), "object 1 (cat): the box 5 5 5 9 has no area"),
    "one of two": (
        page(thing(), thing("dog", (5, 5, 5, 5))),
        "object 2 (dog): the box 5 5 5 5 has no area; its picture is left out",
    ),
    "elsewhere": (
        page(thing(), thing("dog", (WIDTH + 2, 2, WIDTH + 9, 9))),
        "9 9 is in the picture of 60×40; its picture is left out",
    ),
    "nan": (page(thing(box=("nan", 1, 2, 3))), "object 1 (cat): <xmin> is 'nan', not a number"),
    "infinite": (page(thing(box=(1, 1, "inf", 3))), "<xmax> is 'inf', not a number"),
    "no corner": (page(thing().replace("<ymin>6</ymin>", "")), "object 1 (cat): no <ymin>"),
    "no box": (page("<object><name>cat</name></object>"), "object 1 (cat): no <bndbox>"),
    "no name": (page(thing("")), "object 1: no <name>"),
    "other size": (page(size=(40, 50)), "the picture is 60×40, but the annotations say 40×50"),
    "turned size": (
        page(thing(box=(2, 30, 9, 55)), size=(40, 60)),
        "the picture is 60×40, but the annotations say 40×60, with boxes that leave it",
    ),
    "malformed": ("<annotation><object></annotation>", "malformed XML (mismatched tag"),
    "empty": ("", "malformed XML (no element found"),
    "other root": ("<svg/>", "<svg> is no VOC annotation"),
    "bytes": (b"\xff\x00\x80<annotation/>", "not UTF-8 text"),
    "NUL": ("<annotation>\0</annotation>", "malformed XML"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_by_file_and_object_and_the_rest_is_read(folder, name):
    text, reason = FAULTS[name]
    put(folder, "a", text)
    line = fault(folder)
    assert line.startswith("a.xml: ")
    assert reason in line
    found = read_voc(folder)
    assert [item.name for item in found.items] == ["b.jpg", "c.jpg"]
    assert len(found.items[0].boxes) == 1


def test_a_missing_picture_is_named(folder):
    (folder / "JPEGImages" / "a.jpg").unlink()
    assert fault(folder) == "a.xml: the picture 'a.jpg' is missing"


def test_a_picture_that_is_none_is_named(folder):
    (folder / "JPEGImages" / "a.jpg").write_text("text")
    assert fault(folder).startswith("a.xml: the picture cannot be read (cannot identify")


def test_a_listed_name_without_a_file_is_named(folder):
    (folder / "ImageSets" / "Main" / "train.txt").write_text("b\nz\n")
    assert fault(folder, split="train") == "z.xml: no such file, nor a picture of the name"


def test_the_size_is_that_after_the_exif_rotation(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(folder / "JPEGImages" / "a.jpg", (HEIGHT, WIDTH), exif=exif)
    found = read_voc(folder)
    assert found.faults == ()
    assert found.items[0].size == load_image(found.items[0].image).shape[:2] == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("source", "split", "reason"),
    [
        ("nowhere", None, "no such folder"),
        ("set", "tren", "no split 'tren' in ImageSets/Main; there are: cat_val, train"),
        ("set/JPEGImages", None, "no XML files"),
    ],
)
def test_what_is_no_set_is_one_line(folder, source, split, reason):
    with pytest.raises(DataError, match=reason):
        read_dataset(folder.parent / source, split)


def test_if_nothing_is_left_that_is_an_error_with_the_first_fault(folder):
    for file in (folder / "JPEGImages").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"set: no annotated picture; the first fault: a.xml: "):
        read_voc(folder)


# === XML of unknown origin ===

DOCUMENT_TYPE = '<!DOCTYPE annotation [<!ENTITY x "cat">]>' + page(thing("&x;"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("start", ["<!DOCTYPE annotation>", '<!ENTITY x "cat">'])
def test_document_types_are_refused_in_any_encoding(folder, start, encoding):
    put(folder, "a", (start + page(thing())).encode(encoding))
    assert fault(folder).startswith("a.xml: refused: it declares a document type")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_other_encodings_are_no_annotations(folder, encoding):
    put(folder, "a", f'<?xml version="1.0" encoding="{encoding}"?>{DOCUMENT_TYPE}'.encode(encoding))
    assert fault(folder).startswith("a.xml: ")
    assert [item.name for item in read_voc(folder).items] == ["b.jpg", "c.jpg"]


def test_an_entity_that_is_not_declared_is_malformed(folder):
    put(folder, "a", page(thing("&x;")))
    assert "malformed XML (undefined entity" in fault(folder)


def test_bytes_of_a_page_are_bounded(folder, monkeypatch):
    put(folder, "a", "<annotation><annotation></annotation>")
    assert "malformed XML" in fault(folder)
    monkeypatch.setattr(voc, "XML_BYTES", 1000)
    put(folder, "a", page() + " " * 1000)
    assert fault(folder) == "a.xml: larger than 1,000 bytes"


@pytest.mark.parametrize(
    "name",
    ["../../secret.jpg", "/elsewhere/a.png", "..\\secret.jpg", "C:\\x.jpg", "x/../../secret.jpg"],
)
def test_names_that_lead_out_of_the_folder_lead_nowhere(folder, name):
    draw(folder.parent / "secret.jpg")
    put(folder, "a", page(filename=name))
    assert read_voc(folder).items[0].image == folder / "JPEGImages" / "a.jpg"
    (folder / "JPEGImages" / "a.jpg").unlink()
    assert fault(folder) == f"a.xml: the picture {name!r} is missing"


def test_links_that_lead_out_of_the_folder_are_refused(folder):
    draw(folder.parent / "secret.jpg")
    (folder / "JPEGImages" / "a.jpg").unlink()
    (folder / "JPEGImages" / "a.jpg").symlink_to(folder.parent / "secret.jpg")
    assert fault(folder) == "a.xml: 'JPEGImages/a.jpg' is a link that leads out of the folder"
    (folder / "Annotations" / "a.xml").unlink()
    (folder / "Annotations" / "a.xml").symlink_to("/elsewhere/a.png")
    assert fault(folder) == "a.xml: 'Annotations/a.xml' is a link that leads out of the folder"


@pytest.mark.parametrize("name", ["JPEGImages", "Annotations"])
def test_a_folder_that_is_a_link_out_is_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"'{name}' is a link that leads out"):
        read_voc(folder)


def test_a_split_cannot_lead_out(folder):
    (folder.parent / "out.txt").write_text("b")
    with pytest.raises(DataError, match=r"no split '../../../out' in ImageSets/Main"):
        read_voc(folder, "../../../out")
    draw(folder.parent / "secret.jpg")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("b\n../../secret\n")
    found = read_voc(folder, "train")
    assert [item.name for item in found.items] == ["b.jpg"]
    assert [str(each) for each in found.faults] == [
        "secret.xml: no such file, nor a picture of the name"
    ]


def test_odd_names_are_faults_and_print_on_one_line(folder):
    (folder / "JPEGImages" / "a.jpg").rename(folder / "JPEGImages" / "other.jpg")
    put(folder, "a", page(filename="x" * 500))
    assert len(fault(folder)) < 200
    put(folder, "a", page(thing("cat\n\t\u202eevil"), filename="other.jpg"))
    line = fault(folder, classes=["cat", "dog"])
    assert line.isprintable()


def test_a_pipe_is_not_waited_for(folder):
    (folder / "Annotations" / "a.xml").unlink()
    os.mkfifo(folder / "Annotations" / "a.xml")
    assert fault(folder) == "a.xml: cannot be read (not a file, but a pipe or a device)"


# === tensorflow-datasets ===


def encoded() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(file, "JPEG")
    return file.getvalue()


def example(corners, label, **flags) -> dict:
    sides = np.asarray([HEIGHT, WIDTH] * 2, np.float32)
    objects = {
        "bbox": np.asarray(corners, np.float32).reshape(-1, 4) / sides,
        "label": np.asarray(label, np.int64),
        **{key: np.asarray(value, bool) for key, value in flags.items()},
    }
    return {"image": encoded(), "image/filename": b"a.jpg", "objects": objects}


@pytest.fixture
def prepared(monkeypatch):
    """Gives `have(examples)`, which takes the place of tensorflow-datasets."""
    asked = []

    def have(examples):
        def builder(name, data_dir=None):
            def as_dataset(split, decoders):
                assert decoders == {"image": "undecoded"}
                asked.append((name, data_dir, split))
                if examples is None:
                    raise AssertionError("Dataset voc: could not find\n data in /somewhere.")
                return SimpleNamespace(as_numpy_iterator=lambda: iter(examples))

            label = SimpleNamespace(names=["car", "cup"])
            info = SimpleNamespace(features={"objects": {"label": label}})
            return SimpleNamespace(info=info, as_dataset=as_dataset)

        decode = SimpleNamespace(SkipDecoding=lambda: "undecoded")
        fake = SimpleNamespace(builder=builder, decode=decode)
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
        return asked

    return have


def test_prepared_voc_has_its_pixels_counted_from_1(prepared):
    corners = [[6, 11, 20, 30]]  # y x y x, as VOC has them, divided.
    asked = prepared([example(corners, [1], is_difficult=[True])])
    found = read_dataset("voc/2007", "test")
    assert asked == [("voc/2007", None, "test")]
    assert (found.name, found.classes) == ("voc/2007 test", ("car", "cup"))
    (item,) = found.items
    np.testing.assert_array_equal(item.boxes, [[10, 5, 30, 20]])
    assert (item.labels.tolist(), item.difficult.tolist()) == ([1], [True])
    assert item.size == load_image(item.image).shape[:2] == (HEIGHT, WIDTH)
    assert found.faults == ()


def test_a_prepared_object_at_fault_costs_its_picture(prepared):
    prepared([example([[6, 11, 20, 30], [7, 7, 7, 7]], [1, 0]), example([], [])])
    found = read_dataset("voc/2007", "test")
    assert [len(item.boxes) for item in found.items] == [0]
    assert [str(f) for f in found.faults] == [
        "a.jpg: object 2 (car): the box 7 7 7 7 has no area; its picture is left out"
    ]


def test_prepared_coco_is_continuous(prepared, tmp_path):
    asked = prepared([example([[1, 2, 10, 20.5]], [0], is_crowd=[True]), example([], [])])
    found = read_prepared("coco/2017", "train[:2]", folder=tmp_path, classes=("cup", "car"))
    assert asked == [("coco/2017", str(tmp_path), "train[:2]")]
    item, empty = found.items
    np.testing.assert_allclose(item.boxes, [[2, 1, 20.5, 10]], atol=1e-5)
    assert (item.labels.tolist(), item.crowd.tolist()) == ([1], [True])
    assert empty.boxes.shape == (0, 4)


def test_what_is_not_prepared_is_one_line_with_a_way_out(prepared):
    prepared(None)
    with pytest.raises(DataError, match=r"could not find data in .*tfds build voc/2007") as error:
        read_dataset("voc/2007")
    assert "\n" not in str(error.value)


# === Choosing, joining, and pictures of nothing ===


def test_classes_that_are_kept_rule_and_pictures_stay(folder):
    found = keep_classes(read_voc(folder), ("dog",))
    assert found.classes == ("dog",)
    a, b, c = found.items
    np.testing.assert_array_equal(a.boxes, [[1, 1, WIDTH, HEIGHT]])
    assert (a.labels.tolist(), a.difficult.tolist(), a.crowd.tolist()) == ([0], [True], [False])
    assert b.labels.tolist() == [0]
    assert c.labels.dtype == a.labels.dtype == np.int64
    (a, *_) = keep_classes(read_voc(folder), ("dog", "cat")).items
    assert a.labels.tolist() == [1, 0]
    (_, b, c) = keep_classes(read_voc(folder), ("cat",)).items
    assert (b.boxes.shape, c.boxes.shape, b.crowd.dtype) == ((0, 4), (0, 4), bool)


def test_a_class_that_is_unknown_cannot_be_kept(folder):
    with pytest.raises(DataError, match=r"^set: no class 'co\?w'; there are cat, dog$"):
        keep_classes(read_voc(folder), ("cat", "co\nw"))


def test_sets_are_joined_in_order_with_their_faults(folder):
    first = read_voc(folder, "train")
    shutil.copytree(folder, folder.parent / "more")
    (folder.parent / "more" / "JPEGImages" / "a.jpg").unlink()
    both = join([first, read_voc(folder.parent / "more")])
    assert both.name == "set train + more"
    assert [item.name for item in both.items] == ["b.jpg", "c.jpg", "b.jpg", "c.jpg"]
    assert [str(each) for each in both.faults] == ["a.xml: the picture 'a.jpg' is missing"]
    assert join([first]).items == first.items


def test_joined_sets_have_the_classes_of_all(folder):
    shutil.copytree(folder, folder.parent / "more")
    both = join([keep_classes(read_voc(folder.parent / "more"), ("dog",)), read_voc(folder)])
    assert both.classes == ("dog", "cat")
    assert [item.labels.tolist() for item in both.items] == [[0], [0], [], [1, 0], [0], []]
    assert both.items[0].labels.dtype == both.items[3].labels.dtype == np.int64


def test_a_picture_of_several_sets_is_one_with_the_objects_of_all(folder):
    """As where one person drew the dogs, and another the cats."""
    whole = read_voc(folder)
    both = join([keep_classes(whole, ("dog",)), keep_classes(whole, ("cat",)), whole])
    assert [item.name for item in both.items] == ["a.jpg", "b.jpg", "c.jpg"]
    a, b, c = both.items
    np.testing.assert_array_equal(a.boxes, whole.items[0].boxes[::-1])
    assert [both.classes[label] for label in a.labels] == ["dog", "cat"]
    assert (a.difficult.tolist(), a.crowd.tolist()) == ([True, False], [False, False])
    assert (len(b.boxes), c.boxes.shape, a.boxes.dtype) == (1, (0, 4), np.float32)
    assert both.notes[-1].text == (
        "3 pictures are in several of these: their objects are put together (a.jpg)"
    )


def test_backgrounds_have_nothing_on_them(folder, tmp_path):
    draw(tmp_path / "walls" / "b.PNG", (50, 30))
    draw(tmp_path / "walls" / "a.jpg")
    (tmp_path / "walls" / "z.jpg").write_text("text")
    (tmp_path / "walls" / "notes.txt").write_text("text")
    found = read_backgrounds(tmp_path / "walls", ("cat", "dog"))
    assert (found.name, found.classes) == ("walls", ("cat", "dog"))
    assert [(item.name, item.size) for item in found.items] == [
        ("a.jpg", (HEIGHT, WIDTH)), ("b.PNG", (30, 50)),
    ]  # fmt: skip
    assert all(item.boxes.shape == (0, 4) for item in found.items)
    assert [each.file for each in found.faults] == ["z.jpg"]
    assert len(join([read_voc(folder), found])) == 5


def test_no_backgrounds_are_one_line(tmp_path):
    with pytest.raises(DataError, match="none: no such folder"):
        read_backgrounds(tmp_path / "none", ("cat",))
    with pytest.raises(DataError, match="no annotated picture"):
        read_backgrounds(tmp_path, ("cat",))
