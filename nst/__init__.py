"""Neural style transfer: a photo repainted in the style of a painting (Gatys et al. 2016)."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from nst.config import PRESETS, REPORT, REPORT_SETTINGS, StyleTransferConfig
from nst.stylize import Stylization, stylize

__all__ = [
    "PRESETS",
    "REPORT",
    "REPORT_SETTINGS",
    "StyleTransferConfig",
    "Stylization",
    "stylize",
]
