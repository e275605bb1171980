"""The page in a real browser: each tab as a person uses it, from upload to download."""

import re
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from atelier.media.images import load_image, sample, save_image
from detection.predict import EMBEDDED

SLOW = 60_000
"""Milliseconds that a run may take where the machine has other work, too."""

TABS = ("Classify", "Stylize", "Cartoon", "Super-resolution", "Detect")

UNNAMED = """() => [...document.querySelectorAll(
    "button, input, select, textarea, a[href], img, fieldset, [tabindex='0']")]
  .filter(element => element.checkVisibility())
  .filter(element => !(
    element.ariaLabel || element.getAttribute("aria-labelledby") || element.alt || element.title
    || element.textContent.trim() || element.querySelector("img[alt]:not([alt=''])")
    || [...(element.labels || [])].some(label => label.textContent.trim())))
  .map(element => element.outerHTML.slice(0, 200))"""
"""What a screen reader would have no name for."""

CONTRAST = """() => {
  const parse = color => {
    const paint = document.createElement("canvas").getContext("2d");
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (front, back) => [0, 1, 2].map(i => front[3] * front[i] + (1 - front[3]) * back[i]);
  const behind = element => {
    if (!element) return [255, 255, 255];
    const color = parse(getComputedStyle(element).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, behind(element.parentElement));
  };
  const luminance = color => {
    const [r, g, b] = color.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
      continue;
    if (element.closest(":disabled, script, style")) continue;  // Exempt, or no text.
    const back = behind(element), front = over(parse(getComputedStyle(element).color), back);
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""Texts whose contrast with what is behind them is below 4.5:1 (WCAG 2.1, 1.4.3)."""


class Visitor:
    """Somebody at the page."""

    def __init__(self, page, url: str):
        self.page, self.hosts, self.problems = page, set(), []
        page.set_default_timeout(SLOW)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(url)
        self.open("Classify")

    def open(self, tab: str) -> None:
        shown = self.page.get_by_role("tab", name=tab, exact=True)
        more = self.page.get_by_label("More tabs")
        shown.or_(more).first.wait_for()
        if shown.count():
            shown.click()
        else:  # Too narrow for all of them.
            more.click()
            self.page.locator(".overflow-dropdown").get_by_text(tab, exact=True).click()
        self.tab.locator(".upload").first.wait_for()

    @property
    def tab(self):
        """What of the page is in the open tab."""
        return self.page.locator("[role=tabpanel]:visible")

    def button(self, name: str):
        return self.tab.get_by_role("button", name=name, exact=True)

    def give(self, path, label: str = "Photo") -> None:
        """Chooses a file for an upload, in place of what it holds."""
        box = self.tab.locator(".upload").filter(has=self.page.get_by_text(label, exact=True))
        remove = box.get_by_label(re.compile("Remove"))
        if remove.count():
            remove.click()
        box.locator("input[type=file]").set_input_files(path)

    def wait_for_upload(self, label: str = "Photo") -> None:
        box = self.tab.locator(".upload").filter(has=self.page.get_by_text(label, exact=True))
        box.locator("img").wait_for()

    def run(self, name: str) -> None:
        """Presses a button, and waits until its result is there."""
        before = self.shown()
        self.button(name).click()
        self.wait_for_another(before)

    def shown(self) -> str:
        """The address of the result, another one with each run."""
        images = self.tab.locator(".result img, .compared img")
        return images.last.get_attribute("src") if images.count() else ""

    def wait_for_another(self, before: str) -> None:
        """Waits until a run is over whose result is another than `before`."""
        end = time.monotonic() + SLOW / 1000
        while self.shown() == before or self.told().startswith("Step"):
            assert time.monotonic() < end, "no result came"
            self.page.wait_for_timeout(50)

    def download(self, tmp_path) -> np.ndarray:
        """The downloaded picture; its name in `self.name`."""
        for _ in range(50):  # The button has its file a moment after the result is shown.
            with self.page.expect_download() as event:
                self.tab.get_by_text("Download PNG").click()
            if event.value.url == self.shown():
                break
            self.page.wait_for_timeout(100)
        self.name = event.value.suggested_filename
        event.value.save_as(tmp_path / self.name)
        assert (tmp_path / self.name).read_bytes().startswith(b"\x89PNG")
        return load_image(tmp_path / self.name, alpha="keep")

    def told(self) -> str:
        return self.tab.locator(".prose.facts").text_content().strip()

    def command(self) -> str:
        return self.tab.locator(".command code").inner_text()

    def complaint(self) -> str:
        """The message that the page shows, which is then closed."""
        toast = self.page.get_by_test_id("toast-body").first
        toast.wait_for()
        text = toast.inner_text()
        toast.get_by_test_id("toast-close").click()
        toast.wait_for(state="detached")
        return text

    def set(self, slider: str, value: float) -> None:
        """Types a slider's value, and lets go of it; once more if settings that have only just
        opened did not take it."""
        field = self.tab.get_by_label(f"number input for {slider}", exact=True)
        handle = self.tab.get_by_label(f"range slider for {slider}", exact=True)
        end = time.monotonic() + SLOW / 1000
        while handle.input_value() != str(value):
            assert time.monotonic() < end, f"{slider} stays at {handle.input_value()}"
            field.fill(str(value))
            field.press("Enter")
            self.page.wait_for_timeout(100)

    def choose(self, label: str) -> None:
        """Picks one of several, by its label."""
        self.tab.get_by_text(label, exact=True).click()


