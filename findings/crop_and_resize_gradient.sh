#!/usr/bin/env bash
# TensorFlow's gradient of crop_and_resize by the image loses contributions on several threads.
#
# tensorflow 2.21.0, numpy 2.4.6, Linux x86-64, a processor of two cores or more.
# Expected: sums that differ from run to run by the order of rounding, if at all.
# Seen: threads share the boxes and add to the same numbers without a lock. Below, all samples lie on
# positions of the image and all contributions are 1, so each number of the gradient is exactly the
# number of boxes, 20000, in any order of summation. On 2 cores of an Intel Xeon 51 of 60 runs were
# wrong, one number being 9205. A training whose losses differ from run to run for this is easily put
# down to rounding. With tf.config.experimental.enable_op_determinism() the gradient takes one thread
# on a processor, and is right (on a GPU it is refused).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 numpy==2.4.6
cat >"$folder/gradient.py" <<'PYTHON'
import sys

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(2)
if sys.argv[1] == "determinism":
    tf.config.experimental.enable_op_determinism()

BOXES, SIDE, CHANNELS = 20_000, 8, 4
boxes = tf.tile([[0.0, 0.0, 1.0, 1.0]], (BOXES, 1))  # All the whole image, at its own size.


@tf.function
def gradient(image):
    with tf.GradientTape() as tape:
        tape.watch(image)
        crops = tf.image.crop_and_resize(image, boxes, tf.zeros(BOXES, tf.int32), (SIDE, SIDE))
        total = tf.reduce_sum(crops)
    return tape.gradient(total, image)


wrong, least = 0, BOXES
for _ in range(60):
    numbers = gradient(tf.zeros((1, SIDE, SIDE, CHANNELS))).numpy()
    assert numbers.max() <= BOXES
    wrong += int((numbers != BOXES).any())
    least = min(least, int(numbers.min()))
print(f"{sys.argv[1]}: {wrong} of 60 runs wrong; the least number is {least} instead of {BOXES}")
sys.exit((wrong > 0) != (sys.argv[1] == "threads"))
PYTHON

export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
"$folder/venv/bin/python" "$folder/gradient.py" threads 2>/dev/null
"$folder/venv/bin/python" "$folder/gradient.py" determinism 2>/dev/null
