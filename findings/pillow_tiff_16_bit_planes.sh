#!/usr/bin/env bash
# Pillow reads two kinds of uncompressed 16-bit TIFF wrongly, without a word.
#
# pillow 12.3.0, tifffile 2026.3.3, numpy 2.4.6, Python 3.11 to 3.13.
# Expected (TIFF 6.0): RGB in planes (PlanarConfiguration 2, tifffile's default for an array (3, H, W)) is the
# same picture as RGB in pixels; grey whose PhotometricInterpretation is WhiteIsZero is turned around.
# Seen: RGB in planes differs by up to 225 levels, which looks like noise (8 bits in planes are right, and so are
# 16 bits that are compressed, which libtiff reads); WhiteIsZero of 16 bits is a negative (of 8 bits it is right).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 tifffile==2026.3.3 numpy==2.4.6
cat >"$folder/planes.py" <<'PYTHON'
import io

import numpy as np
import tifffile
from PIL import Image

y, x = np.mgrid[0:64, 0:96]
photo = np.stack([x / 95, y / 63, (x + y) / 158], axis=-1)


def read(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        return np.asarray(image).astype(float)


def planes(dtype, **options):
    most = np.iinfo(dtype).max
    values = np.rint(photo * most).astype(dtype)
    found = read(np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate", **options)
    return "right" if np.abs(found - 255 * photo).max() <= 1 else "wrong"


def white_is_zero(dtype):
    most = np.iinfo(dtype).max
    found = read(np.full((2, 2), most, dtype), photometric="miniswhite")
    return "black" if found.max() == 0 else "white"


print(planes(np.uint8), planes(np.uint16), planes(np.uint16, compression="zlib"))
print(white_is_zero(np.uint8), white_is_zero(np.uint16))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/planes.py")
echo "$seen"
[ "$seen" = "right wrong right
black white" ] || { echo "changed: expected right wrong right, black white"; exit 1; }
