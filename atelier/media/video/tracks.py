"""What goes with a video's pictures: sound, subtitles, cover pictures and attached files.

Each track is copied if the output's format can hold it. Sound that it cannot hold is encoded as
AAC if FFmpeg decodes it, and subtitles of text become those of MP4. The rest is left out, and
named. Which of these is possible no table says reliably, as it depends on FFmpeg's version and on
the track: the first packets of each are tried.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal

import av
from av.stream import Disposition
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

TRIAL_PACKETS = 4
"""Packets of each track that are tried."""

SEARCHED_PACKETS = 2_000
"""Packets of all tracks that are read in search of them."""

BITS_A_CHANNEL = 96_000
"""Bits per second of AAC for each channel, less where the sampling rate allows fewer."""

_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000)
_AAC_RATES += (11_025, 8_000, 7_350)
"""Sampling rates of AAC, ISO/IEC 14496-3, table 1.18."""

_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's usual layouts: AVI does not say which channel is which, and MP4 must."""

_COVERS = {"mjpeg": "image/jpeg", "png": "image/png"}
"""Media types of cover pictures, by FFmpeg's name of their codec."""

MOV_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb"},
    **{"mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may"},
    **{"fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk", "swe": "sve"},
}
"""QuickTime has a list of languages, and FFmpeg knows each of them by one of ISO 639-2's codes; a
track with the other one would lose its language."""

_TEXTS = ("srt", "subrip", "ass", "ssa", "webvtt", "text")
"""FFmpeg's names of subtitles that are text."""

_ASS_FIELDS = ("Layer", "Start", "End", "Style", "Name", "MarginL", "MarginR", "MarginV", "Effect")
_ASS_HEADER = f"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: {", ".join((*_ASS_FIELDS, "Text"))}
""".encode()
"""What FFmpeg's encoder of subtitles wants to know of the lines that it gets."""

_KEPT = ("language", "title")
"""What a track says of itself and its copy does, too."""

_FAULTS = (av.error.InvalidDataError, av.error.ArgumentError, ValueError)
"""Raised for a track that cannot be decoded, encoded or held; others mean a full disk and such."""


@dataclasses.dataclass(frozen=True)
class Track:
    """What becomes of one track of a video."""

    index: int
    """Its number in the file, from 0."""
    name: str
    """What the user is told it is, such as "sound track 2"."""
    way: Literal["copy", "encode", "text", "attach"]
    """Copied packet by packet, encoded as AAC, written as MP4's subtitles, or put into the file's
    head."""
    data: bytes = b""
    """What is to be written into the head."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What becomes of all tracks but the pictures."""

    tracks: tuple[Track, ...]
    """Those that the output has."""
    notes: tuple[str, ...]
    """A line for each thing that is not as it was."""


def plan_tracks(container: av.container.InputContainer, picture: int, format: str) -> Plan:
    """Decides what becomes of each track.

    Args:
        container: the video, from which packets are read; to be closed afterwards.
        picture: the number of its stream of pictures.
        format: FFmpeg's name of the output's format.

    Raises:
        av.FFmpegError: the file cannot be read.
    """
    others = [s for s in container.streams if s.index != picture and not _is_made_anew(s)]
    counts = collections.Counter(map(_kind, others))
    numbers: collections.Counter[str] = collections.Counter()
    packets = _first_packets(container, others)
    tracks, notes, left = [], [], collections.Counter()
    for stream in others:
        kind = _kind(stream)
        numbers[kind] += 1
        name = f"{kind} {numbers[kind]}" if counts[kind] > 1 else kind
        track = _find_track(stream, name, packets[stream.index], format)
        if track is not None:
            tracks.append(track)
            if track.way == "encode":
                notes.append(f"{name} is AAC now, as {format} cannot hold {_codec(stream)}")
            elif track.way == "text":
                notes.append(f"{name} is plain text now, as {format} cannot hold {_codec(stream)}")
        elif stream.type in ("audio", "subtitle"):
            notes.append(f"{name} is left out: {_reason(stream, format)}")
        else:
            left[kind] += 1
    for kind, count in left.items():
        notes.append(f"{count} {kind}s are left out" if count > 1 else f"{kind} is left out")
    return Plan(tuple(tracks), tuple(notes))


