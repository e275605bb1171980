"""Video of high dynamic range (PQ and HLG) mapped to what networks and ordinary screens know.

Light in cd/m² is reckoned from the codes as ITU-R BT.2100 says, for HLG as a screen of 1,000 cd/m²
shows it; what is brighter than white, 203 cd/m² by BT.2408, is rolled off by the curve of BT.2390,
section 5.4.1, on the largest of a pixel's three colours, so that hues stay; BT.2020's primaries
become BT.709's; and the result is coded for a screen as in BT.1886.
"""

from __future__ import annotations

import functools
import struct

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace

from atelier.media.video.frame_colors import is_full_range, is_rgb

PQ, HLG = 16, 18
"""Transfer characteristics, as in ITU-T H.273, table 3."""

CURVES = {PQ: "PQ", HLG: "HLG"}
"""What users are told they are."""

WHITE = 203.0
"""cd/m² of diffuse white (BT.2408, section 2.1), which becomes the brightest that there is."""

USUAL_PEAK, HIGHEST_PEAK = 1000.0, 10_000.0
"""cd/m² of what was mastered without saying on which screen, and the most that PQ can code."""

ROWS = 256
"""Of a frame that are in hand as floats at a time."""

_BT709 = 1

_TO_BT709 = np.float32(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""BT.2020's primaries to BT.709's, of linear light (BT.2087, section 2)."""

_HLG_LUMA = np.float32([0.2627, 0.6780, 0.0593])


def pq_to_light(signal: np.ndarray) -> np.ndarray:
    """cd/m² of PQ signals in [0, 1] (BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = _PQ
    root = np.power(signal, 1 / m2)
    return 10_000 * np.power(np.maximum(root - c1, 0) / (c2 - c3 * root), 1 / m1)


def light_to_pq(light: np.ndarray) -> np.ndarray:
    """PQ signals in [0, 1] of light in cd/m² (BT.2100, table 4)."""
    m1, m2, c1, c2, c3 = _PQ
    power = np.power(np.asarray(light) / 10_000, m1)
    return np.power((c1 + c2 * power) / (1 + c3 * power), m2)


_PQ = (2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """Light of the scene in [0, 1] of HLG signals in [0, 1] (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def roll_off(light: np.ndarray, peak: float, white: float = WHITE) -> np.ndarray:
    """Brings light of up to `peak` below `white`, both in cd/m²: BT.2390, section 5.4.1."""
    top = light_to_pq(np.float64(peak))
    signal, most = np.minimum(light_to_pq(light) / top, 1), float(light_to_pq(white) / top)
    if most >= 1:
        return np.minimum(light, white)
    knee = 1.5 * most - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    spline += (3 * t**2 - 2 * t**3) * most
    return pq_to_light(np.where(signal < knee, signal, spline) * top)


def peak_of(frame: av.VideoFrame) -> float:
    """cd/m² of the brightest that a frame may show, by what its file says of it."""
    if frame.color_trc == HLG:
        return USUAL_PEAK
    stated = []
    light = frame.side_data.get(SideData.CONTENT_LIGHT_LEVEL)
    if light is not None and len(bytes(light)) >= 4:
        stated.append(float(struct.unpack_from("I", bytes(light))[0]))
    screen = frame.side_data.get(SideData.MASTERING_DISPLAY_METADATA)
    if screen is not None and len(bytes(screen)) >= 88:
        # FFmpeg's AVMasteringDisplayMetadata: 10 fractions, of which the last is the most.
        above, below, _, known = struct.unpack_from("iiii", bytes(screen), 72)
        if known and below > 0:
            stated.append(above / below)
    sensible = [light for light in stated if WHITE <= light <= HIGHEST_PEAK]
    return sensible[0] if sensible else USUAL_PEAK


class ToneMapper:
    """Maps the frames of one video that are of high dynamic range; others it passes on."""

    def __init__(self):
        self._curve, self._peak = None, USUAL_PEAK

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A frame itself, or its picture in BT.709, 8-bit RGB, with its times and rotation."""
        if frame.color_trc not in CURVES:
            return frame
        if self._curve is None:  # Of the first: a peak that changes would flicker.
            self._curve, self._peak = frame.color_trc, peak_of(frame)
        result = frame.reformat(format="rgb24")  # Which keeps what goes with it.
        plane = result.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : 3 * frame.width] = to_sdr(frame, self._peak).reshape(frame.height, -1)
        result.color_primaries = result.color_trc = result.colorspace = _BT709
        result.color_range = ColorRange.MPEG
        return result

    @property
    def notes(self) -> tuple[str, ...]:
        """A line that says what has been done."""
        if self._curve is None:
            return ()
        return (f"HDR ({CURVES[self._curve]}) is mapped to standard range, BT.709",)


def to_sdr(frame: av.VideoFrame, peak: float) -> np.ndarray:
    """The picture of a frame of PQ or HLG, for an ordinary screen.

    Args:
        frame: of any format; its tags say how it is coded.
        peak: cd/m² of the brightest in it, for PQ.

    Returns:
        uint8 (H, W, 3), RGB, BT.709's primaries.
    """
    source = {}
    if not is_rgb(frame):
        matrix = Colorspace.ITU709 if frame.colorspace == _BT709 else Colorspace.BT2020
        levels = ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG
        source = {"src_colorspace": matrix, "src_color_range": levels}
    codes = frame.reformat(format="rgb48le", dst_color_range=ColorRange.JPEG, **source).to_ndarray()
    wide = frame.color_primaries != _BT709
    picture = np.empty(codes.shape, np.uint8)
    for top in range(0, len(codes), ROWS):
        light = _light(codes[top : top + ROWS], frame.color_trc)
        brightest = light.max(axis=-1)
        table = _gains(USUAL_PEAK if frame.color_trc == HLG else peak)
        place = np.sqrt(np.sqrt(np.minimum(brightest / HIGHEST_PEAK, 1)))
        light *= table[np.rint(place * (len(table) - 1)).astype(np.intp)][..., None] / WHITE
        if wide:
            light = light @ _TO_BT709.T
        coded = np.power(np.clip(light, 0, 1), np.float32(1 / 2.4))  # BT.1886, annex 1.
        picture[top : top + ROWS] = np.rint(255 * coded)
    return picture


def _light(codes: np.ndarray, curve: int) -> np.ndarray:
    """cd/m², float32 (H, W, 3), of codes, uint16."""
    light = _table(curve)[codes]
    if curve == HLG:  # The scene's, to which a screen of 1,000 cd/m² gives a gamma of 1.2.
        luma = light @ _HLG_LUMA
        light *= USUAL_PEAK * np.power(np.maximum(luma, 1e-9), np.float32(0.2))[..., None]
    return light


@functools.cache
def _table(curve: int) -> np.ndarray:
    signal = np.linspace(0, 1, 2**16)
    return np.float32(pq_to_light(signal) if curve == PQ else hlg_to_scene(signal))


@functools.cache
def _gains(peak: float) -> np.ndarray:
    """By what light is multiplied, for the fourth root of its share of `HIGHEST_PEAK`."""
    light = HIGHEST_PEAK * np.linspace(0, 1, 2**14) ** 4
    light[0] = light[1]
    return np.float32(roll_off(light, peak) / light)
