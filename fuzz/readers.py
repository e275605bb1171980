"""All that reads strangers' bytes, and honest bytes for each to start from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import pickle
import shlex
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import keras
import numpy as np
from PIL import Image

from atelier import cli
from atelier.checkpoints import read_checkpoint
from atelier.errors import AtelierError, SettingsError
from atelier.images import load_image
from atelier.manifest import entries
from atelier.movies import change_movie, from_rgb, to_rgb
from atelier.progress import Step
from atelier.runs import RunFolder, load_run
from atelier.search import parse_grid
from atelier.sweep import TrialResult, run_sweep
from atelier.weights import fill
from cartoon.backdrop import color_backdrop
from cartoon.run import RunArguments as CartoonArguments
from classify.networks import check_card
from classify.pickles import load_batch
from classify.run import RunArguments as ClassifyArguments
from detection.coco import read_coco
from detection.detections import Detections
from detection.formats import write_coco, write_voc
from detection.predict import own_threshold
from detection.run import RunArguments as DetectionArguments
from detection.voc import read_voc
from nst.config import StyleTransferConfig
from superres.compression import read_header
from superres.networks import config_of, formats_of
from superres.run import RunArguments as SuperresArguments

MAX_PIXELS = 1_000_000
"""Of pictures, so that none takes long for its size alone."""

LABELS, SIZE = ("person", "cat"), (8, 10)


@dataclasses.dataclass(frozen=True)
class Reader:
    """Something that parses."""

    name: str
    seeds: Callable[[], list[bytes]]
    """Gives files that it reads without complaint."""
    read: Callable[[bytes, Path], object]
    """Given a file's bytes, and a folder of its own for what has to lie on a disk. It may raise an
    `AtelierError`, and nothing else."""
    refuses: type[BaseException] = AtelierError
    """What else it may raise, where a caller is to judge that."""


# === Pictures and videos ===


def draw(height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """Colours that run into one another, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    return np.uint8(np.stack([x * 20, y * 25, x * y], axis=-1) % 256)


def pictures() -> list[bytes]:
    """A picture in each format and kind, with EXIF, colour profile and frames."""
    from PIL import ImageCms

    image, exif = Image.fromarray(draw()), Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"exif": exif, "icc_profile": profile}
    grey16 = Image.fromarray(np.arange(80, dtype=np.uint16).reshape(SIZE) * 800)
    kinds = [
        ("PNG", image, more),
        ("PNG", image.convert("LA"), {}),
        ("PNG", image.quantize(8), {"transparency": 3}),
        ("PNG", grey16, {}),
        ("PNG", image, {"save_all": True, "append_images": [image.rotate(90)]}),
        ("JPEG", image, more),
        ("JPEG", image.convert("CMYK"), {"icc_profile": profile}),
        ("JPEG", image.convert("L"), {"progressive": True}),
        ("MPO", image, {"save_all": True, "append_images": [image]}),
        ("GIF", image.quantize(8), {"save_all": True, "append_images": [image], "comment": b"x"}),
        ("WEBP", image.convert("RGBA"), more),
        ("WEBP", image, {"lossless": True, "save_all": True, "append_images": [image]}),
        ("AVIF", image, more),
        ("TIFF", image, more),
        ("TIFF", image.convert("RGBA"), {"compression": "tiff_lzw"}),
        ("TIFF", image, {"compression": "jpeg"}),
        ("TIFF", image.convert("1"), {"compression": "group4"}),
        ("TIFF", image.convert("F"), {"compression": "tiff_adobe_deflate"}),
        ("TIFF", grey16, {"save_all": True, "append_images": [image]}),
        ("BMP", image, {}),
        ("BMP", image.quantize(8), {}),
        ("PPM", image, {}),
        ("PPM", image.convert("1"), {}),
    ]
    files = []
    for kind, picture, options in kinds:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def read_picture(data: bytes, folder: Path) -> None:
    read_header(data)
    load_image(data, alpha="keep", max_pixels=MAX_PIXELS)