class TrackWriter:
    """Writes the tracks of a plan into an output.

    Args:
        output: an output to which nothing has been written so far.
        source: the video that the packets come from.
        tracks: of a `Plan`.
    """

    def __init__(self, output, source, tracks: Sequence[Track]):
        self._output, self._ways, self._damaged = output, {}, collections.Counter()
        self._names = {track.index: track.name for track in tracks}
        for track in tracks:
            stream = source.streams[track.index]
            if track.way == "attach":
                _attach(output, stream, track.data)
            else:
                self._ways[track.index] = _WAYS[track.way](output, stream)

    def write(self, packet: av.Packet) -> None:
        """Adds a packet of one of the tracks. A damaged one is left out.

        Raises:
            av.FFmpegError: the output cannot be written.
        """
        index = packet.stream.index
        try:
            self._output.mux(self._ways[index].packets(packet))
        except _FAULTS:
            self._damaged[index] += 1

    def finish(self) -> None:
        """Adds what encoders still hold."""
        for index, way in self._ways.items():
            try:
                self._output.mux(way.rest())
            except _FAULTS:
                self._damaged[index] += 1

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each track of which something is damaged."""
        return tuple(
            f"{self._names[index]} is damaged, {count} part{'s' if count > 1 else ''} left out"
            for index, count in self._damaged.items()
        )


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a stream is a cover picture or a thumbnail instead of a video."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def timecode(container: av.container.InputContainer) -> str | None:
    """The time code of a video's first frame, such as 01:02:03:04, if it has one."""
    places = (container.metadata, *(stream.metadata for stream in container.streams))
    texts = (place.get("timecode") or place.get("TIMECODE") for place in places)
    return next(filter(None, texts), None)


# === The ways ===


class _Copied:
    """A track whose packets go from one file to another."""

    def __init__(self, output, stream):
        self.stream = output.add_stream_from_template(stream, opaque=True)
        if stream.type == "audio":
            context = self.stream.codec_context
            if stream.layout.name.endswith("channels") and stream.channels in _LAYOUTS:
                context.layout = _LAYOUTS[stream.channels]
        _keep_facts(stream, self.stream)

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        packet.stream = self.stream
        return [packet]

    def rest(self) -> list[av.Packet]:
        return []


class _Encoded:
    """A sound track that is encoded as AAC."""

    def __init__(self, output, stream):
        lower = [rate for rate in _AAC_RATES if rate <= stream.rate]
        rate = max(lower, default=_AAC_RATES[-1])
        layout = stream.layout.name
        if stream.channels > 8:
            layout = "stereo"
        elif layout.endswith("channels"):
            layout = _LAYOUTS[stream.channels]
        bits = min(BITS_A_CHANNEL, 6 * rate) * min(stream.channels, 8)  # 6: of AAC's buffer.
        self.stream = output.add_stream("aac", rate=rate, layout=layout, bit_rate=bits)
        self.stream.codec_context.time_base = Fraction(1, rate)
        _keep_facts(stream, self.stream)

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        return [part for frame in packet.decode() for part in self.stream.encode(frame)]

    def rest(self) -> list[av.Packet]:
        return self.stream.encode(None)


class _Text:
    """A track of subtitles whose lines are written as MP4's (3GPP TS 26.245), without styles."""

    def __init__(self, output, stream):
        self.stream = output.add_stream("mov_text")
        self.stream.codec_context.subtitle_header = _ASS_HEADER
        self.stream.codec_context.time_base = Fraction(1, 1000)
        _keep_facts(stream, self.stream)

    def packets(self, packet: av.Packet) -> list[av.Packet]:
        lines = [line.ass for line in packet.decode() if isinstance(line, AssSubtitle)]
        made = []
        for line in lines[:1]:  # One packet is one text, at one time.
            text = SubtitleSet.create(line, 0, packet.duration or 0, packet.pts)
            coded = self.stream.codec_context.encode_subtitle(text)
            coded.stream, coded.time_base = self.stream, packet.time_base
            coded.pts = coded.dts = packet.pts
            coded.duration = packet.duration
            made.append(coded)
        return made

    def rest(self) -> list[av.Packet]:
        return []


def _attach(output, stream, data: bytes) -> None:
    """Writes an attached file, or a cover picture, into the head of a Matroska file."""
    kind = _COVERS.get(_codec(stream)) or stream.mimetype or "application/octet-stream"
    name = stream.metadata.get("filename") or f"cover.{kind.rpartition('/')[2]}"
    output.add_attachment(name, kind, data)


def _keep_facts(source, target) -> None:
    keep_names(source, target)
    target.disposition = source.disposition


