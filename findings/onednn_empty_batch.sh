#!/usr/bin/env bash
# With oneDNN, TensorFlow's convolution of an empty batch has the shape of its input.
#
# tensorflow 2.21.0, Python 3.11 to 3.13, Linux x86-64, numpy 2.4.6.
# Expected: a convolution of (0, 8, 8, 3) with kernels (3, 3, 3, 4), without padding, has the shape
# (0, 6, 6, 4), as its static shape says and as it is without oneDNN.
# Seen: with TF_ENABLE_ONEDNN_OPTS=1, which is the default on processors with AVX-512 VNNI or BF16, or AMX,
# the shape is (0, 8, 8, 3): neither size nor channels are those of the convolution. Nothing is raised.
# Sums over its positions then have 3 numbers instead of 4; on two devices, of which one has no
# example of the last batch, synchronised batch normalisation ends with
# "Shape mismatch in the collective instance".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
cat >"$folder/convolution.py" <<'PYTHON'
import numpy as np
import tensorflow as tf

pictures = np.zeros((0, 8, 8, 3), np.float32)
maps = tf.nn.conv2d(pictures, np.ones((3, 3, 3, 4), np.float32), 1, "VALID")
print(*tf.shape(maps).numpy())
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
for switch in 0 1; do
    shape=$(TF_ENABLE_ONEDNN_OPTS=$switch "$folder/venv/bin/python" "$folder/convolution.py" 2>/dev/null)
    echo "TF_ENABLE_ONEDNN_OPTS=$switch: $shape"
    [ $switch = 0 ] && expected="0 6 6 4" || expected="0 8 8 3"
    [ "$shape" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
done
