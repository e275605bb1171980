"""Pictures in and out of the page: uploads, read as every task reads them, and results as PNG."""

from __future__ import annotations

import re
import secrets
from abc import ABCMeta
from pathlib import Path

import gradio as gr
import numpy as np
from gradio.component_meta import ComponentMeta
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

from atelier.errors import ImageError
from atelier.media.formats.metadata import Metadata
from atelier.media.images import Picture, load_picture, save_image
from gallery.web.jobs import refusal
from gallery.web.limits import limits


class _Component(ComponentMeta):
    """Gradio's own metaclass writes a stub beside a class's source; this one leaves that be."""

    def __new__(cls, name, bases, attributes):
        return ABCMeta.__new__(cls, name, bases, attributes)


class Photo(gr.Image, metaclass=_Component):
    """A picture that a visitor uploads: uint8 (H, W, 3) for the handler, (H, W, 4) where it is
    transparent, None where there is none. Takes `gr.Image`'s arguments.

    Gradio decodes nothing of it: `atelier.media.images.load_picture` judges its size first and then
    reads it, so that EXIF orientation, palettes, CMYK and 16 bits are understood. What is no
    picture, or too large, gives the visitor that function's one line, over the REST interface, too.
    """

    is_template = True  # To the browser it is an Image.

    def preprocess(self, payload: ImageData | None) -> np.ndarray | None:
        """Reads the uploaded file.

        Raises:
            gr.Error: no picture, a damaged one, or too large a one.
        """
        return None if payload is None else self.read(payload).image

    def read(self, payload: ImageData) -> Picture:
        """Reads the uploaded file, with what it says beside its pixels.

        Raises:
            gr.Error: no picture, a damaged one, or too large a one.
        """
        if payload.path is None:
            raise refusal("upload the picture first, then name its path in the request")
        try:
            return load_picture(payload.path, alpha="keep", max_pixels=limits().pixels)
        except ImageError as error:
            # Where uploads lie is nobody's business; the file's own name is the visitor's.
            raise refusal(str(error).replace(payload.path, Path(payload.path).name)) from None

    def postprocess(self, value: str | Path | np.ndarray | None) -> ImageData | None:
        """A picture shown: a file, such as `save_result` writes, or an array, which becomes one."""
        if isinstance(value, np.ndarray):
            value = save_result(value, "picture")
        return None if value is None else ImageData(path=str(value), orig_name=Path(value).name)

    def example_payload(self) -> dict:
        return {"path": "photo.jpg", "meta": {"_type": "gradio.FileData"}}

    def example_value(self) -> str:
        return "photo.jpg"


def save_result(image: np.ndarray, name: str, metadata: Metadata | None = None) -> str:
    """Writes a result where the page may show it and a download button may give it out.

    Args:
        image: uint8 (H, W), (H, W, 3) or (H, W, 4).
        name: the file's, under which it is downloaded; ".png" is added where there is none.
        metadata: of the picture that it was made from.

    Returns:
        The file's path: the value of a `gr.Image`, `gr.ImageSlider` or `gr.DownloadButton`.

    Raises:
        OutputError: the disk is full.
    """
    stem = re.sub(r"[^\w-]+", "-", Path(name).stem).strip("-") or "picture"
    path = Path(get_upload_folder()) / secrets.token_hex(16) / f"{stem}.png"
    save_image(path, image, metadata=metadata)
    return str(path)
