"""How well people are found: `python -m cartoon.judge --data DIR --teachers DIR`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from atelier import cli
from atelier.errors import DataError, SettingsError
from cartoon.people import matting, person
from cartoon.people.person import PersonNetwork
from cartoon.training import data
from cartoon.training.losses import intersection_over_union
from cartoon.training.teachers import load_teachers

Segmenter = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) to how probably each pixel is a person's, float32 (H, W) in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class JudgeArguments:
    """Measure how well people are found, on photos with masks, side by side."""

    data: Path = Path("people")
    """A folder with images/ and masks/, names alike, or with folders that hold such."""
    images: Path | None = None
    """The photos' folder, where it is not images/ beside masks/."""
    teachers: Path | None = None
    """The folder with the teachers' .tflite files, to be measured beside."""
    run: Path | None = None
    """A training's run folder, instead of the embedded network."""
    all: bool = False
    """Take all photos, not just each sixth, which the training holds back."""
    json: bool = False
    """Print one JSON object on standard output."""


def mean_iou(
    segmenters: Mapping[str, Segmenter], pairs: Sequence[tuple[Path, Path]]
) -> dict[str, float]:
    """The mean over photos of the IoU of all people in it, masks cut at one half.

    Args:
        segmenters: by name.
        pairs: photos and masks, as `find_pairs` gives them; read one at a time.

    Raises:
        DataError: one of them cannot be read, or there is nobody in any of the masks.
    """
    scores, anybody = {name: [] for name in segmenters}, False
    for pair in pairs:
        photo = data.read_pair(*pair)
        anybody |= bool(photo.mask.any())
        for name, segmenter in segmenters.items():
            found = segmenter(photo.image) > 0.5
            scores[name].append(intersection_over_union(found, photo.mask > 127))
    if not anybody:
        raise DataError(f"nobody is in any of the {len(pairs)} masks")
    return {name: float(np.mean(values)) for name, values in scores.items()}


def segmenters(network: PersonNetwork, teachers: Path | None) -> dict[str, Segmenter]:
    """Our network, its mask refined as in use and as it comes; and the teachers, if there are."""
    return {
        "person": lambda image: matting.refine(network.probability(image), image),
        "person, not refined": network.probability,
        **({} if teachers is None else load_teachers(teachers, threads=2)),
    }


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(JudgeArguments, argv, prog="python -m cartoon.judge")
    pairs = data.find_pairs(arguments.data, arguments.images, on_unread=cli.print_note)
    if not arguments.all:
        _, pairs = data.split(pairs)
        if not pairs:
            raise SettingsError(f"{arguments.data} holds fewer than {data.HELD_BACK} photos: --all")
    network = PersonNetwork.load(arguments.run) if arguments.run else person.embedded()
    scores = mean_iou(segmenters(network, arguments.teachers), pairs)
    if arguments.json:
        scores = {name: round(score, 4) for name, score in scores.items()}
        cli.print_json({"photos": len(pairs), "mean_iou": scores})
        return cli.DONE
    print(f"{len(pairs)} photos\n\n| | mean IoU |\n|---|---|")
    for name, score in scores.items():
        print(f"| {name} | {score:.3f} |")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
