"""Measures pictures: `python -m nst.evaluate PICTURE… --content PHOTO --styles PAINTING`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from atelier import cli
from atelier.cli.failures import for_each
from atelier.cli.inputs import Input, find_inputs
from atelier.errors import SettingsError
from atelier.media.images import ImageSource, load_image, resize
from atelier.nets.features import load_features
from atelier.nets.vgg import preprocess
from nst.config import PRESETS, StyleTransferConfig
from nst.descent.objective import Loss, Objective
from nst.transfer import Pictures


def evaluate(
    image: ImageSource,
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    config: StyleTransferConfig | None = None,
    *,
    network=None,
) -> Loss:
    """The losses of a finished picture, whoever made it.

    The picture is compared at its own size with the content and the styles at that size, without
    margin and in float32.

    Args:
        image: the picture, in the content's aspect.
        content, style, config, network: as in `nst.stylize`.

    Raises:
        AtelierError: as `nst.stylize`.
    """
    picture = load_image(image)
    config = dataclasses.replace(
        config or StyleTransferConfig(),
        size=max(picture.shape[:2]),
        margin=0,
        precision="float32",
        preserve_color="none",
    )
    pictures = Pictures(content, style, config)
    if np.max(np.abs(np.subtract(pictures.size, picture.shape[:2]))) > 2:
        raise SettingsError(f"the picture is {picture.shape[:2]}, the content {pictures.size}")
    network = network or load_features(
        config.features, pooling=config.pooling, vgg19_weights=config.vgg19_weights
    )
    objective = Objective(network, config)
    canvas, styles, masks = pictures.at(pictures.size)
    targets = objective.targets(canvas, styles, pictures.weights, masks)
    own = preprocess(resize(picture, pictures.size))[None]
    return objective.value_and_gradient(own, targets)[0]


@dataclasses.dataclass(frozen=True)
class EvaluateArguments(StyleTransferConfig):
    """Print the losses of pictures under given features, as JSON, one object a picture."""

    inputs: tyro.conf.Positional[tuple[str, ...]] = ()
    """The pictures to measure."""
    content: Path | None = None
    """The photo that they were made from."""
    styles: tuple[str, ...] = ()
    """The paintings whose style they were given."""
    preset: Literal["fast", "report"] = "fast"
    """The weights and layers of the losses."""


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EvaluateArguments, argv, prog="python -m nst.evaluate", presets=PRESETS)
    if not arguments.inputs or arguments.content is None or not arguments.styles:
        raise SettingsError("give PICTURE… --content PHOTO --styles PAINTING…")
    config = cli.settings(StyleTransferConfig, arguments)

    def measure(item: Input) -> None:
        loss = evaluate(item.source, arguments.content, arguments.styles, config)
        record = {"input": item.name, "features": config.features, "loss": loss.total}
        cli.print_json({**record, **dataclasses.asdict(loss)})

    inputs = find_inputs(arguments.inputs)
    return for_each((item.name, lambda item=item: measure(item)) for item in inputs)


if __name__ == "__main__":
    sys.exit(main())
