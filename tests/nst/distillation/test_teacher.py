"""Teachers from files."""

import numpy as np
import pytest

from atelier.errors import WeightsError
from nst.distillation import teacher
from nst.distillation.teacher import TAPS, SmallTeacher, load_teacher


def test_trunk_has_the_files_convolutions(teacher_file):
    trunk = SmallTeacher(teacher_file).trunk
    with np.load(teacher_file) as arrays:
        kernel, bias = trunk.get_layer("block3_conv2").get_weights()
        np.testing.assert_array_equal(kernel[1, 2], arrays["conv32.weight"][:, :, 1, 2].T)
        np.testing.assert_array_equal(bias, arrays["conv32.bias"])


def test_features_are_predicted_by_the_aux_layers(teacher_file, rng):
    teacher = SmallTeacher(teacher_file)
    image = rng.uniform(-100, 100, (1, 32, 48, 3)).astype(np.float32)
    features = teacher.features(TAPS[1:3])(image)
    with np.load(teacher_file) as arrays:
        for tap, found in zip(TAPS[1:3], features, strict=True):
            name = f"conv{tap[5]}1_aux"
            kernel = arrays[f"{name}.weight"][:, :, 0, 0]
            expected = teacher.trunk(image)[tap] @ kernel.T + arrays[f"{name}.bias"]
            np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-4, atol=1e-2)


def test_layer_that_it_lacks_is_named(teacher_file):
    with pytest.raises(ValueError, match="no layer 'block5_conv2'"):
        SmallTeacher(teacher_file).features(["block5_conv2"])


def test_file_of_arrays_is_a_small_teacher(teacher_file):
    teacher, trunk = load_teacher(str(teacher_file))
    assert isinstance(teacher, SmallTeacher)
    assert trunk is teacher.trunk
    assert teacher.receptive("block2_conv1") == trunk.receptive("block2_conv1")


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "array", "other"])
def test_file_that_is_no_teacher_is_named(teacher_file, tmp_path, damage):
    path = tmp_path / "bad.npz"
    whole = teacher_file.read_bytes()
    if damage in ("empty", "text", "truncated"):
        path.write_bytes({"empty": b"", "text": b"text", "truncated": whole[:5000]}[damage])
    elif damage == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "other":
        np.savez(path, **{"conv11.weight": np.zeros((2, 2)), "conv11.bias": np.zeros(2)})
    with pytest.raises(WeightsError, match=r"bad\.npz") as caught:
        load_teacher(str(path))
    assert "\n" not in str(caught.value)


def test_weights_of_a_teacher_are_counted_before_they_are_read(teacher_file, monkeypatch):
    monkeypatch.setattr(teacher, "MOST_WEIGHTS", 100)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(WeightsError, match="more than 100 weights"):
        load_teacher(str(teacher_file))


def test_teacher_that_is_neither_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_teacher(str(tmp_path / "gone.h5"))
