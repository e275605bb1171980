"""What a photo shows: CIFAR-10 classifiers, the report's and a strong one.

The report it reproduces: Thủy Ngọc Mai Thy and Nguyễn Thị Phương Thùy, "Image recognition with AI
in Python" (in Vietnamese), Saigon University, 2024; see docs/sources.md#5-classification.
"""

from atelier.imports.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "data": ["CLASSES", "load_cifar10"],
        "gradcam": ["grad_cam", "overlay"],
        "networks": ["Network", "load_network"],
        "predict": ["Classification", "classify", "classify_all", "prepare"],
    },
)
