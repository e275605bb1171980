"""The report's Section 2 as plainly as it is written there: what `cartoon` is measured against.

Where the report's program would go on forever, this one raises `Endless`. It runs on what there was
in 2021, too: Python 3.8, OpenCV 4.5.1 and SciPy 1.6.3; see `benchmarks/report_2021.py`.
"""

import sys
from collections import defaultdict

import cv2
import numpy as np
from scipy import stats

MOST = 300
"""Turns of a loop, after which it is taken to be endless."""


class Endless(Exception):
    pass


def update_centroids(centroids, hist):
    for _ in range(MOST):
        groups = defaultdict(list)
        for level in range(len(hist)):
            if hist[level] == 0:
                continue
            groups[np.argmin(np.abs(centroids - level))].append(level)
        new = np.array(centroids)
        for i, levels in groups.items():
            if np.sum(hist[levels]) == 0:
                continue
            new[i] = int(np.sum(levels * hist[levels]) / np.sum(hist[levels]))
        if np.sum(new - centroids) == 0:
            break
        centroids = new
    else:
        raise Endless
    return centroids, groups


def normal_probability(counts):
    """Of counts that are all alike SciPy 1.6.3 gives next to nothing, and later releases nan."""
    if np.all(counts == counts[0]):
        return 0
    return stats.normaltest(counts)[1]


def k_histogram(hist, alpha=0.001, smallest=80):
    centroids = np.array([128])
    for _ in range(MOST):
        centroids, groups = update_centroids(centroids, hist)
        new = set()
        for i, levels in groups.items():
            if len(levels) < smallest:
                new.add(centroids[i])
                continue
            if normal_probability(hist[levels]) < alpha:
                left = 0 if i == 0 else centroids[i - 1]
                right = len(hist) - 1 if i == len(centroids) - 1 else centroids[i + 1]
                if right - left >= 3:
                    new.add((centroids[i] + left) / 2)
                    new.add((centroids[i] + right) / 2)
                else:
                    new.add(centroids[i])
            else:
                new.add(centroids[i])
        if len(new) == len(centroids):
            break
        centroids = np.array(sorted(new))
    else:
        raise Endless
    return centroids


def opencv_filter(plane):
    """uint8 (H, W) to uint8 (H, W): the report's filter, whose rounding depends on the machine."""
    return cv2.bilateralFilter(plane, 5, 50, 50)


def exact_filter(plane):
    """The same in integers, rounded as OpenCV's x86 wheels do, which have IPP."""
    padded = np.pad(plane, 2, "reflect").astype(np.int64)
    height, width = plane.shape
    weight = np.rint(2.0**44 * np.exp(-np.arange(255**2 + 5) / (2 * 50**2))).astype(np.int64)
    sums = totals = 0
    for y in range(5):
        for x in range(5):
            distance = (y - 2) ** 2 + (x - 2) ** 2
            if distance <= 2**2:
                values = padded[y : y + height, x : x + width]
                own = weight[(values - plane) ** 2 + distance]
                sums, totals = sums + own * values, totals + own
    down, nearest = sums // totals, (2 * sums + totals) // (2 * totals)
    if width < 16 or height < 5:
        return nearest.astype(np.uint8)
    for columns in (slice(2), slice(-2, None)):
        down[2:-2, columns] = nearest[2:-2, columns]
    return down.astype(np.uint8)


def opencv_rgb(hsv):
    """uint8 (H, W, 3) to uint8 (H, W, 3): also this depends on the machine, by a level."""
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def cartoonize(image, smooth=opencv_filter, to_rgb=opencv_rgb):
    """uint8 (H, W, 3) to uint8 (H, W, 3)."""
    output = np.array(image)
    height, width, channels = output.shape
    for i in range(channels):
        output[:, :, i] = smooth(output[:, :, i])
    edge = cv2.Canny(output, 100, 200)
    output = cv2.cvtColor(output, cv2.COLOR_RGB2HSV)
    hists = [
        np.histogram(output[:, :, i], bins=np.arange(levels + 1))[0]
        for i, levels in enumerate((180, 256, 256))
    ]
    centroids = [k_histogram(hist) for hist in hists]
    output = output.reshape((-1, channels))
    for i in range(channels):
        channel = output[:, i]
        index = np.argmin(np.abs(channel[:, np.newaxis] - centroids[i]), axis=1)
        output[:, i] = centroids[i][index]
    output = output.reshape((height, width, channels))
    output = to_rgb(output)
    contours, _ = cv2.findContours(edge, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(output, contours, -1, 0, thickness=1)


def main(pictures, drawings):
    """Draws all pictures of one .npz file into another; those without an end are left out."""
    drawn = {}
    for name, picture in np.load(pictures).items():
        try:
            drawn[name] = cartoonize(picture)
        except Endless:
            continue
    np.savez(drawings, **drawn)


if __name__ == "__main__":
    main(*sys.argv[1:])
