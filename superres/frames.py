"""Super-resolution of decoded video frames: luma by the network, chroma bicubically."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from atelier.media.movies import is_full_range, is_rgb
from superres.tiles import TiledNetwork

_BORDER = 4


class FrameEnlarger:
    """Gives each frame of one video its enlarged form, 8-bit 4:2:0 with even sides.

    The planes are taken as they are coded, in studio or full range. H.264 places chroma on every
    other column of luma, and so do the files that it mostly comes from: interpolation keeps it
    there.

    Args:
        network: for the luma.
        centred: whether chroma lies amid its 2×2 pixels of luma instead, as in JPEG and MPEG-1.
    """

    def __init__(self, network: TiledNetwork, *, centred: bool = False):
        self.network, self.centred = network, centred
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Enlarges a frame of any size and format; all are brought to the size of the first."""
        frame = self._as_8_bit(frame)
        scale = self.network.scale
        result = av.VideoFrame(
            frame.width * scale // 2 * 2, frame.height * scale // 2 * 2, "yuv420p"
        )
        luma, *chroma = result.planes
        pixels(luma)[:] = self.network(pixels(frame.planes[0]))[: luma.height, : luma.width]
        shift = (0 if self.centred else 0.25) - 0.25 / scale
        for source, target in zip(frame.planes[1:], chroma, strict=True):
            enlarged = interpolate(pixels(source), scale, shift)
            pixels(target)[:] = enlarged[: target.height, : target.width]
        return result

    def _as_8_bit(self, frame: av.VideoFrame) -> av.VideoFrame:
        self._size = self._size or (frame.width, frame.height)
        formats = ("yuv420p", "yuvj420p")
        if frame.format.name in formats and (frame.width, frame.height) == self._size:
            return frame
        levels = ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG
        options = {"src_color_range": levels, "dst_color_range": levels}
        if is_rgb(frame):
            options = {"dst_color_range": levels, "dst_colorspace": Colorspace.ITU709}
        return frame.reformat(*self._size, "yuv420p", **options)


def pixels(plane) -> np.ndarray:
    """The pixels of a plane of 8 bits: uint8 (height, width), not a copy."""
    rows = np.frombuffer(plane, np.uint8, plane.line_size * plane.height)
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def interpolate(plane: np.ndarray, scale: int, shift: float) -> np.ndarray:
    """Bicubic interpolation of a plane whose columns move.

    Args:
        plane: uint8 (h, w).
        scale: pixels a side that each pixel becomes.
        shift: by how many pixels of `plane` further right each result is taken; below 1.

    Returns:
        uint8 (scale·h, scale·w).
    """
    height, width = plane.shape
    padded = np.pad(plane, _BORDER, mode="symmetric").astype(np.float32)
    box = (_BORDER + shift, _BORDER, _BORDER + shift + width, _BORDER + height)
    size = (width * scale, height * scale)
    enlarged = Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC, box=box)
    return np.uint8(np.clip(np.floor(np.asarray(enlarged) + 0.5), 0, 255))