@pytest.fixture(scope="module")
def visitor(browser, server):
    """One page for most tests, as loading it takes longest."""
    context = browser.new_context(color_scheme="light")
    yield Visitor(context.new_page(), server.url)
    context.close()


@pytest.fixture
def another(browser, server):
    """Opens the page in a browser of other properties."""
    contexts = []

    def open(**properties) -> Visitor:
        contexts.append(browser.new_context(**properties))
        return Visitor(contexts[-1].new_page(), server.url)

    yield open
    for context in contexts:
        context.close()


@pytest.fixture
def small(tmp_path, photo):
    """A file of the astronaut, 96 × 96 pixels."""
    path = tmp_path / "small photo.png"
    save_image(path, photo)
    return path


@pytest.fixture
def wrong(tmp_path):
    """A file that says that it is a picture, and is none."""
    path = tmp_path / "wrong.jpg"
    path.write_text("not a picture")
    return path


# === Each tab, from upload to download ===


def test_classify(visitor, tmp_path):
    visitor.open("Classify")
    visitor.give(sample("chelsea.png"))
    visitor.run("Classify")
    assert "Cat" in visitor.tab.locator(".prose.answer").inner_text()
    bars = visitor.tab.get_by_role("meter")
    assert bars.count() == 10
    assert bars.first.get_attribute("aria-label") == "cat"
    assert re.match(r"[\d.]+ s · 451 × 300 pixels", visitor.told())
    assert visitor.command().startswith("python -m classify.run ")
    assert visitor.download(tmp_path).shape == (300, 451, 3)
    assert visitor.name == "chelsea-gradcam.png"


def test_an_example_runs_at_once(visitor):
    visitor.open("Classify")
    visitor.run("A cup of coffee")
    assert "None of the ten" in visitor.tab.locator(".prose.answer").inner_text()


def test_the_command_is_copied(visitor):
    visitor.open("Classify")
    if not visitor.shown():
        visitor.run("A cup of coffee")
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.button("Copy").click()
    visitor.button("Copied").wait_for()
    assert visitor.page.evaluate("navigator.clipboard.readText()") == visitor.command()


def test_stylize(visitor, small, tmp_path):
    visitor.open("Stylize")
    visitor.give(small)
    visitor.wait_for_upload()
    if not visitor.tab.get_by_label("number input for Size").is_visible():
        visitor.tab.get_by_role("button", name="Settings").click()
    visitor.set("Size", 128)
    visitor.set("Steps", 10)
    visitor.choose("Ink")
    visitor.run("Stylize")
    assert "128 × 128 pixels · 10 steps" in visitor.told()
    assert visitor.command().endswith("ink --size 128 --iterations 10")
    assert visitor.download(tmp_path).shape == (128, 128, 3)
    assert visitor.name == "small-photo-ink.png"


