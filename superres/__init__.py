"""Super-resolution: pictures and videos enlarged by a 2,560-weight quantised CNN.

The report it reproduces: Kim and Lee, "Quantized CNN-based Super-Resolution Method for Compressed
Image Reconstruction" (in Korean), 2020; see docs/sources.md#4-super-resolution.
"""

from atelier.imports.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "animation": ["UpscaledAnimation", "upscale_animation"],
        "networks": ["Network", "load_network"],
        "config": ["UpscaleConfig"],
        "upscaling": ["Upscaled", "upscale"],
        "video": ["UpscaledVideo", "upscale_video"],
    },
)
