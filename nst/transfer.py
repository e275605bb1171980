"""Style transfer of one picture: the public function, and the way from coarse to fine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from atelier.errors import ImageError, SettingsError
from atelier.media.formats.metadata import NOTHING, Metadata
from atelier.media.images import ImageSource, fit_size, load_image, load_picture, resize
from atelier.nets.features import load_features
from atelier.nets.precision import Choice, choose
from atelier.nets.vgg import UnknownLayerError, deprocess, preprocess
from atelier.progress import OnStep, Step
from nst import color
from nst.config import StyleTransferConfig
from nst.descent.objective import Loss, Objective
from nst.descent.optimizers import descend
from nst.styles import open_style

SHORTEST = 32
"""Pictures must be this large: at 16 pixels the deepest maps have a single position."""


@dataclasses.dataclass(frozen=True)
class Stylization:
    """A photo repainted."""

    image: np.ndarray
    """uint8 (H, W, 3), or (H, W, 4) where the content had transparency."""
    loss: Loss
    """Of the picture, at the last level of the pyramid."""
    history: tuple[dict[str, float], ...]
    """A row a step: step, height, width, loss, content, style, variation."""
    seconds: float
    """From loading the pictures to the end."""
    features: str
    """The feature network that was used."""
    precision: str = "float32"
    """Of its arithmetic: float32 or bfloat16."""
    precision_reason: str = "as asked"
    """Why: as asked, by the times that were measured, or as the network given has it."""
    metadata: Metadata = NOTHING
    """What the picture's file says beside its pixels, for `atelier.media.images.save_image`."""


def stylize(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    config: StyleTransferConfig | None = None,
    *,
    on_step: OnStep | None = None,
    network: keras.Model | None = None,
) -> Stylization:
    """Repaints a photo in the style of one or several paintings.

    Args:
        content: the photo: a path, bytes, a PIL image or a uint8 array.
        style: a painting, likewise, or the name of one of `nst.styles.names()`; or several.
        config: the settings; the preset `fast` when left out.
        on_step: called after each step of the optimiser; may end the run.
        network: a feature network to use instead of the one that the settings name.

    Raises:
        ImageError: a picture cannot be read, or is too small or too large.
        SettingsError: settings that do not fit together or to the pictures.
        WeightsError: the feature network's weights are missing.

    Example:
        >>> import nst
        >>> result = nst.stylize("photo.jpg", "impasto", nst.StyleTransferConfig(size=384))
        >>> result.image.shape
        (256, 384, 3)
    """
    start = time.perf_counter()
    config = config or StyleTransferConfig()
    paint = Pictures(content, style, config)
    if network is None:
        choice = choose(config.precision)
        network = load_features(
            config.features,
            pooling=config.pooling,
            precision=choice.precision,
            vgg19_weights=config.vgg19_weights,
        )
    else:
        policy = getattr(network, "policy", None)
        choice = Choice(policy.compute_dtype if policy else "float32", "that of the network given")
    with _trainable(network, config.trainable):
        result = _optimize(paint, network, config, start, on_step)
    return dataclasses.replace(result, precision=choice.precision, precision_reason=choice.reason)


@contextlib.contextmanager
def _trainable(network, trainable: bool) -> Iterator[None]:
    """Marks the network's weights for a while: it may be the caller's, and need not be Keras'."""
    before = getattr(network, "trainable", trainable)
    network.trainable = trainable
    try:
        yield
    finally:
        network.trainable = before


