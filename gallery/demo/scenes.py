"""What the demo shows of each task: scikit-image's pictures, before and after."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np

import cartoon
import classify
import detection
import nst
import superres
from atelier import cli
from atelier.errors import SettingsError
from atelier.media.images import ImageSource, fit_size, load_image, resize, sample
from atelier.progress import OnStep, Step
from detection.draw import draw
from detection.predict import load_detector, own_threshold
from nst.styles import open_style
from superres import work
from superres.color import luma
from superres.compare import busiest_window, interpolated, magnified
from superres.metrics import psnr

PAINTED = (
    ("coffee.png", "impasto"),
    ("astronaut.png", "stained_glass"),
    ("chelsea.png", "mosaic"),
)
HALVED = (("astronaut.png", 75), ("coffee.png", None))
"""Photos, and the JPEG quality at which they are kept once halved; None for PNG."""

CLASSIFIED = ("chelsea.png", "motorcycle_left.png", "rocket.jpg", "coffee.png")
SEARCHED = ("astronaut.png", "camera.png", "motorcycle_left.png")

NAMED = 4
"""Bars below a picture, at most."""

OVERLAY = 320
"""Longer side of Grad-CAM's pictures, pixels, as `classify.run` writes them."""

ZOOM = 4
"""Pixels a side at which a detail's pixels are shown."""


@dataclasses.dataclass(frozen=True)
class SceneConfig:
    """What of the scenes takes time."""

    size: int = 384
    """Longer side of the pictures that are repainted, pixels."""
    iterations: int = 60
    """Steps of style transfer at that size; each coarser level takes half as many again."""

    def __post_init__(self):
        if self.size < 32:
            raise SettingsError(f"--size must be at least 32, not {self.size}")
        if self.iterations < 1:
            raise SettingsError(f"--iterations must be 1 or more, not {self.iterations}")


@dataclasses.dataclass(frozen=True)
class Photo:
    """A picture that a scene starts from."""

    name: str
    """Of its file beside the page, in the folder photos."""
    data: bytes
    """The file."""

    @classmethod
    def of(cls, name: str) -> Photo:
        """One that comes with scikit-image."""
        return cls(name, sample(name).read_bytes())

    @property
    def stem(self) -> str:
        """Of the file, by which a command names its results."""
        return self.name.rpartition(".")[0]

    @property
    def title(self) -> str:
        """What to call it: "astronaut.png" is Astronaut."""
        return self.name.partition(".")[0].partition("_")[0].capitalize()


@dataclasses.dataclass(frozen=True)
class Side:
    """One of an exhibit's two pictures."""

    image: np.ndarray
    """uint8 (H, W, 3 or 4); both sides have one size."""
    label: str
    """What it is, in a word or two."""
    alt: str
    """The same for those who do not see it, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """One result on show."""

    title: str
    photo: Photo
    """What it was made from."""
    result: np.ndarray
    """What the task's own command would write."""
    file: str
    """Where to, beside the page."""
    before: Side
    after: Side
    settings: tuple[str, ...]
    """In words."""
    command: str
    """That makes the same, typed in the page's folder."""
    seconds: float
    """That it took."""
    found: str = ""
    """The result in words, where there is more to say than the picture does."""
    bars: tuple[tuple[str, float], ...] = ()
    """Names and probabilities."""
    inset: Side | None = None
    """Another picture that belongs to it."""
    start: int = 50
    """Where the line between the two stands at first, percent of the width."""
    detail: bool = False
    """Whether it shows single pixels, which must stay sharp."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """One task on show."""

    name: str
    """Of its package."""
    title: str
    text: str
    """What it does."""
    play: Callable[[SceneConfig, OnStep], Iterator[Exhibit]]
    """Makes its exhibits one by one, and tells of steps; whoever asks for an end in `on_step` gets
    the one that is under way as it is."""
    face: int = 0
    """The exhibit that stands for the task."""


# === The five ===


def style_transfer(config: SceneConfig, on_step: OnStep) -> Iterator[Exhibit]:
    """Photos repainted in the styles of the project's own paintings."""
    settings = nst.StyleTransferConfig(size=config.size, iterations=config.iterations)
    flags = "".join(f"{flag} " for flag in cli.as_flags(settings).split())
    for number, (name, style) in enumerate(PAINTED):
        photo = Photo.of(name)

        def tell(step: Step, number: int = number) -> bool | None:
            done, total = number * step.total + step.number, len(PAINTED) * step.total
            return on_step(dataclasses.replace(step, number=done, total=total))

        result = nst.stylize(photo.data, style, settings, on_step=tell)
        before = resize(load_image(photo.data), result.image.shape[:2])
        painting, words = open_style(style), style.replace("_", " ")
        yield Exhibit(
            title=f"{photo.title}, {words}",
            photo=photo,
            result=result.image,
            file=f"nst/{photo.stem}.png",
            before=Side(before, "photo", f"{photo.title}, the photo"),
            after=Side(result.image, words, f"The same picture in the style of {words}"),
            settings=(f"{config.size} pixels", f"{len(result.history)} steps", result.features),
            command=f"python -m nst.run photos/{photo.name} {style} {flags}--out nst",
            seconds=result.seconds,
            inset=Side(
                resize(painting, fit_size(painting.shape, 128)),
                "the painting",
                f"The painting {words}, which gave the style",
            ),
        )


