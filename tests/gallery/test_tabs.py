"""The tabs' handlers, called as Gradio would, and the command lines that they give."""

import subprocess
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

import classify.run
import detection.run
import nst
import nst.run
from atelier import cli
from atelier.errors import AtelierError, ImageError
from atelier.media.images import load_image, load_picture, sample, save_image
from atelier.progress import Step
from cartoon.config import PRESETS
from detection import DetectConfig, Detections
from detection.predict import EMBEDDED, Detector
from gallery.web.limits import Limits, limits, set_limits
from gallery.web.tabs import cartoon as cartoon_tab
from gallery.web.tabs import classify as classify_tab
from gallery.web.tabs import detection as detection_tab
from gallery.web.tabs import parts
from gallery.web.tabs import stylize as stylize_tab
from gallery.web.tabs import superres as superres_tab


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of uploads and results."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.fixture
def give(tmp_path):
    """Makes a `Picture` of an array, as if it had been uploaded."""

    def make(image: np.ndarray, name: str = "photo.png") -> parts.Picture:
        path = tmp_path / f"upload-{len(list(tmp_path.iterdir()))}.png"
        save_image(path, image)
        return parts.Picture(image, str(path), name)

    return make


@pytest.fixture
def sampled():
    """Makes a `Picture` of a file of scikit-image's."""
    return lambda name: parts.Picture(load_image(sample(name)), str(sample(name)), name)


@pytest.fixture
def upload(tmp_path) -> parts.Picture:
    """A grey photo of 12 bits in 16, as the page reads it when it is uploaded."""
    values = np.linspace(0, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "deep.png")
    read = load_picture(tmp_path / "deep.png", alpha="keep")
    return parts.Picture(read.image, str(tmp_path / "deep.png"), "deep.png", read.metadata)


def test_the_page_says_how_pixels_were_converted(upload):
    note = "its values end at 4,095: taken for 12 bits in 16"
    assert note in superres_tab.upscale(upload, 2, "clean")[3]
    assert note in classify_tab.classify(upload, "squeeze")[3]
    assert note in detection_tab.detect(upload, EMBEDDED[0], 0.5)[3]
    assert note in cartoon_tab.cartoonize(upload, "fine", "color")[2]


def words(line: str) -> list[str]:
    """What a shell makes of a command line: its words after `python -m`, paths of scikit-image's
    pictures being "sample"."""
    python = '[ "$1" = -m ] && printf "%s\\0" "$@" || echo sample'
    script = f"python() {{ {python}; }}; {line}"
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    dash, *rest = said.stdout.split("\0")[:-1]
    assert dash == "-m"
    return rest


# === Parts ===


@pytest.mark.parametrize(
    "name", ["photo.jpg", "two words.jpg", "it's.png", "-x.png", "$(touch oops).png", "#1;a&b.png"]
)
def test_names_of_any_kind_are_one_word_of_the_command(name, give, photo):
    arguments = classify.run.RunArguments(fit="crop")
    program, given, *flags = words(parts.command_line("classify.run", arguments, give(photo, name)))
    assert program == "classify.run"
    assert Path(given).name == name
    assert not given.startswith("-")
    assert flags == ["--fit", "crop"]


def test_a_new_line_in_a_name_does_not_end_the_command(give, photo):
    line = parts.command_line(
        "classify.run", classify.run.RunArguments(), give(photo, "a\ntouch oops.png")
    )
    assert len(line.splitlines()) == 1
    assert len(words(line)) == 2


def test_a_colour_is_no_comment(give, photo):
    arguments = cartoon_tab.RunArguments(background="#ffcc00")
    line = parts.command_line("cartoon.run", arguments, give(photo))
    assert words(line)[2:] == ["--background", "#ffcc00"]


