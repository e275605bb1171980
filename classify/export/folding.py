"""The trained networks for computing alone: as few operations as they can be, and which.

In training, the strong network normalises: pictures, and what its convolutions put out. With the
weights fixed, all of that is linear, and goes into the weights of the layer before or after it.
What is left are Keras' plain layers, which `walker` hands to other runtimes one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import keras
import numpy as np
from keras import layers

from atelier.errors import SettingsError
from classify.data import SIDE
from classify.layers import Whitening

if TYPE_CHECKING:
    from classify.networks import Network

Tensor = TypeVar("Tensor")


def fold(model: keras.Model) -> keras.Model:
    """The strong network without its normalisations: float32, to the same logits.

    Normalisation of the pictures goes into the whitening convolution, which has no border, so that
    this is exact; batch normalisation into the convolution before, even across the max pooling
    between the two, as its factor is positive; the head's factor into the head.

    Args:
        model: of `build_strong`, whatever it computes in.

    Returns:
        (N, 32, 32, 3) in [0, 1] to logits (N, 10), in `keras.layers` alone, which keep their names.
        A model without a whitening layer is given back as it is.
    """
    if not any(isinstance(layer, Whitening) for layer in model.layers):
        return model
    normalization = next(_of_kind(model, layers.Normalization))
    factor = next(_of_kind(model, layers.Rescaling)).scale

    def step(layer, *inputs):
        match layer:
            case layers.Normalization() | layers.BatchNormalization() | layers.Rescaling():
                return inputs[0]
            case Whitening():
                weights = _with_normalization(layer, normalization)
                return _twin(layer, weights, *inputs)
            case layers.Conv2D():
                norm = model.get_layer(layer.name.replace("_conv", "_norm"))
                return _twin(layer, _with_batch_normalization(layer, norm), *inputs)
            case layers.Dense():
                return _twin(layer, [layer.get_weights()[0] * np.float32(factor)], *inputs)
        return _twin(layer, layer.get_weights(), *inputs)

    return _rebuilt(model, step)


def deployable(network: Network) -> keras.Model:
    """What other runtimes are given: the folded network, from pictures to honest probabilities.

    The temperature goes into the last layer's weights, softmax follows it, and dropout is left out.

    Returns:
        (N, 32, 32, 3) in [0, 1] to probabilities (N, 10): the softmax of `network.logits`, of one
        view, over the temperature of one view.
    """
    model = fold(network.model)
    head = model.layers[-1]

    def step(layer, *inputs):
        if isinstance(layer, layers.Dropout):
            return inputs[0]
        if layer is head:  # The report's has a softmax in it, which the temperature comes before.
            temperature = np.float32(network.temperature_of(1))
            weights = [w / temperature for w in layer.get_weights()]
            logits = _twin(layer, weights, *inputs, activation="linear")
            return layers.Softmax(name="probabilities")(logits)
        return _twin(layer, layer.get_weights(), *inputs)

    return _rebuilt(model, step)


def _of_kind(model: keras.Model, kind: type):
    return (layer for layer in model.layers if isinstance(layer, kind))


def _rebuilt(model: keras.Model, step: Callable) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    return keras.Model(inputs, _run(model, step, inputs), name=model.name)


def _run(model: keras.Model, step: Callable, x):
    """`step(layer, *inputs)` of each layer in turn, from the input `x`; gives that of the last."""
    if isinstance(model, keras.Sequential):
        return functools.reduce(lambda x, layer: step(layer, x), model.layers, x)
    values = {id(model.inputs[0]): x}
    for layer in model.layers:
        if not isinstance(layer, layers.InputLayer):
            given = layer.input if isinstance(layer.input, list) else [layer.input]
            values[id(layer.output)] = step(layer, *(values[id(tensor)] for tensor in given))
    return values[id(model.outputs[0])]


def _twin(layer: keras.Layer, weights: list, *inputs, **changes):
    """What a float32 layer of the same kind, with these weights, makes of the inputs."""
    kind, config = type(layer), {**layer.get_config(), "dtype": "float32", **changes}
    if isinstance(layer, layers.Conv2D):
        kind = layers.Conv2D
        config = {
            "name": layer.name,
            "filters": layer.filters,
            "kernel_size": layer.kernel_size,
            "padding": layer.padding,
            "activation": layer.activation,
            "use_bias": len(weights) == 2,
            "dtype": "float32",
        }
    twin = kind.from_config(config)
    result = twin(inputs[0] if len(inputs) == 1 else list(inputs))
    twin.set_weights(weights)
    return result


def _with_normalization(whitening: Whitening, normalization: layers.Normalization) -> list:
    """Kernel and bias of a convolution that does both."""
    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(values), np.float64).reshape(3, 1)
        for values in (normalization.mean, normalization.variance)
    )
    kernel = whitening.get_weights()[0] / np.sqrt(variance)
    return [np.float32(kernel), -np.float32((kernel * mean).sum(axis=(0, 1, 2)))]


def _with_batch_normalization(convolution: layers.Conv2D, norm: layers.BatchNormalization) -> list:
    """Kernel and bias of a convolution that does both; the norm shifts, and scales by variance."""
    shift, mean, variance = (np.float64(values) for values in norm.get_weights())
    factor = 1 / np.sqrt(variance + norm.epsilon)
    return [
        np.float32(convolution.get_weights()[0] * factor),
        np.float32(shift - mean * factor),
    ]


# === Layer by layer ===


class Operations(Protocol[Tensor]):
    """What a runtime must be able to do with its kind of tensors. Kernels are in Keras' order.

    `name` is that of the Keras layer; kinds of activation are relu, silu, gelu and linear.
    """

    def convolve(
        self, x: Tensor, kernel: np.ndarray, bias: np.ndarray, padding: str, name: str
    ) -> Tensor:
        """A convolution (kh, kw, in, out) with stride 1, whose padding is `same` or `valid`."""

    def max_pool(self, x: Tensor, name: str) -> Tensor:
        """The largest of each 2×2 pixels; an odd row or column is left out."""

    def global_max_pool(self, x: Tensor, name: str) -> Tensor:
        """The largest of each channel: (N, C)."""

    def activate(self, x: Tensor, kind: str, name: str) -> Tensor:
        """The activation of that kind; GELU by the error function, not by tanh."""

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """The sum."""

    def flatten(self, x: Tensor, shape: tuple[int, int, int], name: str) -> Tensor:
        """(N, H, W, C) to (N, H·W·C); `shape` is (H, W, C)."""

    def dense(self, x: Tensor, kernel: np.ndarray, bias: np.ndarray, name: str) -> Tensor:
        """x (N, in) times the kernel (in, out), plus the bias."""

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Probabilities from logits (N, 10)."""

    def energy(self, x: Tensor, temperature: float, name: str) -> Tensor:
        """T · log Σ exp(x), (N,), of logits over the temperature T (N, 10)."""


