"""Makes a finished training part of the package: `python -m superres.embed RUN NAME`.

For developers: the weights go to `superres/weights/NAME-xSCALE.npz`, its card beside them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from atelier import cli
from atelier.files import refuse_existing
from atelier.nets.weights import save_embedded
from superres.network.layers import Conv2D, DepthwiseConv2D
from superres.networks import WEIGHTS, Network


@dataclasses.dataclass(frozen=True)
class EmbedArguments:
    """Copy a trained network into the package."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    name: tyro.conf.Positional[str]
    """What it is to be called, without its scale: clean, compressed, report…"""
    out: Path = WEIGHTS
    """The folder of embedded weights."""
    data_licence: str = ""
    """Of the pictures that it was trained on, for the card."""
    overwrite: bool = False
    """Replace the weights of that name."""


def embed(network: Network, name: str, folder: Path = WEIGHTS) -> Path:
    """Writes a network's weights, float16, and its card; returns the file of weights.

    Fixed-point weights of up to 11 bits are stored exactly. The network given is changed: its
    kernels become the effective ones.
    """
    for layer in network.model.layers:
        if isinstance(layer, (Conv2D, DepthwiseConv2D)):
            layer.kernel.assign(layer.effective_kernel())
    return save_embedded(network.model, f"{name}-x{network.scale}", network.card, folder)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(EmbedArguments, argv, prog="python -m superres.embed")
    network = Network.load(arguments.run)
    target = arguments.out / f"{arguments.name}-x{network.scale}.npz"
    refuse_existing(target, arguments.overwrite)
    if arguments.data_licence:
        network.card["data_licence"] = arguments.data_licence
    embed(network, arguments.name, arguments.out)
    cli.print_note(f"{target}: {target.stat().st_size:,} bytes")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
