#!/usr/bin/env bash
# pylabel writes the last object of a COCO file twice, under one id, where the last picture has no object.
#
# pylabel 0.1.55, pandas 2.3.3 (pandas 3 it cannot read with), Python 3.11.
# Expected: `ExportToCoco` writes each object that `ImportCoco` has read once.
# Seen: of two pictures, one with an object and one without, the file written has that object twice, both with id 0
# (ids count from 0, whatever they were). Without the empty picture, it is there once. `pycocotools` keeps both in
# `imgToAnns`, so that a detector which finds the object is said to miss its twin.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pylabel==0.1.55 pandas==2.3.3
cat >"$folder/twice.py" <<'PYTHON'
import json
import pathlib
import sys

from pylabel import importer

folder = pathlib.Path(sys.argv[1])


def ids(names):
    """The ids of the objects that are written, of pictures of which a.jpg has one."""
    images = [
        {"id": number, "file_name": name, "width": 60, "height": 40}
        for number, name in enumerate(names, 1)
    ]
    owner = next(image["id"] for image in images if image["file_name"] == "a.jpg")
    value = {
        "images": images,
        "annotations": [
            {"id": 7, "image_id": owner, "category_id": 1, "bbox": [10, 5, 20, 15], "area": 300,
             "iscrowd": 0, "segmentation": []}
        ],
        "categories": [{"id": 1, "name": "cup", "supercategory": ""}],
    }
    (folder / "in.json").write_text(json.dumps(value))
    dataset = importer.ImportCoco(str(folder / "in.json"), path_to_images="", name="set")
    dataset.export.ExportToCoco(str(folder / "out.json"))
    return [record["id"] for record in json.loads((folder / "out.json").read_text())["annotations"]]


alone, followed = ids(["a.jpg"]), ids(["a.jpg", "empty.jpg"])
print("one picture:", alone, "and one more without an object:", followed)
sys.exit(0 if (alone, followed) == ([0], [0, 0]) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/twice.py" "$folder" 2>/dev/null
