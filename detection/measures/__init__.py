"""How good a detector is: COCO's and VOC's measures, curves, and shares of objects found."""
