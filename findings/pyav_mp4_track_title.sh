#!/usr/bin/env bash
# FFmpeg writes a track's "title" into MP4 and MOV files and reads it back as "name", which it does not write.
#
# av 18.1.0 (FFmpeg 8), Python 3.11 to 3.13.
# Expected: metadata that is copied from track to track stays, whatever the two formats.
# Seen: what goes into an .mp4 or .mov file as "title" comes out as "name". Copied as it was read, it is lost, in
# MP4 and in Matroska's own "title". Languages have another trap: German is "ger" in MOV, and "deu" is dropped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat >"$folder/titles.py" <<'PYTHON'
import io

import av
import numpy as np


def written(kind, **metadata):
    """The metadata of a sound track, as a file of a kind has it."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        for key, value in metadata.items():
            stream.metadata[key] = value
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(file.getvalue())) as container:
        return container.streams.audio[0].metadata


for kind in ("matroska", "mp4", "mov"):
    titled, named = written(kind, title="Remarks"), written(kind, name="Remarks")
    said = [key for key in ("title", "name") if titled.get(key) == "Remarks"]
    kept = "Remarks" in named.values() and "title" in named
    german = written(kind, language="deu").get("language", "none")
    print(f"{kind}: title read as {said}, name kept as title {kept}, deu read as {german}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/titles.py")
echo "$seen"
expected="matroska: title read as ['title'], name kept as title False, deu read as deu
mp4: title read as ['name'], name kept as title False, deu read as deu
mov: title read as ['name'], name kept as title False, deu read as none"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
