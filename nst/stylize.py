"""Style transfer of one picture: the public function, and the way from coarse to fine."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from atelier.errors import SettingsError
from atelier.features import load_features
from atelier.images import ImageSource, fit_size, load_image, resize
from atelier.progress import OnStep, Step
from atelier.vgg import deprocess, preprocess
from nst import color
from nst.config import StyleTransferConfig
from nst.objective import Loss, Objective
from nst.optimizers import descend
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


def stylize(
    content: ImageSource,
    style: ImageSource | Sequence[ImageSource],
    config: StyleTransferConfig | None = None,
    *,
    on_step: OnStep | None = None,
    network=None,
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
    several = isinstance(style, Sequence) and not isinstance(style, (str, bytes))
    paint = Pictures(content, list(style) if several else [style], config)
    if network is None:
        network = load_features(
            config.features,
            pooling=config.pooling,
            precision=config.precision,
            vgg19_weights=config.vgg19_weights,
        )
    network.trainable = config.trainable
    try:
        objective = Objective(network, config)
    except ValueError as error:
        raise SettingsError(f"{config.features}: {error}") from None
    low, high = preprocess(np.zeros(3)), preprocess(np.full(3, 255))
    sizes = paint.levels()
    plan = [config.iterations * (1 if size == sizes[-1] else 1.5) for size in sizes]
    total, history, image, best = int(sum(map(math.ceil, plan))), [], None, None
    stop = False
    for size, steps in zip(sizes, map(math.ceil, plan), strict=True):
        canvas, styles, masks = paint.at(size)
        targets = objective.targets(canvas, styles, paint.weights, masks)
        image = paint.start(canvas, styles) if image is None else _upscale(image, canvas.shape)
        losses: list[Loss] = []

        def function(image, targets=targets, losses=losses):
            loss, gradient = objective.value_and_gradient(image, targets)
            losses.append(loss)
            return loss.total, gradient

        best = None
        descent = descend(config, function, np.clip(image, low, high), low, high)
        for image, value in itertools.islice(descent, steps):
            loss = losses[-1]
            if not math.isfinite(value):
                raise SettingsError("the loss is no longer a number: lower the learning rate")
            if best is None or value < best[1].total:
                best = image, loss
            height, width = size
            history.append(
                {
                    "step": len(history) + 1,
                    "height": height,
                    "width": width,
                    "loss": value,
                    **dataclasses.asdict(loss),
                }
            )
            if on_step is not None:
                current = lambda image=image, size=size: paint.finish(image, size)  # noqa: E731
                stop = bool(on_step(Step(len(history), total, history[-1], current)))
                if stop:
                    break
        if best is None:  # No steps were asked for, or the start cannot be improved.
            best = image, objective.value_and_gradient(image, targets)[0]
        image = best[0]
        if stop:
            break
    return Stylization(
        image=paint.finish(image, size, paint.size),
        loss=best[1],
        history=tuple(history),
        seconds=time.perf_counter() - start,
        features=config.features,
    )


def output_size(content: np.ndarray, config: StyleTransferConfig) -> tuple[int, int]:
    """The (height, width) of the result for a content picture (H, W, ...).

    Raises:
        SettingsError: it would be too small.
    """
    height, width = fit_size(content.shape, config.size or max(content.shape[:2]))
    if min(height, width) < SHORTEST:
        raise SettingsError(
            f"{width}×{height} pixels are too few to stylize: the shorter side must be at least "
            f"{SHORTEST}"
        )
    return height, width


class Pictures:
    """The pictures of one run, at every size that it needs."""

    def __init__(self, content, styles, config: StyleTransferConfig):
        self.config = config
        if not styles:
            raise SettingsError("no style: give at least one painting")
        loaded = load_image(content, alpha="keep")
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


def _upscale(image: np.ndarray, shape) -> np.ndarray:
    return resize(image[0], shape[1:3])[None]
