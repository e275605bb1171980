"""Drawn pictures: their boxes are those of the pixels, and they can be read back."""

import numpy as np
import pytest

from detection.annotations import read_dataset
from detection.training.shapes import SHAPES, draw_shapes, write_shapes


@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_those_of_the_pixels(seed):
    image, shapes = draw_shapes(np.random.default_rng(seed))
    assert 1 <= len(shapes) <= 6
    for box, label in zip(shapes.boxes.astype(int), shapes.labels, strict=True):
        x1, y1, x2, y2 = box
        part = image[y1:y2, x1:x2]
        # All shapes have the colour of the middle of their lower half.
        same = (part == part[3 * (y2 - y1) // 4, (x2 - x1) // 2]).all(axis=-1)
        assert same.any(axis=0).mean() > 0.9
        assert same.any(axis=1).mean() > 0.9
        share = {"square": 1.0, "disc": np.pi / 4, "triangle": 0.5}[label]
        assert same.mean() == pytest.approx(share, abs=0.08)


def test_a_written_folder_is_read_back(tmp_path):
    write_shapes(tmp_path, 8)
    seen, held_back = (read_dataset(tmp_path, split) for split in ("train", "val"))
    assert (len(seen), len(held_back)) == (6, 2)
    assert not seen.faults
    assert set(seen.classes) <= set(SHAPES)
    _, shapes = draw_shapes(np.random.default_rng((0, 0)))
    np.testing.assert_array_equal(seen.items[0].boxes, shapes.boxes)
    names = [seen.classes[label] for label in seen.items[0].labels]
    assert names == list(shapes.labels)
