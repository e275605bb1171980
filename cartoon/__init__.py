"""People cut out of photos, and photos as cartoons: the report's K-histogram, and a calmer hand."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from cartoon.cartoonize import Cartoon, cartoonize
from cartoon.config import PRESETS, CartoonConfig, CutOutConfig
from cartoon.cut_out import CutOut, cut_out
from cartoon.metrics import Accuracy, accuracy
from cartoon.portrait import Portrait, portray
from cartoon.video import CartoonVideo, cartoonize_video

__all__ = [
    "PRESETS",
    "Accuracy",
    "Cartoon",
    "CartoonConfig",
    "CartoonVideo",
    "CutOut",
    "CutOutConfig",
    "Portrait",
    "accuracy",
    "cartoonize",
    "cartoonize_video",
    "cut_out",
    "portray",
]
