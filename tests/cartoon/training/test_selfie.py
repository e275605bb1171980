"""MediaPipe's weights: read in its order, transposed to Keras', and nothing else accepted."""

import numpy as np
import pytest

import cartoon.training.selfie as module
from atelier.errors import WeightsError
from cartoon.people.model import build_person_segmenter
from cartoon.training.selfie import convolutions, load_selfie


class Interpreter:
    """What LiteRT shows of a file whose convolutions have the given kernels and biases."""

    def __init__(self, pairs, kinds):
        self.tensors, self.operations = {}, []
        for (kernel, bias), kind in zip(pairs, kinds, strict=True):
            inputs = [0]
            for array in (kernel, bias):
                stored, given = len(self.tensors) * 2 + 10, len(self.tensors) * 2 + 11
                self.tensors[stored] = array.astype(np.float16)
                self.operations.append(
                    {"op_name": "DEQUANTIZE", "inputs": [stored], "outputs": [given]}
                )
                inputs.append(given)
            self.operations.append({"op_name": kind, "inputs": inputs, "outputs": [1]})
            self.operations.append({"op_name": "RELU", "inputs": [1], "outputs": [2]})

    def allocate_tensors(self):
        pass

    def _get_ops_details(self):
        return self.operations

    def get_tensor(self, index):
        return self.tensors[index]


def in_file_order(kernel: np.ndarray, name: str) -> np.ndarray:
    """A Keras kernel as LiteRT stores it."""
    if name == "person":  # (h, w, out, in) to (out, h, w, in)
        return kernel.transpose(2, 0, 1, 3)
    return kernel.transpose(3, 0, 1, 2)


def kind_of(name: str) -> str:
    if name == "person":
        return "Convolution2DTransposeBias"
    return "DEPTHWISE_CONV_2D" if name.endswith("depthwise") else "CONV_2D"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "selfie_segmentation.tflite"
    path.write_bytes(b"TFL3")
    return path


def test_the_names_are_all_of_the_networks_convolutions():
    model = build_person_segmenter()
    weighty = {layer.name for layer in model.layers if layer.weights}
    names = list(convolutions())
    assert set(names) == weighty
    assert len(names) == len(weighty)


def test_weights_come_to_their_layers(monkeypatch, file, rng):
    source, target = build_person_segmenter(), build_person_segmenter()
    for layer in source.layers:
        layer.set_weights([rng.normal(size=w.shape).astype("f2") for w in layer.get_weights()])
    names = list(convolutions())
    pairs = []
    for name in names:
        kernel, bias = source.get_layer(name).get_weights()
        pairs.append((in_file_order(kernel, name), bias))
    stored = Interpreter(pairs, map(kind_of, names))
    monkeypatch.setattr(module, "open_litert", lambda path: stored)
    load_selfie(target, file)
    for one, other in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_network_is_one_line(monkeypatch, file):
    stored = Interpreter([(np.zeros((8, 3, 3, 3)), np.zeros(8))], ["CONV_2D"])
    monkeypatch.setattr(module, "open_litert", lambda path: stored)
    with pytest.raises(WeightsError, match="is not MediaPipe's selfie segmentation"):
        load_selfie(build_person_segmenter(), file)


def test_a_damaged_or_missing_file_is_one_line(file, tmp_path):
    with pytest.raises(WeightsError, match="is not MediaPipe's selfie segmentation"):
        load_selfie(build_person_segmenter(), file)
    with pytest.raises(WeightsError, match="no such file"):
        load_selfie(build_person_segmenter(), tmp_path / "none.tflite")
