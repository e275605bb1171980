#!/usr/bin/env bash
# Pillow passes over PNG's cICP chunk and AVIF's nclx box, and tells of neither.
#
# pillow 12.3.0, imagecodecs 2026.3.6, numpy 2.4.6, Python 3.11 to 3.13.
# Expected: the colours that a file states (PNG, third edition, section 11.3.2.6; ISO/IEC 14496-12, section
# 12.1.5) are in `info`, as ICC profiles and PNG's gAMA and cHRM chunks are.
# Seen: of a PNG with cICP 12/13 (Display P3) and an AVIF file with nclx 9/16 (BT.2020, PQ), `info` is the same
# as without, and pixels come as they are: who takes them for sRGB shows them pale.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0 imagecodecs==2026.3.6 numpy==2.4.6
cat >"$folder/cicp.py" <<'PYTHON'
import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image

photo = np.full((64, 64, 3), (200, 100, 100), np.uint8)


def read(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.info, np.asarray(image)


file = io.BytesIO()
Image.fromarray(photo).save(file, "PNG")
plain = file.getvalue()
chunk = b"cICP" + bytes([12, 13, 0, 1])
stated = plain[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[33:]
same_info = read(plain)[0] == read(stated)[0]
print("PNG", same_info, np.array_equal(read(plain)[1], read(stated)[1]))

plain = imagecodecs.avif_encode(photo, level=100, primaries=1, transfer=13, matrix=6)
stated = imagecodecs.avif_encode(photo, level=100, primaries=9, transfer=16, matrix=6)
assert struct.pack(">HH", 9, 16) in stated and struct.pack(">HH", 1, 13) in plain
same_info = read(plain)[0] == read(stated)[0]
print("AVIF", same_info, np.array_equal(read(plain)[1], read(stated)[1]))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/cicp.py")
echo "$seen"
[ "$seen" = "PNG True True
AVIF True True" ] || { echo "changed: expected PNG True True, AVIF True True"; exit 1; }
