"""Object detection: objects found in a photo with Faster R-CNN (Ren et al. 2015)."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from detection.config import DetectConfig
from detection.detections import Detections
from detection.predict import detect

__all__ = ["DetectConfig", "Detections", "detect"]
