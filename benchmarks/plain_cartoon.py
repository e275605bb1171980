"""The report's Section 2 as plainly as it is written there: what `cartoon` is measured against.

Where the report's program would go on forever, this one raises `Endless`.
"""

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


def k_histogram(hist, alpha=0.001, smallest=80):
    centroids = np.array([128])
    for _ in range(MOST):
        centroids, groups = update_centroids(centroids, hist)
        new = set()
        for i, levels in groups.items():
            if len(levels) < smallest:
                new.add(centroids[i])
                continue
            _, p = stats.normaltest(hist[levels])
            if p < alpha:
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


def cartoonize(image):
    """uint8 (H, W, 3) to uint8 (H, W, 3)."""
    output = np.array(image)
    height, width, channels = output.shape
    for i in range(channels):
        output[:, :, i] = cv2.bilateralFilter(output[:, :, i], 5, 50, 50)
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
    output = cv2.cvtColor(output, cv2.COLOR_HSV2RGB)
    contours, _ = cv2.findContours(edge, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(output, contours, -1, 0, thickness=1)
