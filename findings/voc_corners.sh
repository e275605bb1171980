#!/usr/bin/env bash
# Five programs write one box as Pascal VOC: four count corners from 0, one from 1, and none says so.
#
# labelImg 1.8.6, datumaro 1.13.12, globox 2.9.0, pylabel 0.1.55, supervision 0.31.2, Python 3.11.
# The box covers columns 200 to 450 and rows 100 to 299, counted from 0: continuous, 200 100 451 300.
# Expected (VOC2012 development kit, Section 5: pixels count from 1, the last is included): 201 101 451 300.
# Seen: supervision writes that; labelImg, datumaro, globox and pylabel write 200 100 451 300. So what one wrote, another
# reads a pixel off, and only PASCAL's own files tell by their <source>.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    labelImg==1.8.6 datumaro==1.13.12 globox==2.9.0 pylabel==0.1.55 supervision==0.31.2
cat >"$folder/corners.py" <<'PYTHON'
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import datumaro
import globox
import numpy as np
import supervision
from datumaro.components.annotation import Bbox
from datumaro.components.media import Image as Media
from libs.pascal_voc_io import PascalVocWriter
from PIL import Image
from pylabel import importer

Image.new("RGB", (600, 400)).save("a.jpg")
for name in ("labelImg", "globox", "pylabel"):
    Path(name).mkdir()

writer = PascalVocWriter("folder", "a.jpg", (400, 600, 3))
writer.add_bnd_box(200, 100, 451, 300, "cat", 0)
writer.save("labelImg/a.xml")

media = Media.from_file(path="a.jpg")
item = datumaro.DatasetItem(id="a", subset="train", media=media, annotations=[Bbox(200, 100, 251, 200, label=0)])
datumaro.Dataset.from_iterable([item], categories=["cat"]).export("datumaro", "voc")

box = globox.BoundingBox(label="cat", xmin=200, ymin=100, xmax=451, ymax=300)
globox.AnnotationSet([globox.Annotation("a.jpg", (600, 400), [box])]).save_pascal_voc("globox")

coco = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 600, "height": 400}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [200, 100, 251, 200], "area": 50200, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cat", "supercategory": ""}],
}
Path("c.json").write_text(json.dumps(coco))
importer.ImportCoco("c.json", path_to_images=".").export.ExportToVoc(output_path="pylabel")

found = supervision.Detections(xyxy=np.array([[200.0, 100, 451, 300]]), class_id=np.array([0]))
dataset = supervision.DetectionDataset(classes=["cat"], images=["a.jpg"], annotations={"a.jpg": found})
dataset.as_pascal_voc(annotations_directory_path="supervision")

for name in ("labelImg", "datumaro", "globox", "pylabel", "supervision"):
    (file,) = Path(name).rglob("*.xml")
    box = ET.parse(file).getroot().find("object/bndbox")
    print(name, *(int(float(box.findtext(side))) for side in ("xmin", "ymin", "xmax", "ymax")))
PYTHON
cd "$folder"
seen=$(venv/bin/python corners.py 2>/dev/null)
echo "$seen"
expected="labelImg 200 100 451 300
datumaro 200 100 451 300
globox 200 100 451 300
pylabel 200 100 451 300
supervision 201 101 451 300"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
