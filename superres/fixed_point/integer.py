"""The fixed-point network in integers alone: what hardware must put out, bit for bit.

Nothing but sums, products and shifts of int64 in NumPy; the Keras network, the exported graphs and
the HLS project are tested against it.

Keras computes the same function in floats. As long as float32 holds all sums exactly, the two are
equal in every bit, whatever the order of summation: if at each output of a convolution the
absolute values of all that is added, and half a unit of the rounded result, make at most 2^24
units (of the last place of kernel times input, or of the residual if that is finer). A trained
network of 10-bit weights and 14-bit activations keeps to that on pictures, though its widest
possible sums are larger (see `IntegerNetwork.accumulator`); where it does not, as some networks of
random weights do not, a result may be one last place off. Keras in float64 is always equal; on a
GPU, convolutions in TF32 or by Winograd's method are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from atelier.errors import SettingsError
from superres.config import NetworkConfig
from superres.fixed_point.rounding import FixedPoint
from superres.network import topology
from superres.network.layers import INTERPOLATION_FRACTION, interpolation_kernel
from superres.network.model import Formats
from superres.networks import Network


@dataclasses.dataclass(frozen=True)
class Codes:
    """Fixed-point numbers of one format: integers in units of 2^-fraction."""

    values: np.ndarray
    """int64, of any shape."""
    fraction: int
    """Bits behind the binary point."""

    @property
    def real(self) -> np.ndarray:
        """The numbers that are meant, float64; exact below 2^53 units."""
        return self.values * 2.0**-self.fraction

    def __add__(self, other: Codes) -> Codes:
        """The exact sum, at the finer of the two fractions."""
        fraction = max(self.fraction, other.fraction)
        left, right = (codes.values << (fraction - codes.fraction) for codes in (self, other))
        return Codes(left + right, fraction)

    def relu(self) -> Codes:
        """Returns the ReLU."""
        return Codes(np.maximum(self.values, 0), self.fraction)

    def round(self, format: FixedPoint) -> Codes:
        """Rounded half up to a format: half a unit is added, then bits shifted out; saturated."""
        shift = self.fraction - format.fraction
        half = 1 << max(shift - 1, 0)
        values = (self.values + half) >> shift if shift > 0 else self.values << -shift
        return Codes(np.clip(values, format.lowest, format.highest), format.fraction)

    def convolve(self, kernel: Codes, *, depthwise: bool = False) -> Codes:
        """The exact convolution, stride 1, zeros beyond the border ("same").

        Args:
            kernel: (kh, kw, C, filters), or (kh, kw, C, 1) if depthwise; odd sides.
            depthwise: with one filter a channel.

        Returns:
            (h, w, filters) of (h, w, C); (h, w, C) if depthwise.
        """
        height, width, channels = self.values.shape
        rows, columns, _, filters = kernel.values.shape
        borders = [(side // 2, side // 2) for side in (rows, columns)]
        padded = np.pad(self.values, (*borders, (0, 0)))
        total = np.zeros((height, width, channels if depthwise else filters), np.int64)
        for i in range(rows):
            for j in range(columns):
                pixels, weights = padded[i : i + height, j : j + width], kernel.values[i, j]
                total += pixels * weights[:, 0] if depthwise else pixels @ weights
        return Codes(total, self.fraction + kernel.fraction)


@dataclasses.dataclass(frozen=True)
class IntegerNetwork:
    """A network in integers.

    Example:

        network = IntegerNetwork.of(load_stored("report-x2"))
        eight_bits = network(luma).round(FixedPoint(9, 8)).values
    """

    config: NetworkConfig
    """Its shape."""
    formats: Formats
    """Of weights and activations, as `superres.network.model.build_network` takes them."""
    kernels: Mapping[str, Codes]
    """By the names of the convolutions, in Keras' order of axes."""

    @classmethod
    def of(cls, network: Network) -> IntegerNetwork:
        """The integers behind a Keras network in fixed point.

        Raises:
            SettingsError: it is a network of floats, or not our own.
        """
        floats, formats = topology.kernels(network), network.formats
        if formats is None:
            raise SettingsError(
                "a network of floats has no integers; train it on with --weight-bits and "
                "--activation-bits"
            )
        kernels = {}
        for name, kernel in floats.items():
            # Effective kernels lie in their formats: nothing is rounded a second time.
            format = formats[f"{name}/kernel"]
            kernels[name] = Codes(format.encode(kernel), format.fraction)
        return cls(network.config, formats, kernels)

    def __call__(self, luma: np.ndarray) -> Codes:
        """The whole network.

        Args:
            luma: uint8 (h, w), LR luma.

        Returns:
            (scale·h, scale·w), HR luma / 256, neither rounded to 8 bits nor clipped.
        """
        total = topology.whole(self.config, self, _codes(luma)).values
        scale, (height, width) = self.config.scale, luma.shape
        pixels = total.reshape(height, width, scale, scale).transpose(0, 2, 1, 3)
        return Codes(pixels.reshape(height * scale, width * scale), self.fraction)

    def core(self, luma: np.ndarray) -> Codes:
        """What is added to the interpolation: uint8 (h, w) to (h, w, scale²)."""
        return topology.core(self.config, self, self.round(_codes(luma), "input"))

    @property
    def fraction(self) -> int:
        """Bits behind the binary point of the result."""
        last = f"pointwise_{len(self.config.widths)}"
        return max(self.formats[name].fraction for name in (last, "interpolation"))

    def accumulator(self, name: str) -> tuple[int, int]:
        """What the sum of a convolution may take, a residual that is added to it included.

        Args:
            name: of the convolution.

        Returns:
            (bits, fraction), the sign's bit included: enough for any input at all.
        """
        kernel = self.kernels[name]
        source = self.formats[topology.input_of(name, self.config)]
        axes = (0, 1) if topology.is_depthwise(name) else (0, 1, 2)
        # Python's integers: what is shifted may go beyond 64 bits.
        widest = int(np.abs(kernel.values).sum(axis=axes).max()) << (source.bits - 1)
        fraction = kernel.fraction + source.fraction
        joined = topology.joined_to(name, self.config)
        if joined is not None:
            format = self.formats[joined]
            finest = max(fraction, format.fraction)
            widest <<= finest - fraction
            widest += 1 << (format.bits - 1 + finest - format.fraction)
            fraction = finest
        return widest.bit_length() + 1, fraction

    # === superres.network.topology.Operations ===
    def convolve(self, x: Codes, name: str) -> Codes:
        return x.convolve(self.kernels[name], depthwise=topology.is_depthwise(name))

    def interpolate(self, x: Codes) -> Codes:
        kernel = interpolation_kernel(self.config.scale, self.config.interpolation)
        codes = np.int64(kernel * 2.0**INTERPOLATION_FRACTION)
        return x.convolve(Codes(codes, INTERPOLATION_FRACTION))

    def relu(self, x: Codes, name: str) -> Codes:
        return x.relu()

    def add(self, x: Codes, y: Codes, name: str) -> Codes:
        return x + y

    def round(self, x: Codes, name: str) -> Codes:
        return x.round(self.formats[name])


def _codes(luma: np.ndarray) -> Codes:
    if luma.dtype != np.uint8 or luma.ndim != 2:
        raise ValueError(f"luma is uint8 (h, w), not {luma.dtype} {luma.shape}")
    return Codes(luma[..., None].astype(np.int64), 8)