def cartoons(config: SceneConfig, on_step: OnStep) -> Iterator[Exhibit]:
    """The astronaut: cut out, and drawn in both presets."""
    photo = Photo.of("astronaut.png")
    before = Side(load_image(photo.data), "photo", "Astronaut, the photo")
    ways = (
        ("Cut out", "cut-out", "-cut-out", "--no-draw --background transparent"),
        ("Drawn as the report does", "report", "-report", "--preset report"),
        ("Drawn with a calmer hand", "fine", "", "--preset fine"),
    )
    for number, (title, way, ending, flags) in enumerate(ways, 1):
        if way == "cut-out":
            result, seconds = _timed(lambda: cartoon.cut_out(photo.data))
        else:
            result, seconds = _timed(lambda way=way: cartoon.portray(photo.data, way))
        drawn = f"The same picture as a cartoon, preset {way}"
        alt = "The astronaut without her background" if way == "cut-out" else drawn
        file = f"cartoon/astronaut{ending}.png"
        yield Exhibit(
            title=title,
            photo=photo,
            result=result.image,
            file=file,
            before=before,
            after=Side(result.image, way, alt),
            settings=("transparent" if way == "cut-out" else f"preset {way}", "segmenter person"),
            command=f"python -m cartoon.run photos/{photo.name} {flags} --out {file}",
            seconds=seconds,
            found="" if result.found else "Nobody found.",
        )
        on_step(Step(number, len(ways), {}))


def super_resolution(config: SceneConfig, on_step: OnStep) -> Iterator[Exhibit]:
    """Halved photos doubled again, beside bicubic interpolation where the two differ most."""
    for number, (name, quality) in enumerate(HALVED, 1):
        truth = load_image(sample(name))
        photo = halved(name, truth, quality)
        small = load_image(photo.data)
        result, seconds = _timed(lambda photo=photo: superres.upscale(photo.data))
        bicubic = interpolated(small, result.image.shape[:2])
        top, left, height, width = (2 * side for side in busiest_window(small, result.image))
        scores = [psnr(luma(image), luma(truth), 2) for image in (bicubic, result.image)]
        part = np.s_[top : top + height, left : left + width]
        kept = "clean" if quality is None else f"JPEG of quality {quality}"
        yield Exhibit(
            title=f"{photo.title}, {kept}",
            photo=photo,
            result=result.image,
            file=f"superres/{photo.stem}.png",
            before=Side(
                magnified(bicubic[part], ZOOM), "bicubic", f"A detail of {name}, interpolated, soft"
            ),
            after=Side(
                magnified(result.image[part], ZOOM),
                "superres",
                "The same detail by the network, sharper",
            ),
            settings=("twice the size", f"network {result.model}: {result.reason}"),
            command=f"python -m superres.run photos/{photo.name} --out superres",
            seconds=seconds,
            found=f"{scores[1]:.1f} dB against the original; bicubic {scores[0]:.1f} dB. "
            f"A detail at {100 * ZOOM} %.",
            inset=Side(small, "as given", f"{photo.title}, the small picture, as it was given"),
            detail=True,
        )
        on_step(Step(number, len(HALVED), {}))


