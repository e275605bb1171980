"""Neural style transfer: a photo repainted in the style of a painting (Gatys et al. 2016).

The report it reproduces: Moskalenko and Kanukov, "A neural network that stylises images" (in
Russian), HSE University, 2021; see docs/sources.md#1-style-transfer.
"""

from atelier.imports.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ["PRESETS", "REPORT", "REPORT_SETTINGS", "StyleTransferConfig"],
        "transfer": ["Stylization", "stylize"],
    },
)
