"""Settings: of a network's shape, and of super-resolution."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from atelier.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network; the defaults are the report's, as reconstructed."""

    scale: Literal[2, 3, 4] = 2
    """Pixels a side that each pixel becomes."""
    widths: tuple[int, ...] = (32, 16, 32, 16)
    """Channels of the 3×3 convolution, then of all pointwise ones but the last (scale²)."""
    kernels: tuple[str, ...] = ("3x3", "1x5", "1x5", "3x3")
    """Rows x columns of the depthwise convolutions, one for each of the widths; odd."""
    residuals: tuple[int, ...] = (3,)
    """Pointwise convolutions to whose output that of two before is added, 0 being the 3×3
    convolution: 2 joins the 32 channels, 3 the 16."""
    interpolation: Literal["nearest", "bicubic"] = "bicubic"
    """How the LR luma that is added to the output is interpolated."""

    def __post_init__(self):
        if not self.widths or min(self.widths) < 1:
            raise SettingsError(f"--widths are positive, not {self.widths}")
        if len(self.kernels) != len(self.widths):
            raise SettingsError(
                f"--kernels are as many as --widths, not {len(self.kernels)} to {len(self.widths)}"
            )
        for kernel in self.kernels:
            if not re.fullmatch(r"[13579]x[13579]", kernel):
                raise SettingsError(f"--kernels are odd, such as 3x3 or 1x5, not {kernel!r}")
        for joined in self.residuals:
            if not 2 <= joined < len(self.widths):
                raise SettingsError(f"--residuals go from 2 to {len(self.widths) - 1}: {joined}")
            if self.widths[joined] != self.widths[joined - 2]:
                raise SettingsError(
                    f"--residuals {joined} would add {self.widths[joined - 2]} channels to "
                    f"{self.widths[joined]}"
                )

    @property
    def kernel_sizes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of the depthwise convolutions."""
        return tuple((int(kernel[0]), int(kernel[2])) for kernel in self.kernels)

    @property
    def halo(self) -> int:
        """LR pixels beyond which nothing has an influence on a pixel: half the receptive field."""
        rows, columns = zip((3, 3), *self.kernel_sizes, strict=True)
        network = max(sum(side // 2 for side in sides) for sides in (rows, columns))
        return max(network, 2)  # Of interpolation.

    @property
    def parameters(self) -> int:
        """The number of weights."""
        outputs = (*self.widths[1:], self.scale**2)
        separable = (
            rows * columns * width + width * output
            for (rows, columns), width, output in zip(
                self.kernel_sizes, self.widths, outputs, strict=True
            )
        )
        return 9 * self.widths[0] + sum(separable)


TILE = 384
"""LR pixels a side of the largest tile. From 320 to 512 all take the same time; smaller ones lose
some to their halos, larger ones to the processor's caches."""

Scale = Literal[2, 3, 4]
Model = Literal["auto", "clean", "compressed"]


@dataclasses.dataclass(frozen=True)
class UpscaleConfig:
    """The settings of super-resolution."""

    scale: Scale = 2
    """Pixels a side that each pixel becomes."""
    model: Model = "auto"
    """The network for clean pictures, or that for compressed ones; auto judges each file, and takes
    videos as compressed."""
    tile: int = TILE
    """Largest side of the parts that are worked on, in pixels of the input; bounds the memory and
    changes nothing else."""

    def __post_init__(self):
        if self.scale not in (2, 3, 4):
            raise SettingsError(f"--scale is 2, 3 or 4, not {self.scale}")
        if self.model not in ("auto", "clean", "compressed"):
            raise SettingsError(f"--model is auto, clean or compressed, not {self.model!r}")
        if not 32 <= self.tile <= 4096:
            raise SettingsError(f"--tile must be from 32 to 4096, not {self.tile}")
