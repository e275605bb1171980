"""Photos and masks: found, checked, and augmented alike."""

import numpy as np
import pytest

from atelier.errors import DataError, ImageError
from atelier.media.images import save_image
from cartoon.judge import mean_iou
from cartoon.training.data import (
    Photo,
    ask_teachers,
    batches,
    find_pairs,
    read_for_training,
    read_pair,
    sample,
    split,
)


def test_pairs_come_in_the_order_of_their_names(people):
    pairs = find_pairs(people)
    assert [image.name for image, _ in pairs] == [f"{n:02d}.png" for n in range(12)]
    assert all(image.stem == mask.stem and mask.parent.name == "masks" for image, mask in pairs)


def test_folders_may_be_deep_and_masks_without_a_photo_are_named(tmp_path, photo):
    for name in ("Images/x/a.png", "Masks/x/a.png", "Masks/x/b.png"):
        save_image(tmp_path / name, photo)
    lines = []
    ((image, mask),) = find_pairs(tmp_path, on_unread=lines.append)
    assert (image.name, mask.name) == ("a.png", "a.png")
    (line,) = lines
    assert line.startswith("passed over: 1 masks without a photo, such as ")
    (tmp_path / "Images").rename(tmp_path / "photos")
    assert len(find_pairs(tmp_path, tmp_path / "photos")) == 1


def test_each_sixth_is_held_back():
    seen, held_back = split(list(range(14)))
    assert held_back == [5, 11]
    assert seen == [n for n in range(14) if n not in held_back]


def test_what_is_missing_is_named(tmp_path, photo):
    with pytest.raises(DataError, match="must hold the folders images/ and masks/"):
        find_pairs(tmp_path)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        find_pairs(tmp_path)
    save_image(tmp_path / "images" / "a.png", photo)
    with pytest.raises(DataError, match=r"a\.png has no mask"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("size", [(96, 96), (95, 96), (48, 48), (193, 191)])
def test_a_mask_is_brought_to_its_photos_size(photo, tmp_path, size):
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = 255
    save_image(tmp_path / "photo.png", photo)
    save_image(tmp_path / "mask.png", mask)
    pair = read_pair(tmp_path / "photo.png", tmp_path / "mask.png")
    assert pair.mask.shape == (96, 96)
    assert set(np.unique(pair.mask)) == {0, 255}
    assert (pair.mask[:46] == 255).all()
    assert (pair.mask[50:] == 0).all()


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 1, 2)])
def test_whoever_a_mask_shows_is_a_person(photo, tmp_path, values):
    mask = np.zeros((96, 96), np.uint8)
    mask[20:80, 20:50], mask[20:80, 50:80] = values[1], values[-1]
    save_image(tmp_path / "photo.png", photo)
    save_image(tmp_path / "mask.png", mask)
    expected = np.where(mask > 0, 255, 0)
    found = read_pair(tmp_path / "photo.png", tmp_path / "mask.png")
    np.testing.assert_array_equal(found.mask, expected)


def test_masks_of_nobody_are_an_error(photo, tmp_path):
    for part, image in (("images", photo), ("masks", np.zeros((96, 96), np.uint8))):
        save_image(tmp_path / part / "a.png", image)
    pairs = find_pairs(tmp_path)
    with pytest.raises(DataError, match="nobody is in any of the 1 masks"):
        read_for_training(pairs)
    with pytest.raises(DataError, match="nobody is in any of the 1 masks"):
        mean_iou({}, pairs)


def test_another_photos_mask_is_refused(photo, tmp_path):
    save_image(tmp_path / "photo.png", photo)
    save_image(tmp_path / "mask.png", np.zeros((96, 120), np.uint8))
    with pytest.raises(DataError, match="another's mask"):
        read_pair(tmp_path / "photo.png", tmp_path / "mask.png")
    (tmp_path / "mask.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask\.png: the file is empty"):
        read_pair(tmp_path / "photo.png", tmp_path / "mask.png")


