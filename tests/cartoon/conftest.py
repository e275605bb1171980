"""Photos of "people" to train on: red ellipses before stripes, with their masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from atelier.media.images import save_image


def draw_person(rng: np.random.Generator, size=(72, 96)) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (H, W, 3), and where its ellipse is, uint8 (H, W), 0 or 255."""
    height, width = size
    x = np.arange(width)[None, :, None]
    image = np.uint8(90 + 50 * np.sin(x / rng.uniform(3, 9) + np.array([0.0, 1, 2])))
    image = np.repeat(image, height, axis=0)
    mask = np.zeros(size, np.uint8)
    centre = (int(rng.integers(30, width - 30)), int(rng.integers(30, height - 30)))
    axes = (int(rng.integers(12, 20)), int(rng.integers(16, 28)))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    image[mask > 0] = (220, 60, 50)
    return image, mask


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A folder of twelve photos and masks, names alike."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    for number in range(12):
        image, mask = draw_person(rng)
        save_image(folder / "images" / f"{number:02d}.png", image)
        save_image(folder / "masks" / f"{number:02d}.png", mask)
    return folder
