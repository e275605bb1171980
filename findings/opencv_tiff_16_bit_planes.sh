#!/usr/bin/env bash
# OpenCV 5 reads RGB TIFF of 16 bits in planes as if each pixel's colours stood side by side.
#
# opencv-python-headless 5.0.0.93, tifffile 2026.3.3, numpy 2.4.6, Python 3.11 to 3.13.
# Expected (TIFF 6.0): PlanarConfiguration 2 (tifffile's default for an array (3, H, W)) is the same picture as 1.
# Seen: of 16 bits and of floats `imdecode(…, IMREAD_UNCHANGED)` gives another picture without a word, compressed
# or not; of 8 bits it is right. Packed 12 bits come as the upper ones of 16, and grey whose 0 is white is turned
# around if it has 8 bits, but not if it has 16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 \
    tifffile==2026.3.3 numpy==2.4.6
cat >"$folder/planes.py" <<'PYTHON'
import io

import cv2
import numpy as np
import tifffile

y, x = np.mgrid[0:64, 0:96]
photo = np.stack([x / 95, y / 63, (x + y) / 158], axis=-1)


def read(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)


def planes(dtype, **options):
    most = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    values = (photo * most).astype(dtype)
    found = read(np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate", **options)
    return "right" if np.array_equal(found[..., ::-1], values) else "wrong"


def white_is_zero(dtype):
    found = read(np.full((2, 2), np.iinfo(dtype).max, dtype), photometric="miniswhite")
    return "black" if found.max() == 0 else "white"


print(planes("u1"), planes("u2"), planes("u2", compression="zlib"), planes("f4"))
print(white_is_zero("u1"), white_is_zero("u2"))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/planes.py" 2>/dev/null)
echo "$seen"
[ "$seen" = "right wrong wrong wrong
black white" ] || { echo "changed: expected right wrong wrong wrong, black white"; exit 1; }
