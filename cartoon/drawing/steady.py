"""Cartoons of neighbouring frames that do not flicker, and how much they do.

What flickers frame by frame: tones that K-histogram counts and places anew; pixels between two
tones, and weak outlines, which noise moves to and fro. So tones follow a running histogram, noise
is averaged over time before drawing, and so is the drawing; but only where nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from cartoon.config import CartoonConfig
from cartoon.drawing.backdrop import WHITE, Backdrop, lay_on
from cartoon.drawing.fine import draw_fine, find_tones
from cartoon.drawing.k_histogram import nearest
from cartoon.drawing.report import draw_report, find_centroids

RATE = 0.1
"""The newest frame's weight in running averages, where nothing moves."""

MOVING = (4.0, 12.0)
"""Differences in levels, of slightly blurred frames, from which a pixel is taken to move, and from
which it does so fully: then averages start anew."""

CUT, FAR = 16.0, 32.0
"""Centroids are chosen anew when a frame's histogram is so many levels from the running one, or
that from the one that they were chosen for."""

STILL = 3
"""A pixel of the source stays if each channel changes by fewer levels."""

Choose = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Gives the centroids, (K,) each, ascending, of some channels' histograms, int64 (L,) each."""

Segment = Callable[[np.ndarray], np.ndarray]
"""Gives the mask of a person, float32 (H, W) in [0, 1], in a picture, uint8 (H, W, 3)."""


