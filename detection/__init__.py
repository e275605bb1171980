"""Object detection: objects found in a photo with Faster R-CNN (Ren et al. 2015).

The report it reproduces: "Faster RCNN: RPN, anchor, sliding windows", notes in Chinese without
author or date; see docs/sources.md#3-detection.
"""

from atelier.imports.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ["DetectConfig"],
        "detections": ["Detections"],
        "predict": ["detect"],
    },
)
