"""Neural style transfer: a photo repainted in the style of a painting (Gatys et al. 2016)."""

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