def test_scikit_images_own_picture_is_named_where_it_is(sampled):
    word = parts.shell_word(sampled("chelsea.png"))
    assert 'sample("chelsea.png")' in word
    shell = subprocess.run(
        ["bash", "-c", f'python() {{ echo "$2"; }}; printf %s {word}'],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    exec(shell.stdout.replace("print(", "found.update(path="), {"found": found})
    assert found["path"] == sample("chelsea.png")


def test_another_picture_of_the_same_name_is_not(give, photo):
    assert parts.shell_word(give(photo, "chelsea.png")) == "chelsea.png"


def test_uploads_know_their_own_names(give, photo):
    file = give(photo)
    payload = ImageData(path=file.path, orig_name="../../holiday.png")
    given = parts.Upload().preprocess(payload)
    np.testing.assert_array_equal(given.image, photo)
    assert given.name == "holiday.png"
    assert parts.Upload().preprocess(None) is None


def test_results_say_what_the_upload_says(tmp_path, tagged, some):
    path = tmp_path / "photo.jpg"
    tagged.write(path)
    given = parts.Upload().preprocess(ImageData(path=str(path), orig_name="photo.jpg"))
    enlarged = superres_tab.upscale(given, 2, "auto")[0]
    _, drawn, _, _, _, found = detection_tab.detect(given, EMBEDDED[0], 0.5)
    redrawn = detection_tab.redraw(found, 0.2)[1]
    for file in (enlarged, drawn, redrawn):
        assert tagged.read(file) == tagged.kept


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("not a picture")
    with pytest.raises(gr.Error, match=r"text\.jpg: not a picture"):
        parts.Upload().preprocess(ImageData(path=str(path), orig_name="text.jpg"))


@pytest.mark.parametrize(
    "tab", [classify_tab, stylize_tab, cartoon_tab, superres_tab, detection_tab]
)
def test_examples_are_pictures_that_are_there(tab):
    examples = tab.EXAMPLES
    examples = sum(examples.values(), ()) if isinstance(examples, dict) else examples
    assert examples
    for example in examples:
        path = Path(example.put())
        assert path.name == example.file
        assert load_image(path).ndim == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda: classify_tab.classify(None, "squeeze"),
        lambda: stylize_tab.stylize(None, "ink"),
        lambda: cartoon_tab.cartoonize(None, "fine", "transparent"),
        lambda: superres_tab.upscale(None, 2, "auto"),
        lambda: detection_tab.detect(None, EMBEDDED[0], 0.5),
    ],
)
def test_without_a_photo_there_is_one_line(call):
    with pytest.raises(ImageError, match="choose a photo first"):
        call()


ODD = {
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "a strip": np.tile(np.arange(300, dtype=np.uint8)[None, :, None] % 251, (5, 1, 3)),
    "transparent": np.zeros((40, 50, 4), np.uint8),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "call",
    [
        lambda picture: classify_tab.classify(picture, "crop")[2],
        lambda picture: cartoon_tab.cartoonize(picture, "fine", "transparent")[1],
        lambda picture: cartoon_tab.cartoonize(picture, "none", "photo")[1],
        lambda picture: superres_tab.upscale(picture, 3, "auto")[0],
        lambda picture: detection_tab.detect(picture, EMBEDDED[0], 0.5)[1],
    ],
    ids=["classify", "cartoon", "cut-out", "superres", "detection"],
)
def test_odd_pictures_are_done_too(call, kind, give):
    assert load_image(call(give(ODD[kind]))).size


def test_a_picture_that_is_gone_is_not_named_by_its_place(tmp_path):
    with pytest.raises(ImageError, match="the server no longer has this picture") as caught:
        superres_tab.look(superres_tab.Enlarged(str(tmp_path / "gone.png"), 2, "clean"), 50, 50)
    assert str(tmp_path) not in str(caught.value)


# === Classify ===


def test_a_cat_is_named_and_explained(sampled):
    answer, bars, heat, told, command = classify_tab.classify(sampled("chelsea.png"), "squeeze")
    assert answer.startswith("Cat\n")
    assert next(iter(bars)) == "cat"
    assert len(bars) == 10
    assert sum(bars.values()) == pytest.approx(1, abs=1e-5)
    assert load_image(heat).shape == (300, 451, 3)
    assert "network strong" in told
    assert "--gradcam" in command


def test_none_of_the_ten_is_said_first(sampled):
    answer, bars, *_ = classify_tab.classify(sampled("coffee.png"), "squeeze")
    assert answer.startswith("None of the ten\n")
    assert next(iter(bars)) in answer


def test_only_the_middle_is_explained_where_only_that_is_seen(give, photo):
    _, _, heat, _, command = classify_tab.classify(give(photo[:40]), "crop")
    assert load_image(heat).shape == (40, 40, 3)
    parsed = cli.parse(classify.run.RunArguments, words(command)[1:])
    assert parsed == classify.run.RunArguments(
        inputs=("photo.png",), fit="crop", top=10, gradcam=True
    )


