"""A detector as an ONNX graph, written node by node: no converter, no dependency but `onnx`.

Takes and gives what `detection.export.litert` does, under the same names. Inside, axes are in
ONNX's order; RoIAlign and NonMaxSuppression are ONNX's own. Boxes are pooled level by level, and
stay in that order, as the last suppression asks for none.
"""

from __future__ import annotations

import math
import os

import keras
import numpy as np
from keras import layers

from atelier.export.onnx_graph import OnnxGraph
from atelier.nets.vgg import PaddedConv2D
from detection.export.fixed import Fixed, Size
from detection.network.boxes import MAX_LOG_SCALE
from detection.network.faster_rcnn import SMALLEST, FasterRCNN
from detection.network.nms import float_threshold
from detection.network.resnet import NearestLike


def to_onnx(
    model: FasterRCNN,
    path: str | os.PathLike,
    *,
    size: Size,
    threshold: float | None = None,
    overwrite: bool = True,
) -> None:
    """Writes a detector as an ONNX file, whole or not at all.

    Args:
        model: with RoIAlign.
        path: where to.
        size: height and width of its pictures, multiples of the architecture's.
        threshold: scores up to it are left out; None for the architecture's own.
        overwrite: whether an existing file may be replaced.

    Raises:
        SettingsError: the package `onnx` is missing, a size that is no such multiple, RoI pooling.
        OutputError: the file exists, or cannot be written.
    """
    graph, fixed = _Graph(), Fixed.of(model, size, threshold)
    graph.find(fixed)
    count = model.architecture.detections
    graph.write(
        path,
        name="detection",
        description=f"Finds {', '.join(model.classes)} on RGB pictures in [0, 255].",
        input={"image": (1, *fixed.size, 3)},
        output={
            "boxes": (1, count, 4),
            "scores": (1, count),
            "labels": (1, count),
            "count": (1,),
        },
        dtypes={"labels": np.int32, "count": np.int32},
        overwrite=overwrite,
    )


_NONE = -1.0
"""Score of rows without a box."""