def _optimize(
    paint: Pictures, network, config: StyleTransferConfig, start: float, on_step: OnStep | None
) -> Stylization:
    try:
        objective = Objective(network, config)
    except UnknownLayerError as error:
        raise SettingsError(f"{config.features}: {error}") from None
    sizes = paint.levels()
    plan = [config.iterations * (1 if size == sizes[-1] else 1.5) for size in sizes]
    total, history, image, best = int(sum(map(math.ceil, plan))), [], None, None
    stop = False
    for size, steps in zip(sizes, map(math.ceil, plan), strict=True):
        best = None
        for current, loss in _descend(objective, paint, size, image, steps):
            if best is None or loss.total < best[1].total:
                best = current, loss
            if not steps:
                continue  # The start itself is no step.
            height, width = size
            row = {"step": len(history) + 1, "height": height, "width": width}
            history.append({**row, "loss": loss.total, **dataclasses.asdict(loss)})
            if on_step is not None:
                picture = functools.partial(paint.finish, current, size)
                stop = bool(on_step(Step(len(history), total, history[-1], picture)))
                if stop:
                    break
        image = best[0]
        if stop:
            break
    return Stylization(
        image=paint.finish(image, size, paint.size),
        loss=best[1],
        history=tuple(history),
        seconds=time.perf_counter() - start,
        features=config.features,
        metadata=paint.metadata,
    )


def _descend(
    objective: Objective, pictures: Pictures, size, image: np.ndarray | None, steps: int
) -> Iterator[tuple[np.ndarray, Loss]]:
    """The images of one level on their way down, each with its loss; at least one.

    Every `shift_every` steps the image is moved against the network by some pixels. The gradient of
    max pooling falls on single pixels of its 2 × 2 cells, which weaves a pattern into an image that
    always lies on the same grid. The optimizer starts anew after each move: Adam without its
    moments, L-BFGS without its history.
    """
    config = pictures.config
    low, high = preprocess(np.zeros(3)), preprocess(np.full(3, 255))
    canvas, styles, masks = pictures.at(size)
    image = pictures.start(canvas, styles) if image is None else _upscale(image, canvas.shape)
    image = np.clip(image, low, high)
    targets = objective.targets(canvas, styles, pictures.weights, masks)
    rng, stepped = np.random.default_rng(config.seed), False
    furthest = min(config.margin, 15)
    stretch = config.shift_every if config.shift_every and furthest else max(1, steps)
    for first in range(0, steps, stretch):
        shift = rng.integers(0, furthest, 2, endpoint=True) if first else np.zeros(2, int)
        moved = targets
        if np.any(shift):
            regions = None if masks is None else _roll(masks[None], shift)[0]
            moved = objective.moved(targets, _roll(canvas, shift), regions)
        losses: list[Loss] = []

        def function(image, targets=moved, losses=losses):
            loss, gradient = objective.value_and_gradient(image, targets)
            losses.append(loss)
            return loss.total, gradient

        descent = descend(config, function, _roll(image, shift), low, high)
        for rolled, _ in itertools.islice(descent, min(stretch, steps - first)):
            image, stepped = _roll(rolled, -shift), True
            yield image, _finite(losses[-1])
    if not stepped:  # No steps were asked for, or the start cannot be improved.
        yield image, _finite(objective.value_and_gradient(image, targets)[0])


def _finite(loss: Loss) -> Loss:
    if not math.isfinite(loss.total):
        raise SettingsError("the loss is no longer a number: lower the weights or learning rate")
    return loss


def output_size(content: np.ndarray, config: StyleTransferConfig) -> tuple[int, int]:
    """The (height, width) of the result for a content picture (H, W, ...).

    Raises:
        ImageError: it would be too small.
    """
    height, width = fit_size(content.shape, config.size or max(content.shape[:2]))
    if min(height, width) < SHORTEST or min(content.shape[:2]) < SHORTEST // 2:
        raise ImageError(
            f"a picture of {content.shape[1]}×{content.shape[0]} pixels is too small to stylize at "
            f"{width}×{height}: the shorter sides must be at least {SHORTEST // 2} and {SHORTEST}"
        )
    return height, width


