"""Makes README's pictures: `python docs/pictures.py` (some minutes)."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

import cartoon
import classify
import nst
import superres
from atelier.images import fit_size, load_image, resize, sample, save_image
from atelier.sheets import contact_sheet
from classify.run import caption
from nst.styles import names, open_style
from superres.compare import comparison

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
        half = resize(photo, (photo.shape[0] // 2, photo.shape[1] // 2))
        if quality is not None:
            file = io.BytesIO()
            Image.fromarray(half).save(file, "JPEG", quality=quality)
            half = load_image(file.getvalue())
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


def main() -> None:
    style_transfer()
    super_resolution()
    cartoons()
    classification()


if __name__ == "__main__":
    main()