class _Graph(OnnxGraph):
    """Nodes of a detector; a tensor is its name, and what is none becomes a constant."""

    def __init__(self):
        super().__init__()
        self.stored: set[str] = set()

    def op(self, kind: str, *inputs, outputs: int = 1, **attributes):
        """Appends a node, numbers and arrays among its inputs as constants; names its outputs."""
        name = f"{kind}_{len(self.nodes)}"
        given = [
            each if isinstance(each, str) else self.literal(each, f"{name}/{place}")
            for place, each in enumerate(inputs)
        ]
        if outputs == 1:
            return self.node(kind, given, name, **attributes)
        names = [f"{name}:{number}" for number in range(outputs)]
        node = self.onnx.helper.make_node(kind, given, names, name=name, **attributes)
        self.nodes.append(node)
        return names

    def literal(self, value, name: str) -> str:
        whole = np.asarray(value).dtype.kind == "i"
        return self.constant(value, name, np.int64 if whole else np.float32)

    def weight(self, value, name: str) -> str:
        """A constant that several nodes may ask for."""
        if name not in self.stored:
            self.stored.add(name)
            self.constant(value, name)
        return name

    # === The detector ===

    def find(self, fixed: Fixed) -> None:
        """`FasterRCNN.call` on one picture of fixed size."""
        model, shape = fixed.model, fixed.model.architecture
        maps = self.run(model.backbone, self.enter(fixed))
        proposals, is_one = self.proposals(fixed, maps)
        pooled, proposals, is_one = self.pool(fixed, maps, proposals, is_one)
        logits, deltas = self.run(model.box_head, pooled)

        # Classes come first here, as the suppression's batches.
        classes = len(model.classes)
        scores = self.part(self.op("Softmax", logits, axis=1), 1, 1 + classes, 1)
        scores = self.op("Transpose", scores, perm=[1, 0])
        deltas = self.op("Reshape", deltas, [-1, 1 + classes, 4])
        deltas = self.op("Transpose", self.part(deltas, 1, 1 + classes, 1), perm=[1, 0, 2])
        boxes = self.decode(deltas, self.op("Unsqueeze", proposals, [0]), shape.box_weights)
        boxes = self.clip(boxes, fixed)
        wide = self.op("GreaterOrEqual", self.shorter_side(boxes), np.float32(SMALLEST))
        scores = self.op("Where", self.op("And", wide, is_one), scores, _NONE)
        boxes, scores, places = self.suppress(
            boxes, scores, shape.nms_threshold, shape.detections, fixed.threshold
        )
        labels = self.op("Add", self.part(places, 0, 1, 1), 1)
        labels = self.op("Reshape", labels, [-1])

        # Rows of nothing make them as many as there can be; no score is below theirs.
        count = shape.detections
        best, order = self.best(self.op("Concat", scores, np.zeros(count), axis=0), count)
        boxes = self.op("Concat", boxes, np.zeros((count, 4)), axis=0)
        labels = self.op("Concat", labels, np.zeros(count, int), axis=0)
        labels = self.op("Cast", self.op("Gather", labels, order), to=self.onnx.TensorProto.INT32)
        found = self.op("Min", self.op("Shape", scores), [count])
        self.node("Unsqueeze", [self.op("Gather", boxes, order), self.axis()], "boxes")
        self.node("Unsqueeze", [best, self.axis()], "scores")
        self.node("Unsqueeze", [labels, self.axis()], "labels")
        self.node("Cast", [found], "count", to=self.onnx.TensorProto.INT32)

    def axis(self) -> str:
        if "axis" not in self.stored:
            self.stored.add("axis")
            self.literal([0], "axis")
        return "axis"

    def enter(self, fixed: Fixed) -> str:
        """The picture as the backbone takes it."""
        x = self.op("Transpose", "image", perm=[0, 3, 1, 2])
        if fixed.bgr:
            x = self.op("Gather", x, [2, 1, 0], axis=1)
        scale, shift = (each.reshape(3, 1, 1) for each in fixed.colors)
        return self.op("Add", self.op("Mul", x, scale), shift)

    def proposals(self, fixed: Fixed, maps: list[str]) -> tuple[str, str]:
        """Boxes (M, 4), and whether each is one, (M,)."""
        shape, levels = fixed.model.architecture, []
        pre_nms, post_nms = shape.pre_nms[1], shape.post_nms[1]
        for features, anchors in zip(maps, fixed.anchors, strict=True):
            logits, deltas = (
                self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 3, 1]), last)
                for x, last in zip(
                    self.run(fixed.model.rpn, features), ([-1], [-1, 4]), strict=True
                )
            )
            logits, best = self.best(logits, min(pre_nms, len(anchors)))
            deltas = self.op("Gather", deltas, best)
            boxes = self.decode(deltas, self.op("Gather", anchors, best))
            boxes = self.clip(boxes, fixed)
            sides = self.shorter_side(boxes)
            wide = self.op("GreaterOrEqual", sides, np.float32(shape.proposal_min_size))
            scores = self.op("Where", wide, self.op("Sigmoid", logits), _NONE)
            boxes, scores = (self.op("Unsqueeze", x, [0]) for x in (boxes, scores))
            limit = min(pre_nms, post_nms)
            # OpenCV refuses thresholds below 0; of probabilities and _NONE, 0 drops the latter.
            levels.append(self.suppress(boxes, scores, shape.proposal_nms, limit, 0.0)[:2])
        boxes, scores = zip(*levels, strict=True)
        scores = self.op("Concat", *scores, np.full(post_nms, _NONE), axis=0)
        boxes = self.op("Concat", *boxes, np.zeros((post_nms, 4)), axis=0)
        best, order = self.best(scores, post_nms)
        return self.op("Gather", boxes, order), self.op("Greater", best, _NONE)

    def suppress(self, boxes: str, scores: str, iou: float, limit: int, lowest: float):
        """Non-maximum suppression within each of K groups, of which `limit` boxes stay at most.

        Args:
            boxes: (K, B, 4).
            scores: (K, B).
            iou: above which the lower of two is dropped.
            limit: boxes of a group.
            lowest: what is not above it is dropped.

        Returns:
            boxes (S, 4) and scores (S,) of what stays, and where it was: (S, 2).
        """
        numbers = self.op(
            "NonMaxSuppression",
            boxes,
            self.op("Unsqueeze", scores, [1]),
            [limit],
            np.float32([float_threshold(iou)]),
            np.float32([lowest]),
        )
        places = self.op("Gather", numbers, [0, 2], axis=1)
        return self.op("GatherND", boxes, places), self.op("GatherND", scores, places), places

    def pool(self, fixed: Fixed, maps: list[str], boxes: str, is_one: str):
        """RoIAlign, (R, C, S, S), and the boxes and whether each is one, in its order."""
        shape, parts = fixed.model.architecture, []
        levels = self.level(boxes, fixed)
        for place, stride in enumerate(fixed.model.pooled_strides):
            own = self.op("NonZero", self.op("Equal", levels, np.float32(place)))
            own = self.op("Reshape", own, [-1])
            rois = self.op("Gather", boxes, own)
            pooled = self.op(
                "RoiAlign",
                maps[place],
                rois,
                self.op("Mul", own, 0),
                coordinate_transformation_mode="output_half_pixel",
                output_height=shape.pooled_size,
                output_width=shape.pooled_size,
                sampling_ratio=shape.sampling_ratio,
                spatial_scale=1 / stride,
            )
            parts.append((pooled, rois, self.op("Gather", is_one, own)))
        return (self.op("Concat", *part, axis=0) for part in zip(*parts, strict=True))

    def level(self, boxes: str, fixed: Fixed) -> str:
        """Of which level each box is pooled: (R,), whole numbers, the finest is 0."""
        finest = int(math.log2(fixed.model.pooled_strides[0]))
        low, high = self.halves(boxes)
        sides = self.op("Sub", high, low)
        area = self.op("Mul", self.part(sides, 0, 1, 1), self.part(sides, 1, 2, 1))
        size = self.op("Div", self.op("Sqrt", self.op("Reshape", area, [-1])), 224.0)
        octave = self.op("Div", self.op("Log", size), math.log(2))
        level = self.op("Floor", self.op("Add", self.op("Add", octave, 4.0), 1e-6))
        coarsest = float(len(fixed.model.pooled_strides) - 1)
        return self.op("Clip", self.op("Sub", level, float(finest)), 0.0, coarsest)

    # === Boxes ===

    def best(self, scores: str, count: int) -> list[str]:
        """The highest of them, in order, and where they were."""
        return self.op("TopK", scores, [count], outputs=2)

    def part(self, x: str, start: int, stop: int, axis: int) -> str:
        return self.op("Slice", x, [start], [stop], [axis])

    def halves(self, boxes: str) -> tuple[str, str]:
        return self.part(boxes, 0, 2, -1), self.part(boxes, 2, 4, -1)

    def shorter_side(self, boxes: str) -> str:
        low, high = self.halves(boxes)
        return self.op("ReduceMin", self.op("Sub", high, low), axes=[-1], keepdims=0)

    def decode(self, deltas: str, anchors: str, weights=(1.0, 1.0, 1.0, 1.0)) -> str:
        """`boxes.decode`."""
        low, high = self.halves(anchors)
        sides = self.op("Sub", high, low)
        centers = self.op("Add", low, self.op("Mul", sides, 0.5))
        shifts, scales = self.halves(self.op("Div", deltas, np.float32(weights)))
        centers = self.op("Add", self.op("Mul", shifts, sides), centers)
        growth = self.op("Exp", self.op("Min", scales, MAX_LOG_SCALE))
        halves = self.op("Mul", self.op("Mul", growth, 0.5), sides)
        return self.op(
            "Concat", self.op("Sub", centers, halves), self.op("Add", centers, halves), axis=-1
        )

    def clip(self, boxes: str, fixed: Fixed) -> str:
        height, width = map(float, fixed.size)
        return self.op("Min", self.op("Max", boxes, 0.0), [width, height, width, height])

    # === Layers ===

    def run(self, model: keras.Model, x: str) -> list[str]:
        """A functional model's layers in turn; its outputs."""
        values = {id(model.inputs[0]): x}
        for layer in model.layers:
            if not isinstance(layer, layers.InputLayer):
                given = layer.input if isinstance(layer.input, list) else [layer.input]
                inputs = [values[id(tensor)] for tensor in given]
                values[id(layer.output)] = self.layer(layer, *inputs)
        return [values[id(tensor)] for tensor in model.outputs]

    def layer(self, layer: keras.Layer, x: str, *others: str) -> str:
        """What a layer makes of (1, C, H, W)."""
        match layer:
            case layers.Conv2D():
                return self.activate(layer, self.convolve(layer, x))
            case layers.Dense():
                return self.activate(layer, self.dense(layer, x))
            case layers.BatchNormalization():
                parts = ("gamma", "beta", "moving_mean", "moving_variance")
                weights = [self.weight(getattr(layer, p), f"{layer.name}/{p}") for p in parts]
                return self.op("BatchNormalization", x, *weights, epsilon=layer.epsilon)
            case layers.ReLU():
                return self.op("Relu", x)
            case layers.Add():
                return self.op("Add", x, *others)
            case layers.MaxPooling2D() if layer.padding == "valid":
                sides = {"kernel_shape": layer.pool_size, "strides": layer.strides}
                return self.op("MaxPool", x, **sides)
            case layers.ZeroPadding2D():
                (top, bottom), (left, right) = layer.padding
                return self.op("Pad", x, [0, 0, top, left, 0, 0, bottom, right], 0.0)
            case layers.UpSampling2D() if layer.interpolation == "nearest":
                return self.enlarge(x, "", np.float32([1, 1, *layer.size]))
            case NearestLike():
                return self.enlarge(x, "", "", self.op("Shape", others[0]))
            case layers.Flatten():
                # Channels last, as the next layer's weights have them.
                return self.op("Flatten", self.op("Transpose", x, perm=[0, 2, 3, 1]))
            case layers.Dropout():
                return x
        raise TypeError(f"no ONNX is known of {layer}")

    def convolve(self, layer: layers.Conv2D, x: str) -> str:
        if layer.dilation_rate != (1, 1) or layer.groups != 1:
            raise TypeError(f"no ONNX is known of {layer}")
        if isinstance(layer, PaddedConv2D):
            if layer.kernel_size != (3, 3) or layer.continuation != "symmetric":
                raise TypeError(f"no ONNX is known of {layer}")
            # By one position, symmetric is what ONNX calls edge.
            x = self.op("Pad", x, [0, 0, 1, 1, 0, 0, 1, 1], mode="edge")
        kernel = np.transpose(layer.kernel, (3, 2, 0, 1))
        weights = [self.weight(kernel, f"{layer.name}/kernel")]
        if layer.use_bias:
            weights.append(self.weight(layer.bias, f"{layer.name}/bias"))
        sides = {"kernel_shape": layer.kernel_size, "strides": layer.strides}
        return self.op("Conv", x, *weights, **sides, pads=self.margins(layer))

    def margins(self, layer: layers.Conv2D) -> list[int]:
        """Positions of zeros around the input: above, left, below, right.

        They are Keras' for inputs that are multiples of the strides, as those of a detector are.
        Written out, since OpenCV 5.0.0 takes SAME_UPPER for SAME_LOWER.
        """
        if layer.padding != "same":
            return [0, 0, 0, 0]
        sizes = zip(layer.kernel_size, layer.strides, strict=True)
        both = [max(0, kernel - stride) for kernel, stride in sizes]
        before = [each // 2 for each in both]
        return [*before, *(each - first for each, first in zip(both, before, strict=True))]

    def dense(self, layer: layers.Dense, x: str) -> str:
        kernel = self.weight(layer.kernel, f"{layer.name}/kernel")
        return self.op("Gemm", x, kernel, self.weight(layer.bias, f"{layer.name}/bias"))

    def activate(self, layer: keras.Layer, x: str) -> str:
        if layer.activation is keras.activations.relu:
            return self.op("Relu", x)
        if layer.activation is not keras.activations.linear:
            raise TypeError(f"no ONNX is known of {layer.activation}")
        return x

    def enlarge(self, x: str, *target: str | np.ndarray) -> str:
        """Each value from the position at or before it."""
        modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.op("Resize", x, *target, mode="nearest", **modes)
