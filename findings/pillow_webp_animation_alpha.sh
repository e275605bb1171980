#!/usr/bin/env bash
# A WebP animation saved by Pillow from frames with transparent pixels is read back without transparency.
#
# Pillow 12.3.0 (libwebp 1.6.0), Python 3.11 to 3.13.
# Expected: frames of mode RGBA whose pixels are either transparent or opaque come back so, as they do in
# a still WebP file.
# Seen: if what is opaque fills a rectangle, libwebp's encoder cuts each frame down to it. No frame has a
# transparent pixel then, and the file's head says that there is no transparency; Pillow opens it as RGB, black
# where nothing is. One pixel of half opacity brings all of it back, and so does setting the head's flag (bit 4 of
# byte 20): the pixels themselves are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==12.3.0
cat >"$folder/alpha.py" <<'PYTHON'
import io

from PIL import Image


def frames(half=False):
    """A red square that moves over nothing."""
    made = []
    for left in (8, 16, 24):
        frame = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        frame.paste((220, 40, 30, 255), (left, 8, left + 24, 40))
        if half:
            frame.putpixel((left + 4, 12), (220, 40, 30, 128))
        made.append(frame)
    return made


def saved(first, *others, **options):
    file = io.BytesIO()
    more = {"save_all": True, "append_images": others, "duration": 50} if others else {}
    first.save(file, "WEBP", **more, **options)
    return file.getvalue()


def corner(data):
    """Mode, and the opacity of what nothing covers."""
    with Image.open(io.BytesIO(data)) as image:
        return f"{image.mode} {image.convert('RGBA').getpixel((60, 60))[3]}"


lossy = saved(*frames())
print(f"still: {corner(saved(frames()[0]))}, lossless: {corner(saved(*frames(), lossless=True))}, "
      f"lossy: {corner(lossy)}, with one half pixel: {corner(saved(*frames(half=True)))}, "
      f"lossy with the flag: {corner(lossy[:20] + bytes([lossy[20] | 16]) + lossy[21:])}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/alpha.py")
echo "$seen"
expected="still: RGBA 0, lossless: RGB 255, lossy: RGB 255, with one half pixel: RGBA 0, lossy with the flag: RGBA 0"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
