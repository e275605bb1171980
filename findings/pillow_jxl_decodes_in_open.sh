#!/usr/bin/env bash
# pillow-jxl-plugin decodes a whole picture in `Image.open`, before its size can be asked for.
#
# pillow-jxl-plugin 1.3.8, pillow 12.3.0, Python 3.11 to 3.13.
# Expected (Pillow's handbook, "Writing your own image plugin"): `open` reads the head alone, and pixels are
# decoded by `load`, so that a program can look at `size` first.
# Seen: pixels are there after `open`; and XMP data that the plugin has written is not in `info`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow-jxl-plugin==1.3.8 pillow==12.3.0
cat >"$folder/jxl.py" <<'PYTHON'
import io

import pillow_jxl  # noqa: F401
from PIL import Image

file = io.BytesIO()
picture = Image.linear_gradient("L").convert("RGB")
picture.save(file, "JXL", xmp=b"<x:xmpmeta/>")
with Image.open(io.BytesIO(file.getvalue())) as image:
    decoded = len(image._data)
    print(decoded == 256 * 256 * 3, b"<x:xmpmeta/>" in file.getvalue(), "xmp" in image.info)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/jxl.py")
echo "$seen"
[ "$seen" = "True True False" ] || { echo "changed: expected True True False"; exit 1; }
