#!/usr/bin/env bash
# Pillow compares the transparent colour of a 16-bit RGB PNG by its low bytes with pixels' high bytes.
#
# pillow 12.3.0, Python 3.11 to 3.13.
# Expected (PNG, third edition, section 11.3.1): pixels of just the colour in tRNS are transparent.
# Seen: of two pixels, (0x2041, …) and (0x4100, …), with the first in tRNS, `convert("RGBA")` makes the second
# transparent and the first opaque: pixels keep their high bytes, the colour its low ones. Of 16-bit grey,
# `convert("RGBA")` makes no pixel transparent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0
cat >"$folder/transparency.py" <<'PYTHON'
import io
import struct
import zlib

from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def opacities(values, channels):
    """The alpha of a row of 16-bit pixels, of which the first value is transparent."""
    row = b"\0" + b"".join(struct.pack(">H", value) * channels for value in values)
    colour = 2 if channels == 3 else 0
    head = struct.pack(">IIBBBBB", len(values), 1, 16, colour, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    file += chunk(b"tRNS", struct.pack(">H", values[0]) * channels)
    file += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    with Image.open(io.BytesIO(file)) as image:
        alpha = image.convert("RGBA").getchannel("A")
    return [alpha.getpixel((x, 0)) for x in range(len(values))]


print(opacities([0x2041, 0x4100], 3), opacities([0x2041, 0x4100], 1))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/transparency.py")
echo "$seen"
[ "$seen" = "[255, 0] [255, 255]" ] || { echo "changed: expected [255, 0] [255, 255]"; exit 1; }
