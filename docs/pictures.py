"""Makes README's pictures: `python docs/pictures.py` (some minutes)."""

from pathlib import Path

import numpy as np

import nst
from atelier.images import fit_size, load_image, resize, sample, save_image
from atelier.sheets import contact_sheet
from nst.styles import names, open_style

HERE = Path(__file__).parent / "images"
SHOWN = ("impasto", "stained_glass", "mosaic", "watercolor", "woodcut", "pointillist", "ink")


def row(images: list[np.ndarray], height: int = 300, gap: int = 6) -> np.ndarray:
    """Pictures side by side at one height."""
    parts = []
    for image in images:
        longest = round(height * max(1, image.shape[1] / image.shape[0]))
        scaled = resize(image, fit_size(image.shape, longest))
        parts += [scaled, np.full((scaled.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def main() -> None:
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


if __name__ == "__main__":
    main()
