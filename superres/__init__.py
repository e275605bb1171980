"""Super-resolution: pictures and videos enlarged by a 2,560-weight quantised CNN (Kim et al.)."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from superres.networks import Network, load_network
from superres.upscale import UpscaleConfig, Upscaled, upscale
from superres.video import UpscaledVideo, upscale_video

__all__ = [
    "Network",
    "UpscaleConfig",
    "Upscaled",
    "UpscaledVideo",
    "load_network",
    "upscale",
    "upscale_video",
]
