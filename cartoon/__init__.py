"""People cut out of photos, and photos as cartoons: the report's K-histogram, and a calmer hand.

The report it reproduces: Chakraborty, "Cartoonify", Techno India University, 2021; see
docs/sources.md#2-cartoon.
"""

from atelier.imports.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "animation": ["CartoonAnimation", "cartoonize_animation"],
        "config": ["PRESETS", "CartoonConfig", "CutOutConfig"],
        "people.cutting": ["CutOut", "cut_out"],
        "drawing.cartoonizing": ["Cartoon", "cartoonize"],
        "metrics": ["Accuracy", "accuracy"],
        "portrait": ["Portrait", "portray"],
        "video": ["CartoonVideo", "cartoonize_video"],
    },
)
