"""Crops of photos for training."""

import numpy as np
import pytest

from atelier.errors import ImageError
from atelier.media.images import find_pictures, save_image
from atelier.nets.vgg import preprocess
from nst.distillation import data

LOW, HIGH = preprocess(np.zeros(3)), preprocess(np.full(3, 255))


@pytest.fixture
def photos(tmp_path, photo, painting, noise_photo):
    for name, image in (("a.png", photo), ("b/c.png", painting), ("b/d.jpg", noise_photo)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_image(tmp_path / name, image)
    (tmp_path / "notes.txt").write_text("no picture")
    return find_pictures([tmp_path])


def batches(photos, steps, **options):
    settings = {"size": 48, "batch": 4, "seed": 0, **options}
    return [batch.numpy() for batch in data.crops(photos, steps=steps, **settings)]


def test_photos_are_found_below_folders_in_order(photos):
    assert [photo.name for photo in photos] == ["a.png", "c.png", "d.jpg"]


def test_folder_without_photos_is_named(tmp_path):
    with pytest.raises(ImageError, match="no pictures in"):
        find_pictures([tmp_path])


def test_batches_are_preprocessed_pictures(photos):
    found = batches(photos, range(6))
    assert len(found) == 6
    for batch in found:
        assert batch.shape == (4, 48, 48, 3)
        assert batch.dtype == np.float32
        assert (batch >= LOW - 1e-3).all()
        assert (batch <= HIGH + 1e-3).all()
    assert np.std(found) > 20


def test_batch_depends_on_its_step_alone(photos):
    whole = batches(photos, range(6))
    late = batches(photos, range(3, 6))
    np.testing.assert_array_equal(whole[3:], late)
    assert (whole[0] != whole[1]).any()


def test_seed_decides(photos):
    first, again, other = (batches(photos, range(2), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != other[0]).any()


def test_third_of_a_batch_is_taken_from_pictures(photos):
    flat = np.stack([np.full((48, 48, 3), level, np.float32) for level in (-7, 9)])
    (batch,) = batches(photos, range(1), batch=6, pictures=flat)
    levels = [set(np.unique(crop)) for crop in batch]
    assert all(level in ({-7}, {9}) for level in levels[:2])
    assert not any(level in ({-7}, {9}) for level in levels[2:])


def test_small_photos_are_enlarged(photos):
    (batch,) = batches(photos, range(1), size=128)
    assert batch.shape == (4, 128, 128, 3)


def test_broken_photo_is_passed_over_in_a_line(photos, tmp_path):
    (tmp_path / "aa.png").write_bytes(b"broken")
    with_broken = find_pictures([tmp_path])
    assert len(with_broken) == 4
    lines = []
    assert len(batches(with_broken, range(8), on_unread=lines.append)) == 8
    (line,) = set(lines)
    assert line.startswith(f"passed over: {tmp_path / 'aa.png'}: not a picture")
