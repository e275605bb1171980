"""Makes the pictures of README and the pages: `python docs/pictures.py` (some minutes)."""

import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import cartoon
import classify
import detection
import nst
import superres
from atelier.media.images import fit_size, load_image, resize, sample, save_image
from atelier.media.sheets import contact_sheet
from cartoon.drawing.backdrop import cover
from classify.work import caption
from detection.draw import draw
from gallery.demo.scenes import SCENES, Scene, SceneConfig
from nst.styles import names, open_style
from superres.compare import comparison
from superres.work import halved

HERE = Path(__file__).parent / "images"
CLASSIFIED = ("chelsea.png", "motorcycle_left.png", "rocket.jpg", "coffee.png")
SHOWN = ("impasto", "stained_glass", "mosaic", "watercolor", "woodcut", "pointillist", "ink")


def row(images: list[np.ndarray], height: int = 300, gap: int = 6) -> np.ndarray:
    """Pictures side by side at one height."""
    parts = []
    for image in images:
        longest = round(height * max(1, image.shape[1] / image.shape[0]))
        scaled = resize(image, fit_size(image.shape, longest))
        parts += [scaled, np.full((scaled.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def style_transfer() -> None:
    """The paintings, and the astronaut in their styles."""
    contact_sheet(
        [open_style(name) for name in names()],
        names(),
        HERE / "paintings.jpg",
        columns=len(names()),
        side=220,
    )
    photo = load_image(sample("astronaut.png"))
    painted = [nst.stylize(photo, style).image for style in SHOWN]
    rows = [row([photo, *painted[:3]]), row(painted[3:])]
    gap = np.full((6, rows[0].shape[1], 3), 255, np.uint8)
    save_image(HERE / "styles.jpg", np.concatenate([rows[0], gap, rows[1]]), quality=88)


def super_resolution() -> None:
    """A halved photo doubled again, and the same from a JPEG file, each beside bicubic."""
    sheets = []
    for name, quality in (("coffee.png", None), ("astronaut.png", 60)):
        photo = load_image(sample(name))
        half = load_image(halved(photo, quality))
        model = "clean" if quality is None else "compressed"
        sheets.append(comparison(half, superres.upscale(half, model=model).image))
    sheet = np.concatenate(sheets, axis=1)
    save_image(HERE / "superres.jpg", resize(sheet, fit_size(sheet.shape, 1600)), quality=88)


def cartoons() -> None:
    """The astronaut: as she is, cut out, drawn in both presets, and before her photo; a cat."""
    photo, cat = (load_image(sample(name)) for name in ("astronaut.png", "chelsea.png"))
    people = [
        photo,
        load_image(cartoon.cut_out(photo).image),
        cartoon.portray(photo, "report").image,
        cartoon.portray(photo, "fine").image,
        cartoon.portray(photo, "fine", background="photo").image,
    ]
    cats = [cat, *(cartoon.cartoonize(cat, preset).image for preset in ("report", "fine"))]
    rows = [row(people, 400), row(cats, 460)]
    width = rows[0].shape[1]
    rows[1] = resize(rows[1], fit_size(rows[1].shape, width))
    gap = np.full((6, width, 3), 255, np.uint8)
    save_image(HERE / "cartoon.jpg", np.concatenate([rows[0], gap, rows[1]]), quality=88)


def classification() -> None:
    """Pictures with what they are taken for, and below them where the network saw it."""
    network = classify.load_network()
    images, labels, heats, places = [], [], [], []
    for name in CLASSIFIED:
        image = load_image(sample(name))
        result = classify.classify(image)
        images.append(image)
        labels.append(caption(name, result))
        heat = classify.grad_cam(classify.prepare(image), network, result.labels[0])
        heats.append(classify.overlay(image, heat))
        places.append(f"what speaks for {result.labels[0]}")
    contact_sheet(
        [*images, *heats],
        [*labels, *places],
        HERE / "classify.jpg",
        columns=len(CLASSIFIED),
        side=220,
    )


def searched() -> None:
    """Where people are found, and where there is nobody."""
    photos = [load_image(sample(name)) for name in ("astronaut.png", "camera.png", "coffee.png")]
    drawn = [draw(photo, detection.detect(photo), classes=("person",)) for photo in photos]
    save_image(HERE / "detection.jpg", row(drawn, 400), quality=88)


def panel(scene: Scene, size: tuple[int, int] = (400, 300), strip: int = 58) -> np.ndarray:
    """A scene's face, before and after on both sides of a slanted line, and below it what it is."""
    played = scene.play(SceneConfig(), lambda step: None)
    face = next(itertools.islice(played, scene.face, None))
    (height, width), paper = size, (255, 255, 255)
    before, after = (
        Image.fromarray(cover(load_image(side.image), size)) for side in (face.before, face.after)
    )
    middle, slant = face.start / 100 * width, 0.18 * width
    top, bottom = (middle + slant, 0), (middle - slant, height)
    left = Image.new("L", (width, height))
    ImageDraw.Draw(left).polygon([(0, 0), top, bottom, (0, height)], fill=255)
    picture = Image.new("RGB", (width, height + strip), paper)
    picture.paste(Image.composite(before, after, left))
    pen = ImageDraw.Draw(picture)
    pen.line([top, bottom], paper, 3)
    pen.text((0, height + 7), scene.title, (30, 27, 23), ImageFont.load_default(21))
    words = f"{face.before.label} | {face.after.label}"
    pen.text((0, height + 34), words, (107, 100, 90), ImageFont.load_default(16))
    return np.asarray(picture)


def gallery() -> None:
    """What the five tasks do, for README's first screen."""
    panels = row([panel(scene) for scene in SCENES], 458, gap=10)
    save_image(HERE / "gallery.jpg", panels, quality=86)


def main() -> None:
    gallery()
    style_transfer()
    super_resolution()
    cartoons()
    classification()
    searched()


if __name__ == "__main__":
    main()