def test_transparent_pictures_are_laid_on_white(give, photo):
    clear = np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])
    _, bars, *_ = classify_tab.classify(give(clear), "squeeze")
    _, white, *_ = classify_tab.classify(give(np.full_like(photo, 255)), "squeeze")
    assert bars == white


# === Cartoon ===


@pytest.mark.parametrize(
    ("background", "channels"),
    [("transparent", 4), ("color", 3), ("photo", 3), ("picture", 3)],
)
def test_a_person_is_laid_on_any_background(background, channels, sampled, give, painting):
    astronaut = sampled("astronaut.png")
    behind = give(painting, "my beach.png")
    answer, file, _, command = cartoon_tab.cartoonize(
        astronaut, "fine", background, "#00ff00", behind
    )
    image = load_image(file, alpha="keep")
    assert answer == ""
    assert image.shape == (512, 512, channels)
    corner = image[100, 380]  # Beside her head.
    expected = {"transparent": 0, "color": (0, 255, 0), "photo": astronaut.image[100, 380]}
    if background == "transparent":
        assert corner[3] == 0
    elif background in expected:
        np.testing.assert_array_equal(corner, expected[background])
    parsed = cli.parse(cartoon_tab.RunArguments, words(command)[1:], presets=PRESETS)
    names = {"color": "#00ff00", "picture": "my beach.png"}
    assert parsed.background == names.get(background, background)
    assert (parsed.method, parsed.draw) == ("fine", True)


@pytest.mark.parametrize(
    ("picked", "named"),
    [
        ("rgba(251.9, 3, 8.2, 1)", "#fc0308"),
        ("rgba(255, 0, 0, 0.5)", "#ff000080"),
        ("rgb(1, 2, 3)", "#010203"),
        ("#ffcc00", "#ffcc00"),
        ("white", "white"),
    ],
)
def test_any_picked_colour_is_one_of_the_commands(picked, named):
    assert cartoon_tab.hexadecimal(picked) == named


def test_what_is_no_colour_gives_one_line(sampled):
    for nonsense in ("rgba(1, , 2)", "blurple", str(sample("coffee.png"))):
        with pytest.raises(AtelierError, match="no colour"):
            cartoon_tab.cartoonize(sampled("astronaut.png"), "fine", "color", nonsense)


def test_the_reports_drawing_and_none_at_all(sampled):
    astronaut = sampled("astronaut.png")
    images, parsed = {}, {}
    for drawing in ("report", "none"):
        _, file, _, command = cartoon_tab.cartoonize(astronaut, drawing, "transparent")
        images[drawing] = load_image(file, alpha="keep")
        parsed[drawing] = cli.parse(cartoon_tab.RunArguments, words(command)[1:], presets=PRESETS)
    inside = np.s_[350:400, 200:260]
    original = astronaut.image[inside].astype(int)
    assert np.abs(images["none"][inside][..., :3] - original).mean() < 2
    assert np.abs(images["report"][inside][..., :3] - original).mean() > 5
    assert parsed["report"].method == "report"
    assert not parsed["none"].draw


def test_nobody_is_said_plainly(sampled):
    answer, file, *_ = cartoon_tab.cartoonize(sampled("chelsea.png"), "fine", "transparent")
    assert answer.startswith("Nobody was found")
    assert load_image(file, alpha="keep").shape == (300, 451, 3)


def test_a_picture_for_the_background_must_be_given(sampled):
    with pytest.raises(ImageError, match="picture for the background"):
        cartoon_tab.cartoonize(sampled("chelsea.png"), "fine", "picture")


