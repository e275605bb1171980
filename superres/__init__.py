"""Super-resolution: pictures and videos enlarged by a 2,560-weight quantised CNN (Kim et al.)."""

from atelier.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "networks": ["Network", "load_network"],
        "config": ["UpscaleConfig"],
        "upscaling": ["Upscaled", "upscale"],
        "video": ["UpscaledVideo", "upscale_video"],
    },
)
