"""What a photo shows: CIFAR-10 classifiers, the report's and a strong one."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
from classify.data import CLASSES, load_cifar10
from classify.gradcam import grad_cam, overlay
from classify.networks import Network, load_network
from classify.predict import Classification, classify, classify_all, prepare

__all__ = [
    "CLASSES",
    "Classification",
    "Network",
    "classify",
    "classify_all",
    "grad_cam",
    "load_cifar10",
    "load_network",
    "overlay",
    "prepare",
]
