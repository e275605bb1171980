"""Shows what a network's positions see, and their anchors: `python -m detection.explain PICTURE`.

The table lists each layer's map, stride, receptive field and centre; the picture shows one
position of one layer: its field, and the three scales by three aspect ratios of Faster R-CNN's
anchors around its centre. Networks have no weights here, as geometry needs none.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from atelier import cli
from atelier.cli.failures import for_each
from atelier.cli.inputs import Input, find_inputs, output_paths
from atelier.errors import ImageError, SettingsError
from atelier.files import refuse_existing
from atelier.media.images import fit_size, load_image, resize, sample, save_image
from detection.network.anchors import base_anchors
from detection.receptive import ReceptiveField, receptive_field, receptive_fields

EXAMPLE = "astronaut.png"
"""Comes with scikit-image."""

STRIDE = 16
"""Of the layer that is shown if none is named: the last of this stride, as in Faster R-CNN."""

LONGEST = 1400
"""Longer side of the drawing, pixels."""

_COLOURS = ((230, 75, 60), (60, 170, 90), (65, 120, 230), (225, 160, 40), (150, 90, 200))
_FIELD, _DOT, _PAPER, _INK = (255, 220, 0), (255, 255, 255), (236, 236, 236), (40, 40, 40)

_NETWORKS = {
    name.lower(): maker
    for name, maker in vars(keras.applications).items()
    if callable(maker) and not name.startswith("_")
}


@dataclasses.dataclass(frozen=True)
class ExplainArguments:
    """Show what a network's positions see of a picture, and the anchors around one of them.

    With no input, it is shown on a picture that comes with scikit-image.
    """

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures: files, folders, or - for standard input."""
    network: str = "vgg16"
    """One of keras.applications by its name, such as resnet50, or a .keras file."""
    layer: str | None = None
    """The layer to show; left out, the last of stride 16, or else the last."""
    position: tuple[int, int] | None = None
    """Row and column in that layer's map; left out, its middle."""
    scales: tuple[float, ...] = (128, 256, 512)
    """Sides of the square anchors, pixels."""
    ratios: tuple[float, ...] = (0.5, 1, 2)
    """Aspect ratios of the anchors, height over width."""
    out: Path = Path("out/explain")
    """The folder for the drawings, NAME.anchors.png."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a layer on standard output, instead of the table."""

    def __post_init__(self):
        for name, values, most in (("scales", self.scales, 4096), ("ratios", self.ratios, 100)):
            if not 1 <= len(values) <= 9:
                raise SettingsError(f"--{name} takes 1 to 9 numbers, not {len(values)}")
            if not all(1 / 100 <= value <= most for value in values):
                raise SettingsError(f"--{name} are from 0.01 to {most}, not {values}")


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A drawing of one position, and what it shows."""

    image: np.ndarray
    """uint8 (H, W, 3): the picture, a margin where boxes leave it, and a caption."""
    field: ReceptiveField
    position: tuple[int, int]
    """Row and column."""
    centre: tuple[float, float]
    """y and x of the field's centre, in pixel coordinates: the first pixel's middle is 0."""
    anchors: np.ndarray
    """float32 (ratios · scales, 4): x1 y1 x2 y2 in pixels, which may leave the picture."""


def explain(
    image: np.ndarray,
    field: ReceptiveField,
    position: tuple[int, int] | None = None,
    *,
    scales: Sequence[float] = (128, 256, 512),
    ratios: Sequence[float] = (0.5, 1, 2),
) -> Explanation:
    """Draws one position's receptive field and anchors on a picture.

    Args:
        image: uint8 (H, W, 3), of the size for which `field` was computed.
        field: of the layer to show.
        position: row and column of its map; left out, the middle.
        scales: sides of the square anchors, pixels.
        ratios: heights over widths.

    Raises:
        SettingsError: the map has no such position.
    """
    height, width = field.map_size
    position = position or (height // 2, width // 2)
    if not (0 <= position[0] < height and 0 <= position[1] < width):
        raise SettingsError(
            f"--position {position[0]} {position[1]} is not in the map of {field.layer}, "
            f"{height} rows and {width} columns"
        )
    y, x = field.to_picture(position)
    # Boxes are continuous, where the middle of the first pixel is at 0.5.
    anchors = base_anchors(scales, ratios) + np.float32([x + 0.5, y + 0.5] * 2)
    image = _draw(image, field, position, anchors, len(scales))
    return Explanation(image, field, position, (float(y), float(x)), anchors)


def load_network(name: str, size: tuple[int, int]) -> keras.Model:
    """A network by name, for pictures of a size, or one from a file.

    Args:
        name: of keras.applications in lower case, without weights and top; or a .keras file.
        size: height and width, for the former.

    Raises:
        SettingsError: no such network, or one that cannot be loaded.
        ImageError: the network does not take pictures of this size.
    """
    if Path(name).suffix == ".keras":
        if not Path(name).is_file():
            raise SettingsError(f"{name}: no such file")
        try:
            return keras.saving.load_model(name, compile=False)
        except Exception as error:  # A damaged file raises a dozen kinds.
            raise SettingsError(f"{name} cannot be loaded ({_one_line(error)})") from None
    if name.lower() not in _NETWORKS:
        known = ", ".join(_NETWORKS)
        raise SettingsError(f"no network {name!r}: pass a .keras file, or one of {known}")
    try:
        maker = _NETWORKS[name.lower()]
        return maker(weights=None, include_top=False, input_shape=(*size, 3))
    except ValueError as error:
        raise ImageError(
            f"{name} takes no pictures of {size[1]}×{size[0]} ({_one_line(error)})"
        ) from None


def choose(fields: Mapping[str, ReceptiveField]) -> str:
    """The layer to show: the last of stride 16, or else the last.

    Raises:
        SettingsError: there is none at all.
    """
    if not fields:
        raise SettingsError("no layer of this network has a receptive field")
    of_stride = [name for name, field in fields.items() if field.stride == (STRIDE, STRIDE)]
    return (of_stride or list(fields))[-1]


def table(fields: Mapping[str, ReceptiveField]) -> str:
    """A line a layer: name, class, map, stride, field, centre of position 0."""
    head = ("layer", "class", "map", "stride", "field", "first centre y, x")
    rows = [
        (
            field.layer,
            field.kind,
            _pair(field.map_size),
            _pair(field.stride),
            _pair(field.size) + (" and all" if field.whole else ""),
            "{:g}, {:g}".format(*field.offset),
        )
        for field in fields.values()
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def _draw(image, field, position, anchors, scales) -> np.ndarray:
    """The picture with room for all boxes, made small enough, and the boxes upon it."""
    height, width = image.shape[:2]
    box = field.box(position)
    corners = np.concatenate([anchors, box[None], [[0, 0, width, height]]])
    left, top = np.floor(corners[:, :2].min(axis=0)) - 4
    right, bottom = np.ceil(corners[:, 2:].max(axis=0)) + 4
    scale = min(1.0, LONGEST / max(right - left, bottom - top))
    size = (round((right - left) * scale), round((bottom - top) * scale))
    small = resize(image, fit_size(image.shape, max(1, round(max(height, width) * scale))))
    font = ImageFont.load_default(size=15)
    caption = _caption(field, position)
    canvas = Image.new("RGB", (max(size[0], 560), size[1] + 22 * len(caption) + 8), _PAPER)
    canvas.paste(Image.fromarray(small), (round(-left * scale), round(-top * scale)))
    draw = ImageDraw.Draw(canvas)

    def place(corner):
        return tuple((np.asarray(corner) - [left, top] * (len(corner) // 2)) * scale)

    for i, anchor in enumerate(anchors):
        draw.rectangle(place(anchor), outline=_COLOURS[i % scales % len(_COLOURS)], width=2)
    draw.rectangle(place(box), outline=_FIELD, width=4)
    x, y = place((box[:2] + box[2:]) / 2)
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_DOT, outline=_INK)
    for i, line in enumerate(caption):
        draw.text((6, size[1] + 4 + 22 * i), line, fill=_INK, font=font)
    return np.asarray(canvas)


def _caption(field, position) -> list[str]:
    y, x = field.to_picture(position)
    # Pillow's own font has no ×.
    sizes = [_pair(pair).replace("×", " x ") for pair in (field.map_size, field.stride, field.size)]
    return [
        f"{field.layer}: map {sizes[0]}, stride {sizes[1]}",
        f"position {position[0]} {position[1]}: centre at pixel y {y:g}, x {x:g}",
        f"yellow: receptive field, {sizes[2]}; others: anchors, a colour a scale",
    ]


def _pair(values) -> str:
    """Height × width."""
    return f"{values[0]:g}×{values[1]:g}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _record(item: Input, network: str, field: ReceptiveField) -> dict:
    record = dataclasses.asdict(field)
    return {"input": item.name, "network": network, **record, "offset": field.offset}


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(ExplainArguments, argv, prog="python -m detection.explain")
    inputs = find_inputs(arguments.inputs)
    inputs = inputs or [Input(EXAMPLE, sample(EXAMPLE), Path(EXAMPLE))]
    paths = output_paths(inputs, arguments.out, suffix=".anchors.png", files=())
    networks = {}

    def work(item: Input, path: Path) -> None:
        refuse_existing(path, arguments.overwrite)
        image = load_image(item.source)
        size = image.shape[:2]
        if size not in networks:
            networks.clear()  # One at a time: they are hundreds of megabytes.
            networks[size] = load_network(arguments.network, size)
        model = networks[size]
        image, size = _fit(image, model)
        fields = receptive_fields(model, size)
        field = receptive_field(model, arguments.layer or choose(fields), size)
        shown = explain(
            image,
            field,
            arguments.position,
            scales=arguments.scales,
            ratios=arguments.ratios,
        )
        if arguments.json:
            for each in fields.values():
                cli.print_json(_record(item, arguments.network, each))
        else:
            cli.print_note(f"{item.name}, {arguments.network}:")
            print(table(fields), flush=True)
        save_image(path, shown.image, overwrite=arguments.overwrite)
        cli.print_note(str(path))

    pairs = zip(inputs, paths, strict=True)
    todo = ((item.name, lambda i=item, p=path: work(i, p)) for item, path in pairs)
    return for_each(todo, out=arguments.out)


def _fit(image, model) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture, squeezed if the network takes pictures of one size alone, and its size."""
    shape = tuple(model.inputs[0].shape) if getattr(model, "inputs", None) else ()
    if len(shape) != 4:
        raise SettingsError(f"{model.name} does not take one picture (H, W, C), but {shape}")
    size = tuple(own or n for own, n in zip(shape[1:3], image.shape[:2], strict=True))
    return resize(image, size), size


if __name__ == "__main__":
    sys.exit(main())
