"""Faster R-CNN: one idea of the paper a file, from anchors to the whole model in `faster_rcnn`."""
