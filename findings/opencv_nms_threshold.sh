#!/usr/bin/env bash
# OpenCV 5's dnn refuses a NonMaxSuppression whose score threshold is negative.
#
# opencv-python-headless 5.0.0.93, onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Linux x86-64.
# Expected (ONNX, operator NonMaxSuppression): any float is a threshold; -1 keeps boxes of all scores.
# Seen: ONNX Runtime keeps the box; OpenCV raises cv2.error "score_threshold >= 0" as the network runs.
# With a threshold of 0 both keep it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cat >"$folder/suppression.py" <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]], np.float32)
scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
for lowest in (0.0, -1.0):
    constants = [
        helper.make_tensor("limit", TensorProto.INT64, [1], [10]),
        helper.make_tensor("iou", TensorProto.FLOAT, [1], [0.5]),
        helper.make_tensor("lowest", TensorProto.FLOAT, [1], [lowest]),
    ]
    inputs = ["boxes", "scores", "limit", "iou", "lowest"]
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", inputs, ["kept"])],
        "suppression",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 3]),
        ],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    kept = session.run(None, {"boxes": boxes, "scores": scores})[0]
    print(f"{lowest}: ONNX Runtime", kept[:, 2].tolist())
    try:
        network = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        network.setInput(boxes, "boxes")
        network.setInput(scores, "scores")
        kept = np.asarray(network.forward("kept")).reshape(-1, 3)
        print(f"{lowest}: OpenCV", kept[:, 2].tolist())
    except cv2.error as error:
        print(f"{lowest}: OpenCV", "refuses" if "score_threshold >= 0" in str(error) else error)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/suppression.py" 2>/dev/null)
echo "$seen"
expected="0.0: ONNX Runtime [0, 2]
0.0: OpenCV [0, 2]
-1.0: ONNX Runtime [0, 2]
-1.0: OpenCV refuses"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
