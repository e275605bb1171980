"""Neural style transfer: a photo repainted in the style of a painting (Gatys et al. 2016)."""

from atelier.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ["PRESETS", "REPORT", "REPORT_SETTINGS", "StyleTransferConfig"],
        "transfer": ["Stylization", "stylize"],
    },
)
