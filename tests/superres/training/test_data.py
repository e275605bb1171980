"""Pairs of small and large luma, and crops of them."""

import numpy as np
import pytest

from atelier.errors import ImageError, SettingsError
from atelier.media.images import find_pictures, load_image, save_image
from superres.color import luma
from superres.resample import bicubic
from superres.training import data
from superres.training.degradation import bicubic_model, jpeg, proposed_model


def made(folder, **options) -> list[data.Pair]:
    settings = {"scale": 2, "degradation": bicubic_model(2), "shrinks": (1.0,), **options}
    return data.pairs(find_pictures([folder]), **settings)


def assert_same_pairs(found, expected):
    for pair, other in zip(found, expected, strict=True):
        for plane, twin in zip(pair, other, strict=True):
            np.testing.assert_array_equal(plane, twin)


def rounded(plane) -> np.ndarray:
    return np.clip(np.floor(plane + 0.5), 0, 255)


# === Pairs ===


def test_pairs_are_the_published_protocol(pictures):
    """Cropped to even sides, shrunk in RGB, rounded; luma, rounded; step by step with Pillow."""
    found = made(pictures)
    assert [(lr.shape, hr.shape) for lr, hr in found] == [
        ((48, 48), (96, 96)),
        ((40, 50), (80, 100)),
        ((32, 35), (64, 70)),
    ]
    for (lr, hr), file in zip(found, find_pictures([pictures]), strict=True):
        assert lr.dtype == hr.dtype == np.uint8
        picture = load_image(file, grey="keep")[: hr.shape[0], : hr.shape[1]]
        np.testing.assert_array_equal(hr, rounded(luma(picture)))
        planes = [picture] if picture.ndim == 2 else list(np.moveaxis(picture, -1, 0))
        small = np.stack([rounded(bicubic(plane, lr.shape)) for plane in planes], -1)
        expected = rounded(luma(np.squeeze(small)))
        # The two ways of resampling may round a channel's tie apart.
        assert np.abs(lr - expected).max() <= 1
        assert np.mean(lr != expected) < 0.01


def test_a_grey_picture_is_its_own_luma(tmp_path, photo):
    save_image(tmp_path / "grey.png", photo[..., 0])
    ((_, hr),) = made(tmp_path)
    np.testing.assert_array_equal(hr, photo[..., 0])
    save_image(tmp_path / "grey.png", photo[..., [0, 0, 0]])  # Grey in RGB: studio range.
    ((_, hr),) = made(tmp_path)
    np.testing.assert_array_equal(hr, np.floor(16 + photo[..., 0] * (219 / 255) + 0.5))


def test_shrunk_and_repeated_pictures_come_in_order(pictures):
    found = made(pictures, shrinks=(1.0, 0.5), degradation=proposed_model(2), variants=2)
    assert [hr.shape for _, hr in found] == [
        *((96, 96), (96, 96), (48, 48), (48, 48)),
        *((80, 100), (80, 100), (40, 50), (40, 50)),
        *((64, 70), (64, 70), (32, 36), (32, 36)),
    ]
    for lr, hr in found:
        assert hr.shape == tuple(2 * side for side in lr.shape)


def test_shrunk_pictures_are_the_picture(pictures):
    (_, whole), (_, half) = made(pictures, shrinks=(1.0, 0.5))[:2]
    difference = np.abs(half - bicubic(whole, half.shape))
    assert difference.mean() < 1
    assert difference.max() < 30


def test_each_variant_is_degraded_anew_and_by_the_seed(pictures):
    options = {"degradation": proposed_model(2), "variants": 3}
    found, again, other = (made(pictures, seed=seed, **options) for seed in (1, 1, 2))
    assert_same_pairs(found, again)
    for (lr, hr), (other_lr, other_hr) in zip(found, other, strict=True):
        assert (lr != other_lr).any()
        np.testing.assert_array_equal(hr, other_hr)
    for first in range(0, 9, 3):
        lrs = [lr for lr, _ in found[first : first + 3]]
        assert (lrs[0] != lrs[1]).any()
        assert (lrs[1] != lrs[2]).any()


def test_pictures_are_degraded_in_colour(tmp_path, painting):
    """JPEG sees colours, not the luma of them."""
    save_image(tmp_path / "x.png", painting)
    ((in_colour, _),) = made(tmp_path, scale=1, degradation=jpeg(5, 5))
    save_image(tmp_path / "x.png", data.luma_8_bit(painting))
    ((of_luma, _),) = made(tmp_path, scale=1, degradation=jpeg(5, 5))
    assert np.abs(in_colour.astype(int) - of_luma).mean() > 1


