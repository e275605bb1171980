#!/usr/bin/env bash
# OpenCV turns one color of HSV into two colors of RGB: the end of a row is rounded otherwise.
#
# opencv-python-headless 5.0.0.93, numpy 2.4.6, Python 3.11 to 3.13, Linux x86-64 with AVX2. 4.5.1 does the same.
# Expected: cvtColor(..., COLOR_HSV2RGB) of 8 bits gives each pixel of one color the same color, and cyan,
# HSV (90, 255, 255), as RGB (0, 255, 255).
# Seen: pixels that are converted 32 at a time are rounded down, to (0, 254, 255); the rest at the end of
# a row is rounded to the nearest level, to (0, 255, 255).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cat >"$folder/cyan.py" <<'PYTHON'
import cv2
import numpy as np

cyan = np.full((10, 40, 3), (90, 255, 255), np.uint8)
rgb = cv2.cvtColor(cyan, cv2.COLOR_HSV2RGB)
print(*rgb[5, 31], *rgb[5, 32])
PYTHON
levels=$("$folder/venv/bin/python" "$folder/cyan.py")
echo "columns 31 and 32 of a cyan picture of 40: $levels"
expected="0 254 255 0 255 255"
[ "$levels" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
