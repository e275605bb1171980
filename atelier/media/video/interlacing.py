"""Interlaced video made progressive, by FFmpeg's bwdif, one frame for each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.filter import Graph

FILTER = "mode=send_frame:parity=auto:deint=interlaced"
"""Options of bwdif: one frame a frame, fields in the order that each frame states, and frames that
are marked as progressive left as they are."""


class Deinterlacer:
    """Makes the frames of one video progressive.

    Until the first frame that is marked as interlaced, frames are passed on; from there on they go
    through the filter, which looks one frame ahead.

    Args:
        active: whether anything is changed at all.
    """

    def __init__(self, active: bool = True):
        self.active = active
        self.interlaced = 0
        """Frames so far that were marked as interlaced."""
        self._graph: Graph | None = None
        self._kind: tuple | None = None

    def __call__(
        self, items: Iterable[av.VideoFrame | av.Packet]
    ) -> Iterator[av.VideoFrame | av.Packet]:
        """Passes on packets as they come, and frames progressive, with their times."""
        for item in items:
            if isinstance(item, av.VideoFrame):
                yield from self._frames(item)
            else:
                yield item
        yield from self._rest()

    @property
    def notes(self) -> tuple[str, ...]:
        """A line that says what has been done, or left."""
        if not self.interlaced:
            return ()
        frames = f"{self.interlaced:,} frame{'s' if self.interlaced > 1 else ''}"
        return (f"{frames} deinterlaced" if self.active else f"{frames} interlaced, left so",)

    def _frames(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        self.interlaced += frame.interlaced_frame
        if not self.active or (self._graph is None and not frame.interlaced_frame):
            yield frame
            return
        kind = frame.format.name, frame.width, frame.height, frame.time_base
        if kind != self._kind:  # The graph is for frames of one kind.
            yield from self._rest()
            self._graph, self._kind = _graph(frame), kind
        self._graph.push(frame)
        yield from self._pull()

    def _rest(self) -> Iterator[av.VideoFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None

    def _pull(self) -> Iterator[av.VideoFrame]:
        time_base = self._kind[-1]
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # bwdif counts in halves of the source's unit.
            ratio = frame.time_base / time_base
            frame.pts = None if frame.pts is None else int(frame.pts * ratio)
            frame.duration = int((frame.duration or 0) * ratio)
            frame.time_base = time_base
            yield frame


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    bwdif, sink = graph.add("bwdif", FILTER), graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph
