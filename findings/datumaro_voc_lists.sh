#!/usr/bin/env bash
# datumaro takes a folder of Pascal VOC pages for no data set, or for one without objects, if it lacks two of its folders.
#
# datumaro 1.13.12, Python 3.11. The page is labelImg's form of a picture with one object.
# Expected: the object, or an error that names what is missing.
# Seen: with Annotations/ but without a list in ImageSets/Main, "Failed to find dataset"; with a list but with the page
# beside it instead of in Annotations/, a data set of one picture with no object, and no warning; with both, the object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.12
cat >"$folder/lists.py" <<'PYTHON'
from pathlib import Path

import datumaro

PAGE = """<annotation><filename>a.jpg</filename>
<size><width>600</width><height>400</height><depth>3</depth></size><segmented>0</segmented>
<object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>200</xmin><ymin>100</ymin><xmax>451</xmax><ymax>300</ymax></bndbox></object></annotation>
"""


def put(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


put("no_list/Annotations/a.xml", PAGE)
put("beside/a.xml", PAGE)
put("both/Annotations/a.xml", PAGE)
for name in ("beside", "both"):
    put(f"{name}/ImageSets/Main/default.txt", "a\n")
for name in ("no_list", "beside", "both"):
    try:
        dataset = datumaro.Dataset.import_from(name, "voc")
        print(name, [len(item.annotations) for item in dataset])
    except Exception as error:
        print(name, type(error).__name__)
PYTHON
cd "$folder"
seen=$(venv/bin/python lists.py 2>/dev/null)
echo "$seen"
expected="no_list DatasetNotFoundError
beside [0]
both [1]"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