def classification(config: SceneConfig, on_step: OnStep) -> Iterator[Exhibit]:
    """Photos with what they are taken for, and where the network sees it."""
    for number, name in enumerate(CLASSIFIED, 1):
        photo = Photo.of(name)
        image = load_image(photo.data)
        (result, heat), seconds = _timed(lambda image=image: _named_and_seen(image))
        shown = resize(image, fit_size(image.shape, OVERLAY))
        overlay = classify.overlay(shown, heat)
        first = result.labels[0]
        yield Exhibit(
            title=f"{photo.title}: {result.label}",
            photo=photo,
            result=overlay,
            file=f"classify/{photo.stem}.gradcam.png",
            before=Side(shown, "photo", f"{photo.title}, the photo"),
            after=Side(overlay, f"{first}?", f"The same, bright where it speaks for {first}"),
            settings=(f"network {result.model}", "six views"),
            command=f"python -m classify.run photos/{name} --gradcam --sheet 0 --out classify",
            seconds=seconds,
            found="" if result.known else f"Too unlike what it knows. Nearest: {first}.",
            bars=tuple(zip(result.labels, map(float, result.probabilities), strict=True))[:NAMED],
        )
        on_step(Step(number, len(CLASSIFIED), {}))


def detections(config: SceneConfig, on_step: OnStep) -> Iterator[Exhibit]:
    """Objects found in photos."""
    settings = detection.DetectConfig()
    detector = load_detector(settings)
    for number, name in enumerate(SEARCHED, 1):
        photo = Photo.of(name)
        image = load_image(photo.data)
        objects, seconds = _timed(lambda image=image: detection.detect(image, config=settings))
        drawn = draw(image, objects, classes=detector.classes)
        counts = collections.Counter(objects.labels)
        found = ", ".join(f"{count} {label}" for label, count in counts.most_common())
        yield Exhibit(
            title=photo.title,
            photo=photo,
            result=drawn,
            file=f"detection/{photo.stem}.png",
            before=Side(image, "photo", f"{photo.title}, the photo"),
            after=Side(drawn, "found", f"The same with boxes around {found or 'nothing'}"),
            settings=(f"model {settings.model}", f"threshold {own_threshold(detector.card):g}"),
            command=f"python -m detection.run photos/{name} --out detection",
            seconds=seconds,
            found=f"Found: {found}." if found else "Nothing found.",
            bars=tuple(zip(objects.labels, map(float, objects.scores), strict=True))[:NAMED],
            start=12,
        )
        on_step(Step(number, len(SEARCHED), {}))


SCENES = (
    Scene(
        "nst",
        "Style transfer",
        "A photo is repainted by descending on its own pixels until a network’s features have the "
        "photo’s content and the painting’s texture. The paintings are drawn by a program of the "
        "project.",
        style_transfer,
        face=1,
    ),
    Scene(
        "cartoon",
        "Cartoon",
        "A person is cut out, down to the hair, and drawn: as the report has it, by clustering "
        "the levels of its histograms, or with calmer areas and even outlines.",
        cartoons,
        face=2,
    ),
    Scene(
        "superres",
        "Super-resolution",
        "Photos were halved, one of them also compressed, and are doubled again by 2,560 weights "
        "of ten bits. Each single pixel is shown enlarged, beside bicubic interpolation.",
        super_resolution,
    ),
    Scene(
        "classify",
        "Classification",
        "One of CIFAR-10’s ten classes, or none of them, from 32×32 pixels; and, by Grad-CAM, "
        "where in the picture the network sees what it names first.",
        classification,
    ),
    Scene(
        "detection",
        "Detection",
        "Faster R-CNN proposes regions, then says what is in each, where exactly, and how sure it "
        "is. A photo without what it looks for should stay empty.",
        detections,
        face=1,
    ),
)
"""In the order of the page."""


def halved(name: str, photo: np.ndarray, quality: int | None) -> Photo:
    """A photo at half its size, as a JPEG file of a quality, or as PNG."""
    suffix = "png" if quality is None else "jpg"
    return Photo(f"{name.partition('.')[0]}.half.{suffix}", work.halved(photo, quality))


def _named_and_seen(image: ImageSource) -> tuple[classify.Classification, np.ndarray]:
    result = classify.classify(image)
    return result, classify.grad_cam(classify.prepare(image), label=result.labels[0])


def _timed(work: Callable):
    """What `work` returns, and the seconds that it took."""
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin
