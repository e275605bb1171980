#!/usr/bin/env bash
# PyAV takes a FLAC or Opus track for a .mov file, and refuses it when the first packet is written.
#
# av 18.1.0 (FFmpeg 8), numpy 2.4.6, Python 3.11 to 3.13.
# Expected: `add_stream_from_template` raises ValueError for what the format cannot hold, as it does for
# WavPack ("'mov' format does not support 'wavpack' codec").
# Seen: for FLAC and Opus it returns a stream, and the first `mux`, which writes the head of the file, raises
# ArgumentError "[Errno 22] Invalid argument": by then nothing can be written, the pictures neither. Which
# formats hold a track is only known after a trial.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat >"$folder/tracks.py" <<'PYTHON'
import io

import av
import numpy as np


def sound(codec):
    """A Matroska file of a tenth of a second."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return io.BytesIO(file.getvalue())


def copy(codec):
    """What stops a copy into a .mov file, and where."""
    source, target = av.open(sound(codec)), av.open(io.BytesIO(), "w", format="mov")
    try:
        stream = target.add_stream_from_template(source.streams.audio[0])
    except ValueError:
        return "add_stream_from_template"
    for packet in source.demux():
        if packet.size:
            packet.stream = stream
            try:
                target.mux(packet)
            except av.error.ArgumentError:
                return "mux"
    return "nothing"


print(*(f"{codec}: {copy(codec)}" for codec in ("wavpack", "flac", "libopus", "aac")), sep=", ")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/tracks.py")
echo "$seen"
expected="wavpack: add_stream_from_template, flac: mux, libopus: mux, aac: nothing"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