def test_stop_keeps_the_picture_so_far(visitor, small, tmp_path):
    visitor.open("Stylize")
    visitor.give(small)
    visitor.wait_for_upload()
    if not visitor.tab.get_by_label("number input for Size").is_visible():
        visitor.tab.get_by_role("button", name="Settings").click()
    visitor.set("Size", 192)
    visitor.set("Steps", 300)
    stop = visitor.button("Stop, and keep the picture so far")
    assert stop.is_disabled()
    before = visitor.shown()
    visitor.button("Stylize").click()
    bar = visitor.tab.get_by_role("progressbar")
    bar.wait_for()
    assert visitor.told().startswith("Step ")
    assert visitor.shown() != before  # The picture as it forms.
    assert visitor.tab.locator(".result img").evaluate("image => image.naturalWidth") == 192
    stop.click()
    bar.wait_for(state="detached")
    done, planned = map(int, re.search(r"stopped after (\d+) of (\d+)", visitor.told()).groups())
    assert done < planned == 300
    assert visitor.download(tmp_path).shape == (192, 192, 3)
    assert stop.is_disabled()


def test_stylize_with_an_own_painting(visitor, small, tmp_path, painting):
    own = tmp_path / "own.png"
    save_image(own, painting)
    visitor.open("Stylize")
    visitor.give(small)
    visitor.choose("Your own")
    visitor.give(own, "Your painting")
    visitor.wait_for_upload("Your painting")
    if not visitor.tab.get_by_label("number input for Size").is_visible():
        visitor.tab.get_by_role("button", name="Settings").click()
    visitor.set("Size", 128)
    visitor.set("Steps", 10)
    visitor.run("Stylize")
    assert " own.png " in visitor.command()


def test_cartoon(visitor, tmp_path):
    visitor.open("Cartoon")
    visitor.give(sample("astronaut.png"))
    visitor.run("Cut out and draw")
    image = visitor.download(tmp_path)
    assert image.shape == (512, 512, 4)
    assert 0.2 < (image[..., 3] > 128).mean() < 0.8
    assert visitor.name == "astronaut-cartoon.png"


def test_cartoon_before_another_picture(visitor, tmp_path, painting):
    behind = tmp_path / "behind.png"
    save_image(behind, painting)
    visitor.open("Cartoon")
    visitor.give(sample("astronaut.png"))
    visitor.choose("Another picture")
    visitor.give(behind, "Picture for the background")
    visitor.wait_for_upload("Picture for the background")
    visitor.choose("Not drawn: the photo, cut out")
    visitor.run("Cut out and draw")
    image = visitor.download(tmp_path)
    assert image.shape == (512, 512, 3)
    assert (
        np.abs(image[100, 380].astype(int) - load_image(sample("astronaut.png"))[100, 380]).max()
        > 9
    )
    visitor.choose("Transparent")
    visitor.choose("Fine: calm areas, even outlines")


def test_nobody_is_said_plainly(visitor):
    visitor.open("Cartoon")
    visitor.run("A cat: nobody to cut out")
    assert "Nobody was found" in visitor.tab.locator(".prose.answer").inner_text()


def test_super_resolution(visitor, small, tmp_path):
    visitor.open("Super-resolution")
    visitor.give(small, "Small picture")
    visitor.choose("3 ×")
    visitor.run("Enlarge")
    assert visitor.download(tmp_path).shape == (288, 288, 3)
    assert visitor.name == "small-photo-x3.png"
    details = visitor.tab.locator(".compared").first.locator("img[alt]")
    assert details.count() == 2
    before = [image.get_attribute("src") for image in details.all()]
    visitor.tab.get_by_label("range slider for Detail: across").press("Home")
    for image, address in zip(details.all(), before, strict=True):
        wait_until(lambda image=image, old=address: image.get_attribute("src") != old)


def test_the_divider_needs_no_mouse(visitor):
    visitor.open("Super-resolution")
    if not visitor.shown():
        visitor.run("A small JPEG")
    slider = visitor.tab.get_by_label("range slider for Divider")
    network = visitor.tab.locator(".compared img[alt^='The network']").first
    for key, low, high in (("Home", 0, 5), ("End", 95, 100)):
        slider.press(key)
        wait_until(lambda low=low, high=high: low <= left_of(network) <= high)


def left_of(image) -> float:
    """Where a compared picture begins, percent."""
    clip = image.evaluate("image => image.style.clipPath")
    return float(re.search(r"([\d.]+)%\)", clip)[1])