def movies() -> list[bytes]:
    """Some frames in the usual containers."""
    files = []
    for suffix, codec in (
        ("mp4", "libx264"),
        ("matroska", "libx264"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("mpegts", "mpeg2video"),
        ("gif", "gif"),
    ):
        file = io.BytesIO()
        with av.open(file, "w", format=suffix) as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height = 48, 32
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            for level in range(4):
                picture = np.roll(draw(32, 48), level, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        files.append(file.getvalue())
    return files


def read_movie(data: bytes, folder: Path) -> None:
    (folder / "in.mp4").write_bytes(data)
    size = []

    def change(frame: av.VideoFrame) -> av.VideoFrame:
        size.append((frame.width, frame.height))
        return from_rgb(to_rgb(frame, size[0]), frame)

    def enough(step: Step) -> bool:  # A few hundred bytes may hold a film of hours: no fault.
        return step.number > 9

    change_movie(folder / "in.mp4", folder / "out.mp4", lambda _: change, on_step=enough)


# === Annotations ===


def _found() -> Detections:
    boxes = np.array([[1, 1, 5, 6], [0, 2, 9, 7]], np.float32)
    return Detections(boxes, np.array([0.9, 0.8], np.float32), LABELS)


def voc_pages() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.xml"
        write_voc(file, "a.png", SIZE, _found())
        page = file.read_bytes()
    return [page, page.decode().encode("utf-16"), b'<?xml version="1.0"?>\n' + page]


def read_page(data: bytes, folder: Path) -> None:
    _picture_in(folder)
    (folder / "a.xml").write_bytes(data)
    read_voc(folder)


def coco_files() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.json"
        with write_coco(file, LABELS) as add:
            add("a.png", SIZE, _found())
        return [file.read_bytes()]


def read_instances(data: bytes, folder: Path) -> None:
    _picture_in(folder)
    (folder / "a.json").write_bytes(data)
    read_coco(folder / "a.json")


def _picture_in(folder: Path) -> None:
    if not (folder / "a.png").exists():
        Image.fromarray(draw()).save(folder / "a.png")


# === Weights ===


@functools.cache
def _variables() -> dict[str, keras.Variable]:
    return {"a/kernel": keras.Variable(np.zeros((3, 2))), "a/bias": keras.Variable(np.zeros(2))}


def arrays() -> list[bytes]:
    files = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **{name: np.asarray(variable) for name, variable in _variables().items()})
        files.append(file.getvalue())
    return files


def read_arrays(data: bytes, folder: Path) -> None:
    (folder / "a.npz").write_bytes(data)
    fill(_variables(), folder / "a.npz", advice="delete it")


def checkpoints() -> list[bytes]:
    """A tensor in the form of a zip archive, written as PyTorch does, and its bare pickle."""
    content = (
        b"\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00"
        b"\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpu"
        b"q\x06K\x06tq\x07QK\x00K\x02K\x03\x86q\x08K\x03K\x01\x86q\t\x89}q\ntq\x0bRq\x0cs."
    )
    return [_archive(content), content]


def _archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", content)
        archive.writestr("net/data/0", np.arange(6, dtype=np.float32).tobytes())
    return file.getvalue()


def read_pth(data: bytes, folder: Path) -> None:
    # An archive's checksums keep changes from its pickle: so what is no archive is put into one.
    archived = data if data.startswith(b"PK") else _archive(data)
    (folder / "a.pth").write_bytes(archived)
    read_checkpoint(folder / "a.pth")


def batches() -> list[bytes]:
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = {b"data": rows, b"labels": [1, 2], b"filenames": [b"a", b"b"]}
    return [pickle.dumps(content, protocol) for protocol in (0, 2, 4)]


def read_batch(data: bytes, folder: Path) -> None:
    load_batch(io.BytesIO(data))


# === Run and sweep folders ===


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a run."""

    rate: float = 0.5
    widths: tuple[int, ...] = (1, 2)


def cards() -> list[bytes]:
    own = [
        {"network": "strong", "shape": {"network": "strong", "widths": [8, 16], "depth": 2}},
        {"temperature": 1.5, "threshold": -3.0, "views": 6},
        {"shape": {"scale": 2, "widths": [4], "kernels": ["3x3"], "residuals": []}},
        {"formats": {"input": {"bits": 8, "fraction": 8}}},
        {"validation": {"classes": [{"label": "person", "best_score": 0.5}]}},
    ]
    return [json.dumps(card).encode() for card in (*own, own[0] | own[1], own[2] | own[3])]


def read_card(data: bytes, folder: Path) -> None:
    (folder / "card.json").write_bytes(data)
    for check in (check_card, lambda card: (config_of(card), formats_of(card)), own_threshold):
        try:
            load_run(folder, check)  # There is no network: that is an `AtelierError`, too.
        except AtelierError:
            continue


def run_folders() -> list[bytes]:
    config = json.dumps(dataclasses.asdict(Settings())).encode()
    return [config + b"\0epoch,loss\r\n1,0.5\r\n2,0.25\r\n", config]


def read_run(data: bytes, folder: Path) -> None:
    config, _, history = data.partition(b"\0")
    (folder / "config.json").write_bytes(config)
    (folder / "history.csv").write_bytes(history)
    RunFolder(folder, Settings()).history()


def tables() -> list[bytes]:
    return [b"trial,rate,loss,error\r\n0,0.5,0.25,\r\n1,0.25,,out of memory\r\n", b"trial,rate\r\n"]


def read_sweep(data: bytes, folder: Path) -> None:
    (folder / "trials.csv").write_bytes(data)
    picture = TrialResult(draw(), {"loss": 1.0})
    run_sweep(Settings(), [{"rate": 0.5}, {"rate": 0.25}], lambda *_: picture, folder)


def manifests() -> list[bytes]:
    done = {"input": "a.png", "output": "out/a.png", "status": "done", "seconds": 1.5}
    failed = {"input": "b.png", "status": "failed", "error": "b.png: the file is empty"}
    return [b"".join(json.dumps(line).encode() + b"\n" for line in (done, failed))]


def read_manifest(data: bytes, folder: Path) -> None:
    (folder / "manifest.jsonl").write_bytes(data)
    for _ in entries(folder / "manifest.jsonl"):
        pass


def lists() -> list[bytes]:
    return [b"a.png\nsub/b.jpg\n", "é.png\r\n".encode()]


def read_list(data: bytes, folder: Path) -> None:
    (folder / "list.txt").write_bytes(data)
    cli.find_inputs([folder / "list.txt"])


# === Settings ===

COMMANDS = (CartoonArguments, ClassifyArguments, DetectionArguments, SuperresArguments)


def command_lines() -> list[bytes]:
    lines = ["a.png --out x --json", "--scale 3 --tile 64", "--alpha 0.1 --no-refine"]
    lines += ["--network strong --top 3", "--threshold 0.5 --classes person", "size=1,2 seed=3"]
    return [line.encode() for line in lines]


def read_command_line(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    words = [word for word in words if word not in ("-h", "--help", "--helpfull")]
    for arguments in COMMANDS:
        _try(cli.parse, arguments, words)
    _try(parse_grid, words, StyleTransferConfig())
    _try(color_backdrop, text)


def _try(function: Callable, *arguments: object) -> None:
    with contextlib.suppress(SettingsError):
        function(*arguments)


READERS = {
    reader.name: reader
    for reader in (
        Reader("pictures", pictures, read_picture),
        Reader("videos", movies, read_movie, KeyboardInterrupt),
        Reader("voc", voc_pages, read_page),
        Reader("coco", coco_files, read_instances),
        Reader("weights", arrays, read_arrays),
        Reader("checkpoints", checkpoints, read_pth),
        Reader("batches", batches, read_batch, Exception),
        Reader("cards", cards, read_card),
        Reader("runs", run_folders, read_run),
        Reader("sweeps", tables, read_sweep),
        Reader("manifests", manifests, read_manifest),
        Reader("lists", lists, read_list),
        Reader("settings", command_lines, read_command_line),
    )
}