def test_pictures_that_cannot_be_used_are_left_out(pictures, tmp_path, photo):
    for file in pictures.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "aa.png").write_bytes(b"broken")
    for side in (1, 2, data.SMALLEST - 1):
        save_image(tmp_path / f"ab{side}.png", photo[:side, :40])
    for model in (bicubic_model(2), proposed_model(2)):
        found = made(tmp_path, degradation=model)
        assert [hr.shape for _, hr in found] == [(96, 96), (80, 100), (64, 70)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_smallest_picture_is_used_and_not_shrunk(tmp_path, photo, scale):
    save_image(tmp_path / "x.png", photo[: data.SMALLEST, : data.SMALLEST])
    model = proposed_model(scale)
    found = made(tmp_path, scale=scale, degradation=model, shrinks=(1.0, 0.9))
    assert [lr.shape for lr, _ in found] == [(data.SMALLEST // scale,) * 2]


def test_no_picture_at_all_is_one_line(tmp_path):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(ImageError, match="none of the 2 pictures can be read"):
        made(tmp_path)


# === Crops ===


def batches(pairs, steps, **options) -> list[tuple[np.ndarray, np.ndarray]]:
    settings = {"size": 4, "batch": 3, "seed": 0, **options}
    dataset = data.crops(pairs, steps=steps, **settings)
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def enlarged(lr: np.ndarray, scale: int = 2) -> data.Pair:
    """A pair whose HR picture repeats the pixels of its LR picture."""
    return lr, lr.repeat(scale, 0).repeat(scale, 1)


def numbered(height: int, width: int, first: int = 0) -> np.ndarray:
    """Each pixel's value is its own."""
    return np.arange(first, first + height * width, dtype=np.uint8).reshape(height, width)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_crops_are_aligned_however_they_are_turned(scale):
    pairs = [enlarged(numbered(9, 11), scale), enlarged(numbered(7, 20, 100), scale)]
    found = batches(pairs, range(12))
    assert len(found) == 12
    for x, y in found:
        assert x.shape == (3, 4, 4, 1)
        assert y.shape == (3, 4 * scale, 4 * scale, 1)
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(y, x.repeat(scale, 1).repeat(scale, 2))


def test_crops_are_luma_of_256_parts():
    lr = np.full((4, 4), 77, np.uint8)
    ((x, y),) = batches([enlarged(lr)], range(1))
    assert (x == 77 / 256).all()
    assert (y == 77 / 256).all()


def test_all_eight_orientations_appear_alike():
    square = numbered(4, 4)
    turned = [np.rot90(flipped, k) for flipped in (square, square.T) for k in range(4)]
    counts = np.zeros(8, int)
    for x, _ in batches([enlarged(square)], range(40), batch=20):
        for crop in np.uint8(x[..., 0] * 256):
            counts[[(crop == other).all() for other in turned].index(True)] += 1
    assert counts.sum() == 800
    assert counts.min() > 60


def test_every_pixel_is_reached():
    pairs = [enlarged(numbered(6, 7)), enlarged(numbered(5, 9, 100))]
    seen = {int(v) for x, _ in batches(pairs, range(60)) for v in np.unique(x * 256)}
    assert seen == {*range(42), *range(100, 145)}


def test_pictures_are_drawn_in_proportion_to_their_area():
    pairs = [enlarged(np.full(shape, v, np.uint8)) for v, shape in ((1, (10, 10)), (2, (10, 30)))]
    levels = np.concatenate([x[:, 0, 0, 0] * 256 for x, _ in batches(pairs, range(40), batch=50)])
    assert np.mean(levels == 2) == pytest.approx(0.75, abs=0.04)


def test_batch_depends_on_its_step_and_the_seed_alone():
    pairs = [enlarged(numbered(12, 15))]
    whole, late, other = (
        batches(pairs, range(first, 6), seed=seed) for first, seed in ((0, 0), (4, 0), (0, 1))
    )
    np.testing.assert_array_equal([x for x, _ in whole[4:]], [x for x, _ in late])
    np.testing.assert_array_equal([y for _, y in whole[4:]], [y for _, y in late])
    assert (whole[0][0] != whole[1][0]).any()
    assert (whole[0][0] != other[0][0]).any()


def test_pictures_smaller_than_a_crop_are_left_out():
    small = enlarged(np.full((30, 3), 200, np.uint8))
    found = batches([small, enlarged(numbered(4, 4))], range(20))
    assert max(x.max() for x, _ in found) * 256 == 15


def test_no_picture_as_large_as_a_crop_is_one_line():
    with pytest.raises(SettingsError, match="all pictures are smaller than crops of 5 LR pixels"):
        batches([enlarged(numbered(4, 9))], range(1), size=5)
