#!/usr/bin/env bash
# OpenCV's bilateral filter of 8 bits rounds down with Intel's IPP, but not at the sides.
#
# opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64. 4.5.1 does the same.
# Expected: one rounding, to the nearest level, as where IPP is not used (on ARM, for example).
# Seen: where IPP is used, which x86 wheels do unless told otherwise, a weighted mean is rounded down; but to the
# nearest level in the two columns at each side, without the two rows at the top and at the bottom. More
# than half of a picture's levels may differ from those without IPP.
# The picture here has columns of 3 and of 0; where it is 3, the exact mean is 1.62.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cat >"$folder/rounding.py" <<'PYTHON'
import cv2
import numpy as np

picture = np.zeros((40, 30), np.uint8)
picture[:, ::2] = 3
smooth = cv2.bilateralFilter(picture, 5, 50, 50)
print(*smooth[20, [0, 2, 4, 14]], *smooth[0, [0, 2, 4, 14]])
PYTHON
for setting in "" disabled; do
    levels=$(OPENCV_IPP=$setting "$folder/venv/bin/python" "$folder/rounding.py" 2>/dev/null)
    echo "OPENCV_IPP=$setting: $levels"
    [ -z "$setting" ] && expected="2 1 1 1 1 1 1 1" || expected="2 2 2 2 2 2 2 2"
    [ "$levels" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
done
