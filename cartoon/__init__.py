"""Photos as cartoons: the report's K-histogram, and a calmer hand."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from cartoon.cartoonize import Cartoon, cartoonize
from cartoon.config import PRESETS, CartoonConfig
from cartoon.metrics import Accuracy, accuracy

__all__ = ["PRESETS", "Accuracy", "Cartoon", "CartoonConfig", "accuracy", "cartoonize"]
