"""Networks for other runtimes: `python -m classify.export strong --format onnx --out FOLDER`.

Each file is run on pictures that its making did not see, and compared with the Keras network: on
CIFAR-10's test pictures with `--data DIR`, else on pieces of pictures that come with scikit-image.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from atelier import cli
from atelier.cli.failures import for_each
from atelier.errors import SettingsError, require_extras
from atelier.export.runtimes import exported_path, open_litert, open_onnx
from atelier.files import refuse_existing, write_json
from classify import calibration
from classify.data import load_cifar10, to_float
from classify.export.litert import patches, to_litert
from classify.export.onnx_graph import to_onnx
from classify.networks import Network, load

__all__ = ["Fidelity", "compare", "main", "run_file", "to_litert", "to_onnx"]

HELD_OUT = ("camera.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg")
"""Pictures of scikit-image's on which exported networks are compared, where there is no CIFAR-10:
other ones than those by which int8 is calibrated."""

CALIBRATION = 500
"""Training pictures by which int8 is calibrated, where there is CIFAR-10: the first ones."""

BATCH = 50
"""Pictures at once through an exported network."""


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How near an exported network is to the Keras one."""

    pictures: int
    """How many were compared."""
    agreement: float
    """The part of them for which both name the same class first."""
    difference: float
    """Of any probability, the largest."""
    accuracy: float | None = None
    """Of the exported network; None without labels."""
    accuracy_keras: float | None = None
    """Of the Keras network, on the same one view."""
    loss: float | None = None
    """How much less accurate the exported network is, in points of a hundred."""


def run_file(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """What an exported file makes of pictures, as a program without this package would run it.

    Args:
        path: a .tflite or .onnx file.
        images: uint8 (N, 32, 32, 3).

    Returns:
        By name: `probabilities`, float32 (N, 10), and of a network with a threshold `energy`,
        float32 (N,).

    Raises:
        SettingsError: its runtime is missing.
    """
    forward = (_onnx if path.suffix == ".onnx" else _litert)(path)
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    found = [forward(to_float(part)) for part in parts]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _litert(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    run = open_litert(path).get_signature_runner()
    return lambda images: run(image=images)


def _onnx(path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    session = open_onnx(path)
    names = [output.name for output in session.get_outputs()]

    def run(images):
        results = session.run(names, {"image": images.transpose(0, 3, 1, 2)})
        return dict(zip(names, results, strict=True))

    return run


def keras_probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    """What the exported files should give: of one view, float32 (N, 10)."""
    return calibration.probabilities(network.logits(images, views=1), network.temperature_of(1))


def compare(
    path: Path, images: np.ndarray, expected: np.ndarray, labels: np.ndarray | None = None
) -> Fidelity:
    """Measures an exported file.

    Args:
        path: the file.
        images: uint8 (N, 32, 32, 3).
        expected: `keras_probabilities` of them.
        labels: (N,), if they are known.

    Raises:
        SettingsError: the file's runtime is missing.
    """
    ours = run_file(path, images)["probabilities"]
    chosen, chosen_keras = ours.argmax(axis=1), expected.argmax(axis=1)
    fidelity = Fidelity(
        pictures=len(images),
        agreement=float((chosen == chosen_keras).mean()),
        difference=float(np.abs(ours - expected).max()),
    )
    if labels is None:
        return fidelity
    accuracy, keras = (float((classes == labels).mean()) for classes in (chosen, chosen_keras))
    return dataclasses.replace(
        fidelity, accuracy=accuracy, accuracy_keras=keras, loss=100 * (keras - accuracy)
    )


# === The command ===

Format = Literal["litert-float32", "litert-float16", "litert-int8", "onnx"]


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Write a trained network for LiteRT or ONNX, and measure what was written.

    Files take RGB pictures of 32×32 pixels in [0, 1], as float32, and give the probabilities of
    the ten classes, of one view, and the energy. A JSON file beside each has the labels, and the
    threshold: a picture whose energy is below it is none of the ten.
    """

    network: tyro.conf.Positional[str] = "strong"
    """An embedded network, or a run folder."""
    format: tuple[Format, ...] = ("litert-float16", "litert-int8")
    """Which forms to write. `onnx` takes the packages of the extra `export`."""
    out: Path = Path("out/classify")
    """The folder to write to."""
    data: Path | None = None
    """The folder of CIFAR-10: int8 is calibrated on the first 500 training pictures, and what was
    written is measured on the test pictures. Left out, pictures that come with scikit-image serve
    for both, other ones for each."""
    check: bool = True
    """Compare what was written with the Keras network."""
    overwrite: bool = False
    """Replace existing results."""
    json: bool = False
    """Print one JSON object a result on standard output."""

    def __post_init__(self):
        if not self.format:
            raise SettingsError("--format needs at least one form to write")


def _report(record: dict, arguments: ExportArguments) -> None:
    numbers = {k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()}
    if arguments.json:
        cli.print_json({k: v for k, v in numbers.items() if v is not None})
    text = f"{record['output']}: {record['bytes']:,} bytes"
    if "agreement" in record:
        text += (
            f", the same class as Keras for {record['agreement']:.2%} of {record['pictures']} "
            f"pictures, probabilities at most {record['difference']:.2g} apart"
        )
        if record["accuracy"] is not None:
            text += f", accuracy {record['accuracy']:.2%}, Keras {record['accuracy_keras']:.2%}"
    cli.print_note(text)


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(ExportArguments, argv, prog="python -m classify.export")
    if "onnx" in arguments.format:
        runtime = [("onnxruntime", "export")] if arguments.check else []
        require_extras([("onnx", "export"), *runtime])
    network = load(arguments.network)
    data = None if arguments.data is None else load_cifar10(arguments.data)
    images = patches(HELD_OUT) if data is None else data.test.images
    # Once for all forms, and not at all if none needs it.
    expected = functools.cache(lambda: keras_probabilities(network, images))

    def work(format: Format) -> None:
        path = exported_path(arguments.out, arguments.network, format)
        for file in (path, path.with_suffix(".json")):
            refuse_existing(file, arguments.overwrite)
        if format == "onnx":
            to_onnx(network, path, overwrite=arguments.overwrite)
        else:
            to_litert(
                network,
                path,
                format.removeprefix("litert-"),
                calibration=None if data is None else data.train.images[:CALIBRATION],
                overwrite=arguments.overwrite,
            )
        write_json(path.with_suffix(".json"), {"file": path.name, **network.facts(1)})
        measured = {"bytes": path.stat().st_size}
        if arguments.check:
            labels = None if data is None else data.test.labels
            measured |= dataclasses.asdict(compare(path, images, expected(), labels))
        record = {"network": arguments.network, "format": format, "output": path, **measured}
        _report(record, arguments)

    return for_each(
        ((format, functools.partial(work, format)) for format in dict.fromkeys(arguments.format)),
        out=arguments.out,
    )
