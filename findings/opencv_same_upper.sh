#!/usr/bin/env bash
# OpenCV 5's dnn pads a convolution of SAME_UPPER as if it were SAME_LOWER.
#
# opencv-python-headless 5.0.0.93, onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.6, Linux x86-64.
# Expected (ONNX, operator Conv): where the padding is odd, SAME_UPPER puts the extra row and column at the
# end, SAME_LOWER at the beginning. A kernel of 3 with stride 2 on 16 positions has one of padding.
# Seen: for SAME_UPPER OpenCV gives what ONNX Runtime gives for SAME_LOWER; with explicit pads, and for
# SAME_LOWER, both agree. Nothing is raised. TensorFlow and Keras pad as SAME_UPPER, so networks that are
# exported with auto_pad find other things in OpenCV; write `pads` instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.31.1 numpy==2.4.6
cat >"$folder/convolution.py" <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
x = rng.normal(size=(1, 3, 16, 16)).astype(np.float32)
kernel = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)


def both(**margins):
    """What ONNX Runtime and OpenCV make of x."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], strides=[2, 2], **margins)
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    network = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    network.setInput(x, "x")
    return session.run(None, {"x": x})[0], network.forward()


upper, lower = both(auto_pad="SAME_UPPER"), both(auto_pad="SAME_LOWER")
explicit = both(pads=[0, 0, 1, 1])
for name, one, other in (
    ("explicit pads, OpenCV and ONNX Runtime", explicit[1], explicit[0]),
    ("SAME_LOWER, OpenCV and ONNX Runtime", lower[1], lower[0]),
    ("SAME_UPPER in OpenCV and SAME_LOWER in ONNX Runtime", upper[1], lower[0]),
    ("SAME_UPPER in ONNX Runtime and explicit pads", upper[0], explicit[0]),
    ("SAME_UPPER, OpenCV and ONNX Runtime", upper[1], upper[0]),
):
    print(f"{name}: {'alike' if np.allclose(one, other, atol=1e-4) else 'different'}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/convolution.py")
echo "$seen"
expected="explicit pads, OpenCV and ONNX Runtime: alike
SAME_LOWER, OpenCV and ONNX Runtime: alike
SAME_UPPER in OpenCV and SAME_LOWER in ONNX Runtime: alike
SAME_UPPER in ONNX Runtime and explicit pads: alike
SAME_UPPER, OpenCV and ONNX Runtime: different"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