class SteadyCentroids:
    """Centroids for the histograms of frame after frame, whose number changes at cuts alone.

    At the first frame and at cuts they are those of `choose`. Between these, each follows the mean
    of its group in a running histogram (one step of k-means a frame, from the former centroids);
    and what is given changes when one has moved by a whole level.

    Args:
        choose: gives centroids of their own to histograms; the last of these, of lightness or
            value, is the one that cuts are told by.
    """

    def __init__(self, choose: Choose):
        self.choose = choose
        self.chosen = 0
        """How often centroids were chosen: for the first frame, and at each cut."""
        self._running: list[np.ndarray] = []

    def __call__(self, counts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The centroids for a frame: (K,) each, ascending.

        Args:
            counts: int64 (L,) each, the frame's histograms.
        """
        shares = [own / max(1, own.sum()) for own in counts]
        if not self._running or self._is_cut(shares[-1]):
            self._start(counts, shares)
        else:
            self._follow(shares)
        return self._shown

    def _start(self, counts: Sequence[np.ndarray], shares: list[np.ndarray]) -> None:
        self.chosen += 1
        self._running, self._first = shares, shares[-1]
        self._shown = self._centroids = [np.float64(own) for own in self.choose(counts)]
        # `choose` rounds and stops early: from there k-means would go on though nothing changes.
        self._offsets = [
            own - group_means(own, share) for own, share in zip(self._shown, shares, strict=True)
        ]

    def _follow(self, shares: list[np.ndarray]) -> None:
        self._running = [
            old + RATE * (new - old) for old, new in zip(self._running, shares, strict=True)
        ]
        followed = zip(self._centroids, self._running, self._offsets, strict=True)
        self._centroids = [
            np.sort(group_means(own, share) + offset) for own, share, offset in followed
        ]
        self._shown = [
            np.where(np.abs(own - shown) < 1, shown, np.rint(own))
            for own, shown in zip(self._centroids, self._shown, strict=True)
        ]

    def _is_cut(self, share: np.ndarray) -> bool:
        running = self._running[-1]
        return distance(share, running) > CUT or distance(running, self._first) > FAR


def group_means(centroids: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The mean of the levels nearest to each centroid; of those without pixels, itself.

    Args:
        centroids: (K,), ascending.
        share: float64 (L,), of pixels that have each level.
    """
    levels = np.arange(len(share))
    groups = nearest(levels, centroids)
    pixels = np.bincount(groups, share, minlength=len(centroids))
    sums = np.bincount(groups, share * levels, minlength=len(centroids))
    return np.where(pixels > 1e-9, sums / np.maximum(pixels, 1e-9), centroids)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """By how many levels pixels must move, on average, to make one histogram the other.

    Args:
        one, other: (L,), each with the sum 1.
    """
    return float(np.abs(np.cumsum(one - other)).sum())


class SteadyAverage:
    """A running average of pictures, float32, pixel by pixel."""

    def __init__(self):
        self.value: np.ndarray | None = None

    def __call__(self, picture: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Takes in a picture.

        Args:
            picture: (H, W) or (H, W, C).
            weight: of this picture against those before it, float32 (H, W) in [0, 1].
        """
        if self.value is None:
            self.value = picture.astype(np.float32)
        else:
            change = picture - self.value
            change *= weight.reshape(*weight.shape, *[1] * (picture.ndim - 2))
            self.value += change
        return self.value


class SteadyCartoon:
    """Draws the frames of one video, one after the other.

    Args:
        config: how they are drawn.
        segment: finds the person to be cut out; without, all is drawn.
        backdrop: gives what a cut-out person is laid on, for each frame; opaque.
    """

    def __init__(
        self,
        config: CartoonConfig,
        *,
        segment: Segment | None = None,
        backdrop: Backdrop = lambda photo: WHITE,
    ):
        self.config, self.segment, self.backdrop = config, segment, backdrop
        self._image, self._drawn, self._mask = (SteadyAverage() for _ in range(3))
        if config.method == "report":
            self.centroids = SteadyCentroids(lambda counts: find_centroids(counts, config))
        else:
            self.centroids = SteadyCentroids(lambda counts: [find_tones(counts[0], config)])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Draws the next frame.

        Args:
            image: uint8 (H, W, 3), RGB, all of one size.

        Returns:
            uint8 (H, W, 3); of the first frame, what its still picture becomes.
        """
        drawn, mask = self.layers(image, None if self.segment is None else self.segment(image))
        if mask is None:
            return _to_8_bit(drawn)
        behind = self.backdrop(image)
        if behind.shape[-1] != 3:
            raise ValueError("videos have no transparency: choose an opaque backdrop")
        return lay_on(drawn, mask, behind)

    def layers(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draws the next frame, and lays it on nothing.

        Args:
            image: uint8 (H, W, 3), RGB, all of one size.
            mask: of the person to be cut out, float32 (H, W) in [0, 1]; None: all is drawn.

        Returns:
            The drawing, float32 (H, W, 3) in [0, 255], and its mask; to be copied before the next
            frame.

        Raises:
            ValueError: the mask is of another size.
        """
        weight = self._weight(image)
        calm = _to_8_bit(self._image(image, weight))
        # Outlines are wider than the edges that move.
        reach = 1 + round(np.hypot(*image.shape[:2]) * (4 + self.config.outline) / 1000)
        weight = cv2.dilate(weight, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        if mask is None:
            return self._drawn(self._draw(calm), weight), None
        if mask.shape != image.shape[:2]:
            raise ValueError(f"a mask of {mask.shape} for a picture of {image.shape}")
        mask = self._mask(mask, weight)
        return self._drawn(self._draw(calm, mask), weight), mask

    def _weight(self, image: np.ndarray) -> np.ndarray:
        """A frame's weight in averages, pixel by pixel: 1 where it moved, else `RATE`."""
        if self._image.value is None:
            return np.ones(image.shape[:2], np.float32)
        change = cv2.GaussianBlur(image - self._image.value, (0, 0), 1.5)
        least, most = MOVING
        moved = (_largest(np.abs(change)) - least) / (most - least)
        return np.clip(moved, RATE, 1)

    def _draw(self, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        if self.config.method == "report":
            image = image if mask is None else lay_on(image, mask, WHITE)
            return draw_report(image, self.config, self.centroids)
        return draw_fine(image, self.config, tones=lambda own: self.centroids([own])[0], mask=mask)


def _largest(image: np.ndarray) -> np.ndarray:
    """Of each pixel's channels. (NumPy's `max` takes many times longer over so short an axis.)"""
    return np.maximum.reduce(cv2.split(image))


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    return np.rint(image).astype(np.uint8)


class Flicker:
    """Counts how much results change where their sources do not; two frames are held.

    `value` is the mean absolute change in levels, over all channels, from each frame's result to
    the next one's, at pixels whose sources differ by fewer than `STILL` levels in each channel.
    """

    def __init__(self):
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._sum = self._count = 0

    def add(self, source: np.ndarray, result: np.ndarray) -> None:
        """Takes in the next frame: uint8 (H, W, 3) both."""
        if self._before is not None:
            still = _largest(cv2.absdiff(source, self._before[0])) < STILL
            change = cv2.absdiff(result, self._before[1])
            count = np.count_nonzero(still)
            self._sum += count * sum(cv2.mean(change, mask=still.astype(np.uint8))[:3])
            self._count += 3 * count
        self._before = source, result

    @property
    def value(self) -> float | None:
        """In levels; None if no pixel stayed."""
        return self._sum / self._count if self._count else None


def flicker(sources: Iterable[np.ndarray], results: Iterable[np.ndarray]) -> float | None:
    """`Flicker` of frames, uint8 (H, W, 3) each."""
    counted = Flicker()
    for source, result in zip(sources, results, strict=True):
        counted.add(source, result)
    return counted.value