# === Super-resolution ===


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_detail_is_what_the_whole_has_there(scale, give, photo):
    picture = give(photo)
    file, detail, whole, _, command, done, across, down = superres_tab.upscale(
        picture, scale, "clean"
    )
    result = load_image(file)
    assert result.shape == (96 * scale, 96 * scale, 3)
    np.testing.assert_array_equal(load_image(whole[1]), result)
    assert load_image(whole[0]).shape == result.shape
    assert 0 <= across <= 100
    assert 0 <= down <= 100
    assert load_image(detail[1]).shape == load_image(detail[0]).shape
    for place in ((0, 0), (100, 100), (37, 81)):
        _, network = superres_tab.look(done, *place)
        shown = load_image(network)[::4, ::4]
        side = shown.shape[0]
        left, top = (scale * round(p / 100 * (96 - side // scale)) for p in place)
        np.testing.assert_array_equal(shown, result[top : top + side, left : left + side])
    parsed = cli.parse(superres_tab.RunArguments, words(command)[1:])
    assert (parsed.scale, parsed.model) == (scale, "clean")


def test_bicubic_is_bicubic(give, photo):
    *_, done, _, _ = superres_tab.upscale(give(photo), 2, "clean")
    before, _ = superres_tab.look(done, 50, 50)
    whole = np.asarray(Image.fromarray(photo).resize((192, 192), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(load_image(before)[::4, ::4], whole[16:176, 16:176])


def test_the_file_is_judged_not_its_pixels(tmp_path, photo):
    path = tmp_path / "photo.jpg"
    save_image(path, photo, quality=60)
    picture = parts.Picture(load_image(path), str(path), "photo.jpg")
    _, _, _, told, _, done, _, _ = superres_tab.upscale(picture, 2, "auto")
    assert "JPEG of quality 60" in told
    assert done.model == "compressed"


def test_an_upload_that_was_swept_is_one_line_without_its_path(give, photo):
    picture = give(photo)
    Path(picture.path).unlink()
    with pytest.raises(ImageError) as caught:
        superres_tab.upscale(picture, 2, "auto")
    assert str(caught.value) == "the server no longer has this picture: give it once more"


def test_the_example_is_the_commands_own():
    example = superres_tab.EXAMPLES[0]
    path = example.put()
    picture = parts.Picture(load_image(path), path, example.file)
    assert superres_tab.upscale(picture, 2, "auto")[4] == "python -m superres.run"


def test_large_results_are_refused_in_one_line(give, monkeypatch, photo):
    monkeypatch.setattr(superres_tab, "MEGAPIXELS", 0.1)
    with pytest.raises(ImageError, match=r"96×96 at scale 4 is 384×384, more than the 0\.1"):
        superres_tab.upscale(give(photo), 4, "auto")
    superres_tab.upscale(give(photo), 2, "auto")


def test_large_results_are_shown_reduced_and_given_whole(give, monkeypatch, photo):
    monkeypatch.setattr(superres_tab, "SHOWN", 100)
    file, _, whole, *_ = superres_tab.upscale(give(photo), 2, "clean")
    assert load_image(file).shape[0] == 192
    assert [load_image(shown).shape[0] for shown in whole] == [100, 100]


# === Detection ===


@pytest.fixture
def some(monkeypatch):
    """A detector's answer, and the list of its questions."""
    asked = []

    def detect(self, image):
        asked.append(image.shape)
        label = self.classes[0]
        boxes = np.float32([[10, 10, 60, 60], [20, 30, 50, 90]])
        return Detections(boxes, np.float32([0.9, 0.3]), (label, label))

    monkeypatch.setattr(Detector, "detect", detect)
    return asked


def test_another_threshold_asks_the_network_no_second_time(give, photo, some):
    picture = give(photo)
    model = EMBEDDED[0]
    answer, file, table, _, command, found = detection_tab.detect(picture, model, 0.5)
    assert answer.startswith("1 ")
    assert len(table) == 1
    assert table[0][2:] == [10, 10, 60, 60]
    assert not np.array_equal(load_image(file), photo)
    more, redrawn, both, _, other = detection_tab.redraw(found, 0.2)
    assert more.startswith("2 ")
    assert len(both) == 2
    assert not np.array_equal(load_image(redrawn), load_image(file))
    nothing, plain, none, _, _ = detection_tab.redraw(found, 0.95)
    assert nothing.startswith("Nothing was found")
    assert none == []
    np.testing.assert_array_equal(load_image(plain), photo)
    assert some == [photo.shape]
    for line, threshold in ((command, 0.5), (other, 0.2)):
        parsed = cli.parse(detection.run.RunArguments, words(line)[1:])
        assert (parsed.model, parsed.threshold) == (model, threshold)


def test_what_is_remembered_is_small(give, photo, some):
    found = detection_tab.detect(give(photo), EMBEDDED[0], 0.5)[-1]
    assert found.picture.image is None


def test_nothing_is_drawn_before_a_search():
    assert all(part == gr.skip() for part in detection_tab.redraw(None, 0.5))


@pytest.mark.parametrize("name", EMBEDDED)
def test_detectors_say_what_they_find(name):
    assert detection_tab.describe(name).lower().startswith(name.split("-")[0])
    assert DetectConfig().model in EMBEDDED


# === Stylize ===


def settings(**changed):
    return {"size": 64, "steps": 10, **changed}


def test_a_photo_is_repainted_as_the_command_would(give, photo):
    file, told, command = stylize_tab.stylize(
        give(photo), "ink", **settings(style_weight=2, preserve_color="luminance")
    )
    assert load_image(file).shape == (64, 64, 3)
    assert "10 steps" in told
    program, *rest = words(command)
    assert program == "nst.run"
    parsed = cli.parse(nst.run.RunArguments, rest, presets=nst.PRESETS)
    assert parsed.inputs == ("photo.png", "ink")
    assert (parsed.size, parsed.iterations) == (64, 10)
    assert (parsed.style_weight, parsed.preserve_color) == (2, "luminance")
    assert Path(file).name == "photo-ink.png"


def test_an_own_painting_takes_part(give, photo, painting):
    own = give(painting, "my painting.png")
    file, _, command = stylize_tab.stylize(give(photo), "own", own, **settings())
    ink, *_ = stylize_tab.stylize(give(photo), "ink", own, **settings())
    assert not np.array_equal(load_image(file), load_image(ink))
    assert words(command)[1:3] == ["photo.png", "my painting.png"]
    with pytest.raises(ImageError, match="painting of your own"):
        stylize_tab.stylize(give(photo), "own", **settings())


def test_unknown_paintings_give_one_line(give, photo):
    with pytest.raises(AtelierError, match="nor a painting by name"):
        stylize_tab.stylize(give(photo), "cubism", **settings())


def step(number: int, image: np.ndarray) -> Step:
    return Step(number, 10, {"height": 64.0, "width": 64.0}, lambda: image)


def test_stop_keeps_the_picture_so_far(photo, monkeypatch):
    preview = stylize_tab._Preview("photo-preview.png", "")
    monkeypatch.setitem(stylize_tab._running, "visitor", preview)
    monkeypatch.setitem(stylize_tab._running, "another", stylize_tab._Preview("", ""))
    assert not preview(step(1, photo))
    stylize_tab._stop(gr.Request(session_hash="visitor"))
    assert preview(step(2, photo))
    assert preview.how_it_ended() == "stopped after 2 of 10 steps"
    assert not stylize_tab._running["another"](step(1, photo))


def test_a_stop_reaches_the_run(give, photo, monkeypatch):
    request = gr.Request(session_hash="visitor")
    monkeypatch.setattr(stylize_tab, "show", lambda *_: stylize_tab._stop(request))
    file, told, _ = stylize_tab.stylize(give(photo), "ink", **settings(), request=request)
    assert "stopped after 2 of 10 steps" in told
    assert load_image(file).shape == (64, 64, 3)
    assert not stylize_tab._running


def test_a_stop_of_nothing_is_not_remembered():
    for visitor in ("one", "two"):
        stylize_tab._stop(gr.Request(session_hash=visitor))
    assert not stylize_tab._running


def test_when_the_time_is_nearly_up_the_picture_is_kept(give, photo):
    before = limits()
    set_limits(Limits(seconds=1e-3))
    try:
        file, told, _ = stylize_tab.stylize(give(photo), "ink", **settings())
    finally:
        set_limits(before)
    assert "were up after 1 of 10 steps" in told
    assert load_image(file).shape == (64, 64, 3)


def test_few_previews_stay_on_the_disk(cache, photo, monkeypatch):
    shown = []
    monkeypatch.setattr(stylize_tab, "show", lambda *values: shown.append(values))
    monkeypatch.setattr(stylize_tab, "EVERY", -1)
    preview = stylize_tab._Preview("photo-preview.png", "a command")
    for number in range(1, 9):
        preview(step(number, photo))
    assert len(shown) == 8
    assert shown[-1][1].startswith("Step 8 of 10 · 64 × 64 pixels")
    assert len(list(cache.rglob("*.png"))) == stylize_tab.KEPT_PREVIEWS
    assert Path(shown[-1][0]).exists()
