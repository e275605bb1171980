"""Judges a distilled network by use, and embeds it: `python -m nst.judge RUN --teacher FILE …`.

A feature network is good if pictures that are optimised under it are good to its teacher. So for
each pair of photo and painting one picture is optimised under the student and one under the
teacher, with the same settings and steps, and both get the teacher's own loss.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import tyro

from atelier import cli
from atelier.errors import SettingsError, WeightsError
from atelier.nets import weights as stored
from atelier.nets.vgg import VGG
from nst.config import StyleTransferConfig
from nst.distillation.teacher import load_teacher
from nst.evaluate import evaluate
from nst.transfer import stylize

SCALES = {
    "block1_conv1": 100.0,
    "block2_conv1": 100.0,
    "block3_conv1": 100.0,
    "block4_conv1": 100.0,
    "block5_conv1": 30.0,
    "block5_conv2": 10.0,
}
"""What each projection is multiplied by before it is embedded. The small teacher's features are
normalised to a mean of 1, VGG19's own are larger, most of all in the lower blocks. Without scaling
the report's weights, 1000 for content and 0.01 for style, would leave the photo as it is."""


@dataclasses.dataclass(frozen=True)
class JudgeArguments:
    """Compare a distilled network with its teacher, write the table, and embed the network."""

    run: tyro.conf.Positional[Path]
    """The run folder of `python -m nst.train`."""
    teacher: str
    """The teacher, as for `python -m nst.train`."""
    contents: tuple[str, ...]
    """Photos that training never saw."""
    styles: tuple[str, ...]
    """As many paintings; each photo is taken with the painting in the same place."""
    size: int = 320
    """Longer side of the pictures."""
    licence: str = ""
    """Licences of the data that it was trained on, for the card."""
    embed: bool = False
    """Also write the network into the package, with its card."""


def compare(
    student, teacher, pairs: Sequence[tuple[str, str]], config: StyleTransferConfig
) -> list[dict[str, object]]:
    """The teacher's losses of pictures optimised under the student and under the teacher.

    Returns:
        For each pair a row: content, style, student_loss, teacher_loss, ratio of the two,
        student_seconds, teacher_seconds.
    """
    rows = []
    for content, style in pairs:
        losses, seconds = {}, {}
        for name, network in (("student", student), ("teacher", teacher)):
            result = stylize(content, style, config, network=network)
            loss = evaluate(result.image, content, style, config, network=teacher)
            losses[name], seconds[name] = loss.total, result.seconds
        rows.append(
            {
                "content": Path(content).name,
                "style": Path(style).name,
                "student_loss": round(losses["student"], 4),
                "teacher_loss": round(losses["teacher"], 4),
                "ratio": round(losses["student"] / losses["teacher"], 4),
                "student_seconds": round(seconds["student"], 1),
                "teacher_seconds": round(seconds["teacher"], 1),
            }
        )
    return rows


def scale_projections(network: VGG, scales: dict[str, float]) -> None:
    """Multiplies the outputs of projections, which nothing else in the network sees."""
    for name, scale in scales.items():
        layer = network.get_layer(name)
        layer.set_weights([weight * scale for weight in layer.get_weights()])


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(JudgeArguments, argv, prog="python -m nst.judge")
    if len(arguments.contents) != len(arguments.styles):
        raise SettingsError("--contents and --styles must be equally many")
    try:
        student = keras.saving.load_model(arguments.run / "model.keras", compile=False)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{arguments.run}: no finished run ({error})") from None
    teacher, _ = load_teacher(arguments.teacher)
    # Normalised losses do not depend on the scale, so it can be judged as it will be embedded.
    scale_projections(student, SCALES)
    config = StyleTransferConfig(size=arguments.size, precision="float32")
    pairs = list(zip(arguments.contents, arguments.styles, strict=True))
    rows = compare(student, teacher, pairs, config)
    for row in rows:
        cli.print_json(row)
    if arguments.embed:
        card = json.loads((arguments.run / "card.json").read_text(encoding="utf-8"))
        card["data_licence"] = arguments.licence
        card["use"] = {"size": arguments.size, "steps": config.iterations, "pairs": rows}
        cli.print_note(str(stored.save_embedded(student, "vgg19_lite", card)))
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