def walker(
    model: keras.Model, temperature: float | None = None
) -> Callable[[Operations[Tensor], Tensor], dict[str, Tensor]]:
    """Returns a function of operations and the input: a model of `deployable` by other means.

    The weights are those of now: while TensorFlow traces a function, none can be read.

    Args:
        model: of `deployable`.
        temperature: already in its weights; with it, the function gives the energies too.

    Returns:
        A function to `probabilities` and, if asked for, `energy`.

    Raises:
        SettingsError: on a walk, that the model has a layer which none of the two networks has.
    """
    weights = {
        layer.name: _kernel_and_bias(layer)
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Dense)
    }

    def walk(operations, x):
        def step(layer, x, *others):
            name = layer.name
            match layer:
                case layers.Conv2D():
                    x = operations.convolve(x, *weights[name], layer.padding, name)
                    return activated(layer, x)
                case layers.MaxPooling2D():
                    return operations.max_pool(x, name)
                case layers.GlobalMaxPooling2D():
                    return operations.global_max_pool(x, name)
                case layers.Activation():
                    return activated(layer, x)
                case layers.Add():
                    return operations.add(x, *others, name)
                case layers.Flatten():
                    return operations.flatten(x, tuple(layer.input.shape[1:]), name)
                case layers.Dense():
                    return activated(layer, operations.dense(x, *weights[name], name))
                case layers.Softmax():
                    found = {"probabilities": operations.softmax(x, name)}
                    if temperature is not None:
                        found["energy"] = operations.energy(x, temperature, "energy")
                    return found
            raise SettingsError(f"a layer {type(layer).__name__} cannot be exported: {name}")

        def activated(layer, x):
            kind = keras.activations.serialize(layer.activation)
            name = layer.name if isinstance(layer, layers.Activation) else f"{layer.name}_{kind}"
            return x if kind == "linear" else operations.activate(x, kind, name)

        return _run(model, step, x)

    return walk


def _kernel_and_bias(layer: layers.Conv2D | layers.Dense) -> tuple[np.ndarray, np.ndarray]:
    kernel, *bias = layer.get_weights()
    return kernel, bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)
