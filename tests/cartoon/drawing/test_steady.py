"""Steady cartoons: tones that follow, noise that is averaged, and nothing smeared."""

import itertools

import cv2
import numpy as np
import pytest

from atelier.media.images import resize
from cartoon import PRESETS, CartoonConfig, cartoonize
from cartoon.drawing.backdrop import WHITE, lay_on
from cartoon.drawing.fine import draw_fine
from cartoon.drawing.k_histogram import k_histogram
from cartoon.drawing.report import draw_report
from cartoon.drawing.steady import (
    SteadyAverage,
    SteadyCartoon,
    SteadyCentroids,
    distance,
    flicker,
    group_means,
)

HEIGHT, WIDTH = 96, 128


def scene(seed=0, count=8, noise=4.0, drift=0.4):
    """A slope of colours and a block, which grow lighter, under noise; a disc moves over them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    still = np.stack([60 + 0.7 * x, 70 + 0.8 * y, 150 - 0.5 * x], axis=-1)
    still[12:40, 72:116] = 200, 60, 50
    for number in range(count):
        frame = still + drift * number
        frame[(x - 12 - 2 * number) ** 2 + (y - 68) ** 2 < 80] = 230, 210, 80
        frame += rng.normal(0, noise, frame.shape)
        yield np.uint8(np.clip(np.rint(frame), 0, 255))


def hills(*centres, seed=None, pixels=40_000) -> np.ndarray:
    """A histogram with hills around some levels, int64 (256,); with a seed, a noisy one."""
    levels = np.arange(256)
    share = sum(np.exp(-((levels - centre) ** 2) / 300) for centre in centres)
    counts = pixels * share / share.sum()
    return np.int64(counts if seed is None else np.random.default_rng(seed).poisson(counts))


def steady() -> SteadyCentroids:
    return SteadyCentroids(lambda counts: [k_histogram(own, 1e-3, 32) for own in counts])


# === Flicker ===


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_and_drift_flicker_several_times_less_than_frame_by_frame(preset, seed):
    frames = list(scene(seed))
    artist = SteadyCartoon(PRESETS[preset])
    plain = flicker(frames, (cartoonize(frame, preset).image for frame in frames))
    found = flicker(frames, (artist(frame) for frame in frames))
    assert found < plain / 4
    assert artist.centroids.chosen == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_frame_is_as_its_still_picture(preset, photo):
    np.testing.assert_array_equal(
        SteadyCartoon(PRESETS[preset])(photo), cartoonize(photo, preset).image
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_what_moves_leaves_no_trace(preset, monkeypatch):
    """Without noise, averages change little of what is drawn without them."""
    frames = list(scene(noise=0, drift=0, count=12))

    def last(**constants) -> np.ndarray:
        with monkeypatch.context() as patch:
            for name, value in constants.items():
                patch.setattr(f"cartoon.drawing.steady.{name}", value)
            artist = SteadyCartoon(PRESETS[preset])
            return [artist(frame).astype(int) for frame in frames][-1]

    expected, found, smeared = last(RATE=1.0), last(), last(MOVING=(1e3, 2e3))
    assert np.abs(found - expected).mean() < np.abs(smeared - expected).mean() / 4


def test_outlines_leave_with_what_they_are_drawn_around():
    """They reach some pixels beyond the edge."""
    y, x = np.mgrid[:384, :512]
    ground = np.stack([100 + x // 8, 100 + y // 8, 140 + 0 * x], axis=-1)
    artist = SteadyCartoon(CartoonConfig(outline=10))
    results = []
    for left in (80, 320):
        frame = np.uint8(ground)
        frame[120:240, left : left + 120] = 20
        results.append(artist(frame).astype(int))
    before, after = (result[115:118, 100:180] for result in results)
    assert before.max() < 60
    assert after.min() > 80


def test_noise_is_averaged_away_from_what_is_drawn():
    """Of a flat picture under noise, smoothing turned off."""
    rng = np.random.default_rng(0)
    artist = SteadyCartoon(CartoonConfig(smoothing=0, outline=0))
    for _ in range(20):
        noisy = np.uint8(np.rint(120 + rng.normal(0, 4, (HEIGHT, WIDTH, 3))))
        drawn = artist(noisy)
    assert drawn.std(axis=(0, 1)).mean() < noisy.std(axis=(0, 1)).mean() / 2


def test_flicker_by_hand():
    source = np.zeros((3, 1, 2, 3), np.uint8)
    source[1:, 0, 0, 1] = 2  # Two levels are still none.
    source[2, 0, 1, 2] = 5  # From then on, the second pixel moves.
    result = np.zeros((3, 1, 2, 3), np.uint8)
    result[1, 0, 0] = 9, 0, 0
    result[1, 0, 1] = 0, 3, 0
    result[2, 0, 0] = 9, 0, 6
    result[2, 0, 1] = 200
    # 9 + 3 over six values, then 6 over three.
    assert flicker(source, result) == pytest.approx(18 / 9)
    assert flicker(source[:1], result[:1]) is None
    assert flicker(np.uint8([[[[0] * 3]], [[[9] * 3]]]), np.zeros((2, 1, 1, 3), np.uint8)) is None


# === Cut-outs ===


def test_masks_are_steady_where_nothing_moves_and_follow_what_does():
    rng = np.random.default_rng(0)
    left = 20

    def segment(image):
        mask = np.zeros(image.shape[:2], np.float32)
        mask[30:60, left : left + 30] = 1
        mask[80:90] = rng.random((10, WIDTH)) < 0.5
        return mask

    artist = SteadyCartoon(
        CartoonConfig(outline=0), segment=segment, backdrop=lambda photo: np.uint8((0, 0, 255))
    )
    results = []
    for _ in range(30):
        frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        frame[30:60, left : left + 30] = 200
        results.append(artist(frame).astype(int))
        left += 2
    last = results[-1]
    person = last[35:55, left + 5 : left + 20]
    assert np.abs(person - person[0, 0]).max() <= 2
    assert person[0, 0].tolist() == pytest.approx([200, 200, 200], abs=6)
    assert (last[5:20] == (0, 0, 255)).all()
    assert (last[30:60, 20:50] == (0, 0, 255)).all()  # Where the person was.
    flips = np.abs(last - results[-2])[82:88, :, 2].mean()
    # Half of the pixels would change from 60 to 255.
    assert 0 < flips < (255 - 60) / 2 / 3


def test_a_mask_of_another_shape_is_refused(photo):
    artist = SteadyCartoon(PRESETS["fine"], segment=lambda image: np.ones((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"a mask of \(4, 4\) for a picture of \(96, 96, 3\)"):
        artist(photo)


def test_tones_and_outlines_are_the_cut_outs(photo):
    """Of the first frame, as of a still picture with that mask, laid on the backdrop."""
    mask = np.zeros((96, 96), np.float32)
    mask[20:80, 30:70] = 1
    mask[50] /= 2
    config = CartoonConfig(smallest=8)
    artist = SteadyCartoon(config, segment=lambda image: mask, backdrop=lambda image: image // 2)
    drawn = draw_fine(photo, config, mask=mask)
    assert (drawn != draw_fine(photo, config)).any()
    np.testing.assert_array_equal(artist(photo), lay_on(drawn, mask, photo // 2))


def test_the_report_draws_what_is_laid_on_white(photo):
    mask = np.zeros((96, 96), np.float32)
    mask[20:80, 30:70] = 1
    green = np.uint8((0, 200, 0))
    artist = SteadyCartoon(PRESETS["report"], segment=lambda _: mask, backdrop=lambda _: green)
    drawn = draw_report(lay_on(photo, mask, WHITE), PRESETS["report"])
    np.testing.assert_array_equal(artist(photo), lay_on(drawn, mask, green))


def test_a_backdrop_that_shines_through_is_refused(photo):
    artist = SteadyCartoon(
        PRESETS["fine"],
        segment=lambda image: np.ones((96, 96), np.float32),
        backdrop=lambda image: np.uint8((0, 0, 0, 0)),
    )
    with pytest.raises(ValueError, match="videos have no transparency"):
        artist(photo)


# === Centroids ===


def test_centroids_start_as_those_that_are_chosen_and_stay_without_change():
    """Even if k-means would go on from them."""
    centroids = SteadyCentroids(lambda counts: [np.array([30, 150])])
    counts = hills(60, 190)
    assert np.abs(group_means(np.array([30.0, 150.0]), counts / counts.sum()) - (30, 150)).max() > 9
    for _ in range(30):
        np.testing.assert_array_equal(centroids([counts])[0], [30, 150])


def test_noise_does_not_change_centroids():
    centroids = steady()
    frames = [hills(50, 120, 200, seed=seed, pixels=4000) for seed in range(20)]
    found = [centroids([counts])[0] for counts in frames]
    assert len({k_histogram(counts, 1e-3, 32).tobytes() for counts in frames}) > 10
    changes = [np.abs(b - a).max() for a, b in itertools.pairwise(found)]
    assert np.count_nonzero(changes) <= 3
    assert max(changes) <= 2


def test_centroids_follow_drift_in_small_steps():
    centroids = steady()
    found = [centroids([hills(60 + t / 4, 190 + t / 4)])[0] for t in range(100)]
    assert centroids.chosen == 1
    assert len({len(own) for own in found}) == 1
    changes = np.diff(np.stack(found), axis=0)
    assert np.abs(changes).max() <= 3
    assert 15 < (found[-1] - found[0]).mean() < 27


def test_a_cut_chooses_anew():
    centroids = steady()
    for _ in range(5):
        centroids([hills(60, 70)])
    other = hills(40, 120, 230)
    np.testing.assert_array_equal(centroids([other])[0], k_histogram(other, 1e-3, 32))
    assert centroids.chosen == 2


def test_after_black_there_are_tones_again():
    """A fade so slow that no frame is a cut."""
    centroids = steady()
    black = np.zeros(256, np.int64)
    black[0] = 40_000
    assert len(centroids([black])[0]) == 1
    for t in range(100):
        found = centroids([hills(t, 2 * t)])[0]
    assert len(found) > 2
    assert centroids.chosen > 1


def test_cuts_are_told_by_the_last_channel():
    centroids = SteadyCentroids(lambda counts: [np.array([9]), np.array([100])])
    for hue in (10, 170, 10, 170):
        centroids([hills(hue), hills(100)])
    assert centroids.chosen == 1


def test_no_pixels_at_all():
    found = steady()([np.zeros(256, np.int64)])
    np.testing.assert_array_equal(found[0], [128])


def test_palettes_can_be_given(photo):
    """As such, or by a function of the histograms."""
    config, seen = CartoonConfig(smoothing=0, outline=0), []
    tones = np.array([60, 200])

    def choose(counts):
        seen.append(counts)
        return tones

    found = draw_fine(photo, config, tones=tones)
    np.testing.assert_array_equal(draw_fine(photo, config, tones=choose), found)
    lightness = cv2.cvtColor(resize(photo, (384, 384)), cv2.COLOR_RGB2LAB)[..., 0]
    np.testing.assert_array_equal(seen[0], np.bincount(lightness.ravel(), minlength=256))
    assert not (found == draw_fine(photo, config)).all()

    given, config = [np.array([20]), np.array([100]), tones], PRESETS["report"]
    found = draw_report(photo, config, given)
    hsv = cv2.cvtColor(found, cv2.COLOR_RGB2HSV)
    drawn = found.any(axis=-1)  # All but outlines.
    assert set(np.unique(hsv[drawn][:, 2])) == {60, 200}
    np.testing.assert_array_equal(draw_report(photo, config, lambda counts: given), found)


def test_group_means_by_hand():
    share = np.zeros(256)
    share[[10, 20, 30, 200]] = 0.1, 0.2, 0.3, 0.4
    found = group_means(np.array([12.0, 40.0, 120.0, 190.0]), share)
    np.testing.assert_allclose(found, [(1 + 4) / 0.3, 30, 120, 200])


def test_distance_is_how_far_pixels_move():
    assert distance(np.float64([1, 0, 0, 0]), np.float64([0, 0, 0, 1])) == 3
    assert distance(np.float64([0.5, 0.5, 0, 0]), np.float64([0, 0.5, 0.5, 0])) == 1


def test_average_by_hand():
    average = SteadyAverage()
    first = np.full((1, 2, 3), 10, np.uint8)
    np.testing.assert_array_equal(average(first, np.float32([[0, 0]])), first)
    found = average(first + 10, np.float32([[0.1, 1]]))
    np.testing.assert_allclose(found[0, :, 0], [11, 20])
    assert found.dtype == np.float32