def test_specks_are_filled_for_training_alone(photo, tmp_path):
    mask = np.zeros((96, 96), np.uint8)
    mask[20:80, 20:80] = 255
    mask[50, 50] = 0
    save_image(tmp_path / "photo.png", photo)
    save_image(tmp_path / "mask.png", mask)
    pair = tmp_path / "photo.png", tmp_path / "mask.png"
    assert read_pair(*pair).mask[50, 50] == 0
    assert read_for_training([pair])[0].mask[50, 50] == 255


def test_teachers_are_trusted_where_they_agree(people):
    teachers = {
        "one": lambda image: np.full(image.shape[:2], 0.9, np.float32),
        "two": lambda image: np.where(image[..., 0] > 200, 0.9, 0.1).astype(np.float32),
    }
    asked = ask_teachers([people / "images"], teachers)
    assert len(asked) == 12
    red = asked[0].image[..., 0] > 200
    assert (asked[0].mask[red] == round(255 * 0.9)).all()
    assert (abs(asked[0].mask[~red].astype(int) - 128) <= 1).all()
    assert (asked[0].certain[red] == 255).all()
    assert (asked[0].certain[~red] == round(255 * 0.2**2)).all()
    assert ask_teachers([], teachers) == []


def test_photos_that_cannot_be_read_are_passed_over_in_a_line(people, tmp_path):
    teachers = {"one": lambda image: np.full(image.shape[:2], 0.9, np.float32)}
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    lines = []
    asked = ask_teachers([people / "images", tmp_path], teachers, on_unread=lines.append)
    assert len(asked) == 12
    (line,) = lines
    assert line.startswith(f"passed over: {tmp_path / 'broken.jpg'}: not a picture")
    with pytest.raises(ImageError, match="none of the 1 photos can be read"):
        ask_teachers([tmp_path], teachers)


def test_where_one_teacher_sees_nobody_nobody_is(people):
    teachers = {
        "one": lambda image: np.full(image.shape[:2], 0.9, np.float32),
        "two": lambda image: np.full(image.shape[:2], 0.4, np.float32),
    }
    for photo in ask_teachers([people / "images"], teachers):
        assert not photo.mask.any()
        assert (photo.certain == 128).all()


@pytest.fixture(scope="module")
def photos(people):
    return read_for_training(find_pairs(people))


def test_mask_and_picture_move_together(photos):
    """Wherever the mask says so, the square is as red as the people are, and nowhere else."""
    for seed in range(20):
        image, target = sample(photos, (), 64, np.random.default_rng(seed))
        assert image.shape == (64, 64, 3)
        assert target.shape == (64, 64, 2)
        assert image.dtype == target.dtype == np.uint8
        image = image.astype(int)
        redness = image[..., 0] - image[..., 1:].max(axis=-1)
        inside, outside = target[..., 0] > 250, target[..., 0] < 5
        if inside.sum() > 50 and outside.sum() > 50 and redness.max() > 60:
            assert redness[inside].mean() > redness[outside].mean() + 20
    assert (target[..., 1] == 255).all()


def test_what_teachers_doubt_stays_doubted(photos):
    doubted = Photo(photos[0].image, photos[0].mask, np.full_like(photos[0].mask, 51))
    seen = set()
    for seed in range(40):
        _, target = sample(photos, [doubted], 48, np.random.default_rng(seed))
        seen |= set(np.unique(target[..., 1]))
    assert {51, 255} <= seen
    assert min(seen) >= 51


def test_a_batch_depends_on_seed_and_step_alone(photos):
    options = {"side": 32, "batch": 3, "seed": 4}
    whole = list(batches(photos, **options, steps=range(3)).as_numpy_iterator())
    (last,) = batches(photos, **options, steps=range(2, 3)).as_numpy_iterator()
    for one, other in zip(whole[2], last, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[1][0], whole[2][0])
    images, targets = last
    assert images.shape == (3, 32, 32, 3)
    assert targets.shape == (3, 32, 32, 2)
    assert images.dtype == targets.dtype == np.float32
    assert images.min() >= 0
    assert 0.5 < images.max() <= 1
    assert set(np.unique(targets)) >= {0, 1}