def test_detection(visitor, tmp_path):
    visitor.open("Detect")
    visitor.give(sample("coins.png"))
    visitor.run("Detect")
    searched, first = visitor.told(), visitor.shown()
    assert visitor.download(tmp_path).shape == (303, 384, 3)
    visitor.tab.get_by_label("range slider for Threshold").press("Home")
    visitor.wait_for_another(first)
    assert visitor.told() == searched  # The seconds of the one search that there was.
    assert visitor.command().endswith("--threshold 0.05")
    assert visitor.download(tmp_path).shape == (303, 384, 3)
    rows = visitor.tab.get_by_role("grid").get_by_role("row").count() - 1
    words = visitor.tab.locator(".prose.answer").inner_text()
    assert (rows > 0) == ("Nothing was found" not in words)


@pytest.mark.skipif("person" not in EMBEDDED, reason="no detector of people is embedded")
def test_the_astronaut_is_found(visitor):
    visitor.open("Detect")
    visitor.run("An astronaut")
    assert "person" in visitor.tab.locator(".prose.answer").inner_text()


def wait_until(condition) -> None:
    end = time.monotonic() + SLOW / 1000
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# === Mistakes ===


@pytest.mark.parametrize(
    ("tab", "label", "opened_by"),
    [
        ("Classify", "Photo", None),
        ("Stylize", "Photo", None),
        ("Stylize", "Your painting", "Your own"),
        ("Cartoon", "Photo", None),
        ("Cartoon", "Picture for the background", "Another picture"),
        ("Super-resolution", "Small picture", None),
        ("Detect", "Photo", None),
    ],
)
def test_a_wrong_file_gets_a_message(visitor, wrong, tab, label, opened_by):
    visitor.open(tab)
    if opened_by:
        visitor.choose(opened_by)
    visitor.give(wrong, label)
    assert "wrong.jpg: not a picture" in visitor.complaint()
    box = visitor.tab.locator(".upload").filter(has=visitor.page.get_by_text(label, exact=True))
    box.get_by_label("Drop an image").wait_for()


def test_after_all_that_the_page_goes_on(visitor, small):
    visitor.open("Classify")
    visitor.button("Classify").click()
    assert "choose a photo first" in visitor.complaint()
    visitor.give(small)
    visitor.run("Classify")
    assert visitor.problems == []


# === For everybody ===


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(another, scheme):
    guest = another(color_scheme=scheme)
    guest.run("A cup of coffee")
    for tab in TABS:
        guest.open(tab)
        assert guest.page.evaluate(CONTRAST) == []
    dark = guest.page.evaluate(
        "document.documentElement.classList.contains('dark') || "
        "document.body.classList.contains('dark')"
    )
    assert dark == (scheme == "dark")


def test_everything_has_a_name(visitor):
    for tab in TABS:
        visitor.open(tab)
        assert visitor.page.evaluate(UNNAMED) == []
        for group in visitor.tab.get_by_role("group").all():
            assert group.get_attribute("aria-label")


def test_focus_shows(visitor):
    visitor.open("Stylize")
    visitor.button("Stylize").focus()
    visitor.page.keyboard.press("Shift+Tab")
    outline = visitor.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    visitor.tab.get_by_label("Ink", exact=True).focus()
    visitor.page.keyboard.press("ArrowRight")
    tile = visitor.tab.locator("label:has(input:focus)")
    assert tile.inner_text() == "Mosaic"
    assert tile.evaluate("label => getComputedStyle(label).outlineStyle") == "solid"


def test_nothing_moves_where_that_is_not_wanted(another):
    guest = another(reduced_motion="reduce")
    duration = "button => parseFloat(getComputedStyle(button).transitionDuration)"
    assert guest.button("Classify").evaluate(duration) <= 0.001


def test_a_telephone_scrolls_one_way_only(another):
    guest = another(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    guest.run("A cup of coffee")
    for tab in TABS:
        guest.page.evaluate("document.activeElement.blur()")
        guest.open(tab)
        width = guest.page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 360, tab
        left = guest.tab.get_by_role("button").first.bounding_box()
        assert left["x"] >= 0


def test_the_page_asks_nobody_but_its_server(visitor):
    visitor.open("Classify")
    assert {host for host in visitor.hosts if host} == {urlsplit(visitor.page.url).hostname}
