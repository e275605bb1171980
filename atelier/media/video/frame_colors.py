"""Colours of decoded frames: their matrix and range, to RGB and back."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

# ITU-T H.273, Table 4, as in FFmpeg's AVColorSpace.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6
_MATRICES = {
    _BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""As swscale has them; what is not among them is BT.601."""


def is_rgb(frame: av.VideoFrame) -> bool:
    """Whether a frame is coded in RGB or with a palette; it becomes BT.709 in studio range."""
    return frame.format.is_rgb or frame.format.has_palette


def is_full_range(frame: av.VideoFrame) -> bool:
    """Whether luma goes from 0 to 255 instead of from 16 to 235."""
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return full and not is_rgb(frame)


def color_matrix(frame: av.VideoFrame) -> int:
    """The matrix of a frame's YCbCr, as H.273 numbers it.

    Players take untagged video of up to 576 lines for BT.601 and larger for BT.709.
    """
    if is_rgb(frame):
        return _BT709
    if frame.colorspace != _UNSPECIFIED:
        return frame.colorspace
    return _BT601 if frame.height <= 576 and frame.width < 1280 else _BT709


def to_rgb(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
    """A frame's picture, with the matrix and the range that it was coded with.

    Args:
        frame: of any format.
        size: width and height, if they are to be others than the frame's.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    source = {} if is_rgb(frame) else _coded(frame, "src")
    width, height = size or (frame.width, frame.height)
    frame = frame.reformat(width, height, "rgb24", dst_color_range=ColorRange.JPEG, **source)
    return frame.to_ndarray()


def from_rgb(image: np.ndarray, original: av.VideoFrame) -> av.VideoFrame:
    """A picture coded with the matrix and the range that `MovieWriter` tags it with.

    Args:
        image: uint8 (H, W, 3), RGB; of odd sides the last row or column is left out.
        original: the frame in whose place it comes.

    Returns:
        yuv420p.
    """
    height, width = (side // 2 * 2 for side in image.shape[:2])
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), "rgb24")
    return frame.reformat(format="yuv420p", **_coded(original, "dst"))


def _coded(frame: av.VideoFrame, side: str) -> dict:
    """How a frame's YCbCr is coded, as arguments of `reformat`: of its `src` or its `dst`."""
    return {
        f"{side}_colorspace": _MATRICES.get(color_matrix(frame), Colorspace.ITU601),
        f"{side}_color_range": ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG,
    }
