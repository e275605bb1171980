#!/usr/bin/env bash
# Label Studio's COCO file names pictures by the addresses of its tasks, and has no size of those without objects.
#
# label-studio-sdk 2.1.2, Python 3.11.
# Expected: `file_name` is a path of a file, decoded; `width` and `height` are numbers, as COCO's format says.
# Seen: without the download of pictures, `file_name` is "/data/local-files/?d=photos/a%20b.jpg", the address
# as it is, percent-encoded; a task that was looked at and has no object has null for width and height.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2
cat >"$folder/names.py" <<'PYTHON'
import json
import pathlib
import sys

from label_studio_sdk.converter import Converter

folder = pathlib.Path(sys.argv[1])
box = {
    "id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
    "original_width": 60, "original_height": 40, "image_rotation": 0,
    "value": {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cup"]},
}
tasks = [
    {"id": number, "data": {"image": f"/data/local-files/?d=photos/{name}"},
     "annotations": [{"id": number, "completed_by": 1, "result": result}]}
    for number, (name, result) in enumerate([("a%20b.jpg", [box]), ("c.jpg", [])], 1)
]
(folder / "tasks.json").write_text(json.dumps(tasks))
form = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="cup"/></RectangleLabels></View>'
)
Converter(form, project_dir=None, download_resources=False).convert_to_coco(
    str(folder / "tasks.json"), str(folder / "out"), output_image_dir=str(folder / "out"), is_dir=False
)
images = json.loads((folder / "out" / "result.json").read_text())["images"]
seen = [(image["file_name"], image["width"], image["height"]) for image in images]
print(*seen, sep="\n")
expected = [
    ("/data/local-files/?d=photos/a%20b.jpg", 60, 40),
    ("/data/local-files/?d=photos/c.jpg", None, None),
]
sys.exit(0 if seen == expected else 1)
PYTHON
"$folder/venv/bin/python" "$folder/names.py" "$folder" 2>/dev/null