class Pictures:
    """The pictures of one run, at every size that it needs."""

    def __init__(self, content, style, config: StyleTransferConfig):
        self.config = config
        several = isinstance(style, Sequence) and not isinstance(
            style, (str, bytes, bytearray, memoryview)
        )
        styles = style if several else [style]
        if not styles:
            raise SettingsError("no style: give at least one painting")
        picture = load_picture(content, alpha="keep")
        loaded, self.metadata = picture.image, picture.metadata
        self.content = load_image(loaded)
        self.alpha = loaded[..., 3] if loaded.shape[2] == 4 else None
        self.styles = [open_style(style) for style in styles]
        self.weights = _weights(config, len(styles))
        self.masks = [load_image(mask)[..., 0] for mask in config.style_masks]
        if self.masks and len(self.masks) != len(styles):
            raise SettingsError(f"{len(styles)} styles need as many masks, not {len(self.masks)}")
        self.size = output_size(self.content, config)
        if config.preserve_color == "luminance":
            grey = color.luminance(self.content)
            self.colors, self.content = self.content, grey
            self.styles = [color.match_luminance(color.luminance(s), grey) for s in self.styles]
        elif config.preserve_color == "histogram":
            self.styles = [color.match_colors(style, self.content) for style in self.styles]

    def levels(self) -> list[tuple[int, int]]:
        """The (height, width) of each level of the pyramid, coarse to fine, at most doubling."""
        longest, coarsest = max(self.size), self.config.coarsest
        # Even the coarsest level must be large enough for the network.
        coarsest = max(coarsest, math.ceil(SHORTEST * longest / min(self.size)))
        if not self.config.coarsest or longest <= coarsest:
            return [self.size]
        doublings = math.ceil(math.log2(longest / coarsest))
        ratio = (longest / coarsest) ** (1 / doublings)
        sides = [round(coarsest * ratio**level) for level in range(doublings)]
        return [*(fit_size(self.size, side) for side in sides), self.size]

    def at(self, size):
        """Content, styles and masks for one level, preprocessed, the content with its margin."""
        canvas = preprocess(_pad(resize(self.content, size), self._margins(size)))[None]
        longest = max(size) * self.config.style_scale
        styles = []
        for style in self.styles:
            height, width = fit_size(style.shape, round(longest))
            shape = max(height, SHORTEST), max(width, SHORTEST)
            styles.append(preprocess(resize(style, shape))[None])
        if not self.masks:
            return canvas, styles, None
        masks = np.stack([resize(mask, size) for mask in self.masks], axis=-1)
        return canvas, styles, _pad(masks, self._margins(size)).astype(np.float32) / 255

    def start(self, canvas, styles) -> np.ndarray:
        """The image to start from, (1, H, W, 3)."""
        if self.config.init == "noise":
            rng = np.random.default_rng(self.config.seed)
            return preprocess(rng.uniform(0, 255, canvas.shape))
        if self.config.init == "style":
            return preprocess(resize(deprocess(styles[0][0]), canvas.shape[1:3]))[None]
        return canvas

    def finish(self, image, size, full=None) -> np.ndarray:
        """The picture that an optimised image shows, at its own size or at `full`."""
        (top, _), (left, _) = self._margins(size)
        picture = deprocess(image[0, top : top + size[0], left : left + size[1]])
        if full is not None:
            picture = resize(picture, full)
        shape = picture.shape[:2]
        if self.config.preserve_color == "luminance":
            picture = color.with_colors_of(picture, resize(self.colors, shape))
        if self.alpha is not None:
            picture = np.dstack([picture, resize(self.alpha, shape)])
        return picture

    def _margins(self, size):
        """What is added around a picture: the margin, and up to whole cells of the deepest map."""
        margin = self.config.margin
        if not margin:
            return (0, 0), (0, 0)
        return tuple((margin, margin + -(side + 2 * margin) % 16) for side in size)


def _weights(config, count: int) -> list[float]:
    weights = config.style_weights or (1.0,) * count
    if len(weights) != count:
        raise SettingsError(f"{count} styles need as many --style-weights, not {len(weights)}")
    return [weight / sum(weights) for weight in weights]


def _pad(image: np.ndarray, margins) -> np.ndarray:
    return np.pad(image, (*margins, *[(0, 0)] * (image.ndim - 2)), mode="symmetric")


def _roll(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Moves (1, H, W, C) down and right; what leaves is margin, and comes in on the other side."""
    return np.roll(image, shift, axis=(1, 2)) if np.any(shift) else image


def _upscale(image: np.ndarray, shape) -> np.ndarray:
    return resize(image[0], shape[1:3])[None]
