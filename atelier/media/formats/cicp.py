"""Colours by the numbers of ITU-T H.273: primaries and transfer curves, converted to sRGB.

PNG's cICP chunk, AVIF's and HEIF's nclx boxes and video streams state their colours so. The curve
of BT.709 and its kin is taken for that of sRGB: H.273 gives a camera's curve, and what was made for
a display looks right with the display's.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from atelier.media.pixels import strips

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
_P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)

PRIMARIES = {
    1: ("BT.709", _BT709),
    4: ("BT.470 M", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C)),
    5: ("BT.470 BG", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65)),
    6: ("SMPTE 170M", (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)),
    7: ("SMPTE 240M", (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)),
    8: ("film", (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C)),
    9: ("BT.2020", (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65)),
    11: ("DCI-P3", (*_P3, *_DCI)),
    12: ("Display P3", (*_P3, *_D65)),
    22: ("EBU 3213", (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65)),
}
"""Name, and x and y of red, green, blue and white, by number (H.273, table 2)."""

_AS_SRGB = frozenset({1, 2, 6, 11, 12, 13, 14, 15})
"""The transfer curves that are taken for that of sRGB."""

_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ, _DCI_CURVE, _HLG = 16, 17, 18
_NAMES = {4: "gamma 2.2", 5: "gamma 2.8", 8: "linear", _PQ: "PQ", _DCI_CURVE: "gamma 2.6"}
_NAMES |= {_HLG: "HLG"}

TRANSFERS = _AS_SRGB | set(_EXPONENTS) | {_PQ, _DCI_CURVE, _HLG}
"""The transfer curves that are understood (H.273, table 3)."""

WHITE_NITS = 203
"""The luminance of white in HDR pictures (ITU-R BT.2408, section 2.2)."""

_HLG_NITS = 1000
"""The brightest of an HLG display, for which its system gamma is 1.2 (ITU-R BT.2100, table 5)."""

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_LEVELS = 2**14


@dataclasses.dataclass(frozen=True)
class Coding:
    """How the numbers of a picture's pixels stand for colours."""

    name: str
    primaries: tuple[float, ...] = _BT709
    """x and y of red, green, blue and white (CIE 1931)."""
    transfer: int = 13
    """H.273's number of the curve."""
    exponent: float | None = None
    """Of a curve that is a power, in place of `transfer`."""
    full: bool = True
    """Whether black is 0 and white 255, not 16 and 235."""

    @property
    def is_srgb(self) -> bool:
        """Whether the pixels are in sRGB as they stand."""
        curve = self.exponent is None and self.transfer in _AS_SRGB
        return curve and self.full and np.allclose(self.primaries, _BT709, atol=1e-3)

    @property
    def is_hdr(self) -> bool:
        """Whether parts are brighter than white, and have to be brought below it."""
        return self.exponent is None and self.transfer in (_PQ, _HLG)


def coding(primaries: int, transfer: int, full: bool = True) -> Coding | None:
    """The coding of H.273's numbers; None if one of them is not understood.

    Unspecified primaries and curves are sRGB's.
    """
    primaries = 1 if primaries == 2 else primaries
    if primaries not in PRIMARIES or transfer not in TRANSFERS:
        return None
    name, places = PRIMARIES[primaries]
    return Coding(
        " ".join(filter(None, (name, _NAMES.get(transfer, "")))), places, transfer, None, full
    )


def convert(pixels: np.ndarray, source: Coding) -> np.ndarray:
    """Converts a picture, uint8 (H, W, 3), to sRGB, uint8 (H, W, 3).

    What is brighter than white in PQ and HLG is brought below it by the curve of ITU-R BT.2390,
    section 5.4, which leaves the darker half as it is; colours beyond sRGB are clipped.
    """
    table = _linear_table(source)
    matrix = to_bt709(source.primaries).T.astype(np.float32)
    peak = _HLG_NITS / WHITE_NITS if source.transfer == _HLG else float(table[pixels.max()])
    result, encoded = np.empty_like(pixels), _encoded()
    for rows in strips(pixels.shape, 2**18):
        light = table[pixels[rows]]
        if source.is_hdr:
            if source.transfer == _HLG:
                light *= _hlg_gain(light)
            light *= _tone_gain(light.max(axis=-1, keepdims=True), peak)
        light = np.clip(light @ matrix, 0, 1)
        result[rows] = encoded[np.rint(light * (_LEVELS - 1)).astype(np.uint16)]
    return result


def to_bt709(primaries: tuple[float, ...]) -> np.ndarray:
    """The matrix (3, 3) from linear RGB of the given primaries to that of BT.709 and sRGB; white
    stays white (Bradford)."""
    source, white = _to_xyz(primaries)
    target, d65 = _to_xyz(_BT709)
    cones = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ d65) / (_BRADFORD @ white)) @ _BRADFORD
    return np.linalg.inv(target) @ cones @ source


def _to_xyz(primaries: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    columns = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in np.reshape(primaries, (4, 2))]
    white = columns.pop()
    rgb = np.stack(columns, axis=1)
    return rgb * np.linalg.solve(rgb, white), white


def _linear_table(source: Coding) -> np.ndarray:
    """Linear light of each of the 256 levels, float32; 1 is white."""
    levels = np.arange(256) / 255
    if not source.full:
        levels = np.clip((levels * 255 - 16) / 219, 0, 1)
    if source.exponent is not None:
        light = levels**source.exponent
    elif source.transfer in _EXPONENTS:
        light = levels ** _EXPONENTS[source.transfer]
    elif source.transfer == _DCI_CURVE:
        light = levels**2.6
    elif source.transfer == _PQ:
        light = _pq_to_nits(levels) / WHITE_NITS
    elif source.transfer == _HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073  # BT.2100, table 5.
        light = np.where(levels <= 0.5, levels**2 / 3, (np.exp((levels - c) / a) + b) / 12)
    else:
        light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@functools.cache
def _encoded() -> np.ndarray:
    """sRGB's levels of linear light, uint8, for `_LEVELS` steps from 0 to 1 (IEC 61966-2-1)."""
    light = np.linspace(0, 1, _LEVELS)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
"""PQ's numbers (SMPTE ST 2084)."""


def _pq_to_nits(values: np.ndarray) -> np.ndarray:
    power = values ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _nits_to_pq(nits: np.ndarray | float) -> np.ndarray:
    power = (np.maximum(nits, 0) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _hlg_gain(light: np.ndarray) -> np.ndarray:
    """From a scene's light to a display's, in white's: BT.2100's system gamma of 1.2."""
    luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return (_HLG_NITS / WHITE_NITS * luminance**0.2)[..., None].astype(np.float32)


def _tone_gain(brightest: np.ndarray, peak: float) -> np.ndarray:
    """By what a pixel's light is multiplied so that `peak` becomes white, both in white's light."""
    if peak <= 1:
        return np.float32(1)
    top = _nits_to_pq(peak * WHITE_NITS)
    white = _nits_to_pq(WHITE_NITS) / top
    knee = 1.5 * white - 0.5
    place = np.minimum(_nits_to_pq(brightest * WHITE_NITS) / top, 1)
    t = np.clip((place - knee) / (1 - knee), 0, 1)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee)
    bent = bent + (3 * t**2 - 2 * t**3) * white
    nits = _pq_to_nits(np.where(place < knee, place, bent) * top)
    gain = np.where(place < knee, 1, nits / np.maximum(brightest * WHITE_NITS, 1e-6))
    return gain.astype(np.float32)
