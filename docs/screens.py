"""Makes README's pictures of the web page: `python docs/screens.py` (some minutes).

It starts the page's server, uses each tab as a visitor would, and needs Chromium: the system's, or
the one of `python -m playwright install chromium`.
"""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from detection import DetectConfig
from gallery.web.tabs.detection import EXAMPLES

HERE = Path(__file__).parent / "images"

STORIES = {
    "classify": ("Classify", "A cat"),
    "stylize": ("Stylize", "An astronaut"),
    "cartoon": ("Cartoon", "An astronaut"),
    "superres": ("Super-resolution", "A small JPEG"),
    "detection": ("Detect", "An astronaut"),
}
"""For each picture: the tab, and the example that is chosen there."""

if DetectConfig().model not in EXAMPLES:
    del STORIES["detection"]

DESKTOP, TELEPHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}

KILOBYTES = 150
"""Of a picture, at most."""

WAIT = 300_000
"""Milliseconds that an example may take."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of the page, while it is served."""
    command = [sys.executable, "-m", "gallery.web", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield next(re.search(r"http://\S+", line)[0] for line in server.stderr if "://" in line)
        finally:
            server.terminate()


def use(page: Page, url: str, tab: str, example: str) -> None:
    """Opens a tab, chooses an example, and waits for its result."""
    page.goto(url)
    shown, more = page.get_by_role("tab", name=tab, exact=True), page.get_by_label("More tabs")
    shown.or_(more).first.wait_for()
    if shown.count():
        shown.click()
    else:
        more.click()
        page.locator(".overflow-dropdown").get_by_text(tab, exact=True).click()
    panel = page.locator("[role=tabpanel]:visible")
    panel.get_by_role("button", name=example, exact=True).click()
    panel.locator("button:enabled").get_by_text("Download PNG").wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)  # Pictures are decoded, messages gone.


def shoot(browser: Browser, url: str, name: str, scheme: str, viewport: dict) -> Path:
    """A PNG of a tab after its example."""
    tab, example = STORIES[name]
    page = browser.new_page(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    page.set_default_timeout(WAIT)
    use(page, url, tab, example)
    path = HERE / f"web-{name}.png"
    page.screenshot(path=path, full_page=True)
    page.close()
    return path


def save_small(image: Image.Image, path: Path) -> None:
    """Writes a JPEG of at most `KILOBYTES`, as good as that allows."""
    for quality in range(90, 40, -5):
        image.save(path, "JPEG", quality=quality, optimize=True)
        if path.stat().st_size <= KILOBYTES * 1000:
            return
    raise SystemExit(f"{path} is larger than {KILOBYTES} KB")


def main() -> None:
    with served() as url, sync_playwright() as driver:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in STORIES:
            shot = shoot(browser, url, name, "light", DESKTOP)
            save_small(Image.open(shot).convert("RGB"), shot.with_suffix(".jpg"))
            shot.unlink()
        halves = []
        for scheme in ("light", "dark"):
            shot = shoot(browser, url, "classify", scheme, TELEPHONE)
            halves.append(np.asarray(Image.open(shot).convert("RGB")))
            shot.unlink()
        height = min(half.shape[0] for half in halves)
        both = np.concatenate([half[:height] for half in halves], axis=1)
        save_small(Image.fromarray(both), HERE / "web-telephone.jpg")


if __name__ == "__main__":
    main()
