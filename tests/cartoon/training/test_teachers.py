"""The teachers, as tiny networks in files of their names."""

import numpy as np
import pytest
import tensorflow as tf

from atelier.errors import WeightsError
from atelier.export.runtimes import write_litert
from cartoon.training.teachers import DEEPLAB, PERSON, SELFIE, load_teachers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """MediaPipe's says how red a pixel is; DeepLab's logit of a person is 4 times its input."""
    folder = tmp_path_factory.mktemp("teachers")

    def selfie(rgb):
        return {"mask": rgb[..., :1] * 1.0}

    def deeplab(rgb):
        return {"logits": 4 * rgb[..., :1] * tf.one_hot(PERSON, 21)}

    for name, side, function in ((SELFIE, 256, selfie), (DEEPLAB, 257, deeplab)):
        signature = tf.TensorSpec((1, side, side, 3), tf.float32, name="rgb")
        write_litert(function, signature, "float32", folder / name)
    return folder


def test_both_see_the_picture_in_the_range_that_they_were_made_for(folder):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:, 0] = 255
    opinions = {name: teacher(picture) for name, teacher in load_teachers(folder).items()}
    assert list(opinions) == ["mediapipe-selfie", "deeplabv3-mobilenetv2"]
    for opinion in opinions.values():
        assert opinion.shape == (40, 60)
        assert opinion.dtype == np.float32
    selfie, deeplab = opinions.values()
    np.testing.assert_allclose(selfie[:, [5, 55]], [[0, 1]] * 40, atol=1e-6)
    # Softmax of 20 zeros and a logit of 4 times -1 or 1.
    low, high = (np.exp(x) / (20 + np.exp(x)) for x in (-4, 4))
    np.testing.assert_allclose(deeplab[:, [5, 55]], [[low, high]] * 40, rtol=1e-4)


def test_missing_and_damaged_files_are_one_line(folder, tmp_path):
    with pytest.raises(WeightsError, match=f"{SELFIE} is missing"):
        load_teachers(tmp_path)
    (tmp_path / SELFIE).write_bytes(b"no network at all, but long enough to be opened" * 9)
    with pytest.raises(WeightsError, match="is damaged"):
        load_teachers(tmp_path)
