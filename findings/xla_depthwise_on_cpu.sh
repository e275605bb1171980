#!/usr/bin/env bash
# On a CPU, XLA makes a depthwise convolution tens to hundreds of times slower.
#
# tensorflow 2.21.0, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64, 2 cores with AVX-512.
# Expected: tf.function(jit_compile=True) compiles a 3x3 depthwise convolution of (2, 64, 64, 32) to
# code about as fast as TensorFlow's own kernel.
# Seen, milliseconds without and with jit_compile, the least of seven runs:
#     forward                  0.3    63.9   (216 times as long)
#     gradient by the input    2.8   101.1   (36 times)
#     gradient by the kernel   0.6    74.2   (126 times)
# A training step of a network of four separable convolutions takes 157 ms instead of 4 ms. Ordinary 3x3
# convolutions of the same maps take 3 to 5 times as long. Results are equal but for rounding.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
cat >"$folder/depthwise.py" <<'PYTHON'
import time

import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
maps = tf.constant(rng.normal(size=(2, 64, 64, 32)), tf.float32)
kernel = tf.constant(rng.normal(size=(3, 3, 32, 1)), tf.float32)


def forward(maps, kernel):
    return tf.nn.depthwise_conv2d(maps, kernel, [1, 1, 1, 1], "SAME")


def least_milliseconds(function):
    function(maps, kernel)  # Compiles.
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function(maps, kernel).numpy()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


plain, compiled = (tf.function(forward, jit_compile=jit) for jit in (False, True))
np.testing.assert_allclose(plain(maps, kernel), compiled(maps, kernel), rtol=1e-3, atol=1e-4)
plain, compiled = least_milliseconds(plain), least_milliseconds(compiled)
print(f"{plain:.2f} ms, with XLA {compiled:.2f} ms: {compiled / plain:.0f} times as long")
if compiled < 5 * plain:
    raise SystemExit("changed: XLA's depthwise convolution is no longer slow")
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" "$folder/depthwise.py" 2>"$folder/log" || { tail -n 3 "$folder/log"; exit 1; }