def keep_names(source: av.stream.Stream, target: av.stream.Stream) -> None:
    """Gives an output's track the language and the title of the track that it comes from."""
    found = dict(source.metadata)
    if "name" in found:  # So FFmpeg calls on reading MP4 what it takes as title on writing it.
        found.setdefault("title", found["name"])
    if target.container.format.name == "mov":
        language = found.get("language", "")
        found["language"] = MOV_LANGUAGES.get(language, language)
    for key in _KEPT:
        if found.get(key):
            target.metadata[key] = found[key]


# === The trial ===


def _find_track(
    stream: av.stream.Stream, name: str, packets: Sequence[bytes], format: str
) -> Track | None:
    """The first way that works for a track's first packets; None if there is none."""
    if stream.type == "attachment" or is_cover(stream):
        if format == "matroska":
            data = stream.data if stream.type == "attachment" else b"".join(packets[:1])
            known = stream.type == "attachment" or _codec(stream) in _COVERS
            return Track(stream.index, name, "attach", data) if data and known else None
        ways = ("copy",) if is_cover(stream) and packets else ()
    elif stream.codec_context is None:
        ways = ()
    else:
        ways = {"audio": ("copy", "encode"), "subtitle": ("copy",)}.get(stream.type, ())
        if format in ("mp4", "mov") and _codec(stream) in _TEXTS:
            ways = ("copy", "text")
    tracks = (Track(stream.index, name, way) for way in ways)
    return next((track for track in tracks if _works(track, stream, packets, format)), None)


def _works(
    track: Track, stream: av.stream.Stream, packets: Sequence[av.Packet], format: str
) -> bool:
    """Whether a file of this track alone can be written."""
    try:
        with io.BytesIO() as file, av.open(file, "w", format=format) as output:
            way = _WAYS[track.way](output, stream)
            for packet in map(_copy_of, packets):
                output.mux(way.packets(packet))
            output.mux(way.rest())
            output.start_encoding()
    except _FAULTS:
        return False
    return True


def _copy_of(packet: av.Packet) -> av.Packet:
    """A packet that may be written, which changes its times, or decoded."""
    copied = av.Packet(bytes(packet))
    copied.stream, copied.time_base = packet.stream, packet.time_base
    copied.pts, copied.dts, copied.duration = packet.pts, packet.dts, packet.duration
    copied.is_keyframe = packet.is_keyframe
    return copied


def _first_packets(
    container: av.container.InputContainer, streams: Iterable[av.stream.Stream]
) -> dict[int, list[av.Packet]]:
    """The first packets of each stream, by its number."""
    found: dict[int, list[av.Packet]] = {stream.index: [] for stream in streams}
    if not found:
        return found
    for packet in itertools.islice(container.demux(), SEARCHED_PACKETS):
        of_it = found.get(packet.stream.index)
        if of_it is not None and packet.size and len(of_it) < TRIAL_PACKETS:
            of_it.append(packet)
        if all(len(packets) == TRIAL_PACKETS for packets in found.values()):
            break
    return found


def _kind(stream: av.stream.Stream) -> str:
    """What the user is told a stream is."""
    if is_cover(stream):
        return "cover picture"
    names = {"audio": "sound track", "video": "second video", "attachment": "attached file"}
    return names.get(stream.type, f"{stream.type} track")


def _codec(stream: av.stream.Stream) -> str | None:
    """FFmpeg's name of a track's format, if it knows that."""
    return None if stream.codec_context is None else stream.codec_context.name


def _reason(stream: av.stream.Stream, format: str) -> str:
    """Why a track is left out."""
    if _codec(stream) is None:
        return "it is in a format that FFmpeg does not know"
    undecoded = ", and it cannot be decoded" if stream.type == "audio" else ""
    return f"{format} cannot hold {_codec(stream)}{undecoded}"


def _is_made_anew(stream: av.stream.Stream) -> bool:
    """Whether a track says what the output's own muxer writes again: time codes, chapters."""
    chapters = stream.container.chapters()
    # MP4's chapters are a track of text, too, which is not shown; FFmpeg's own one of data.
    if stream.type == "data":
        return "timecode" in stream.metadata or (
            bool(chapters) and stream.frames == len(chapters) and stream.codec_context is None
        )
    hidden = stream.type == "subtitle" and not stream.disposition & Disposition.default
    return hidden and bool(chapters) and stream.frames == len(chapters)


_WAYS = {"copy": _Copied, "encode": _Encoded, "text": _Text}
