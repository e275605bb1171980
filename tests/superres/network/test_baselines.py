"""The networks that the report compares with: their weights, and what they do to a picture."""

import numpy as np
import pytest

from superres.network.baselines import BASELINES, fsrcnn_s, srcnn, vdsr
from superres.resample import bicubic


def shapes(network) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in network.weights if len(weight.shape) == 4]


def test_srcnn_is_9_1_5():
    network = srcnn()
    assert shapes(network) == [(9, 9, 1, 64), (1, 1, 64, 32), (5, 5, 32, 1)]
    assert network.count_params() == 8032


def test_fsrcnn_s_is_32_5_1():
    network = fsrcnn_s()
    assert shapes(network) == [
        *((5, 5, 1, 32), (1, 1, 32, 5), (3, 3, 5, 5), (1, 1, 5, 32)),
        (9, 9, 1, 32),  # A deconvolution's: to one channel from 32.
    ]
    assert sum(np.prod(shape) for shape in shapes(network)) == 3937
    # And a slope for each channel of its four PReLUs.
    assert network.count_params() == 3937 + 32 + 5 + 5 + 32


def test_vdsr_has_20_layers():
    network = vdsr()
    assert shapes(network) == [(3, 3, 1, 64), *18 * [(3, 3, 64, 64)], (3, 3, 64, 1)]
    assert network.count_params() == 664_704


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("scale", [2, 3])
def test_luma_in_and_larger_luma_out(name, scale, luma):
    network = BASELINES[name](scale)
    found = network(luma[:, :9, :7])
    assert found.shape == (2, 9 * scale, 7 * scale, 1)
    assert not any(getattr(layer, "use_bias", False) for layer in network.layers)


def test_vdsr_adds_to_the_interpolation(luma):
    network = vdsr()
    last = network.get_layer("conv_20").kernel
    last.assign(np.zeros(last.shape))
    found = np.asarray(network(luma[:1, :20, :20]))[0, ..., 0]
    expected = bicubic(luma[0, :20, :20, 0], (40, 40))
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-5)


def test_srcnn_sees_the_interpolation(luma):
    """With kernels that pass the middle pixel on, it gives just that."""
    network = srcnn()
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            kernel = np.zeros(layer.kernel.shape, np.float32)
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0, 0] = 1
            layer.kernel.assign(kernel)
    found = np.asarray(network(luma[:1, :20, :20]))[0, ..., 0]
    expected = np.maximum(bicubic(luma[0, :20, :20, 0], (40, 40)), 0)
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_comes_back_from_a_file_exactly(name, luma, reload):
    network = BASELINES[name](2)
    np.testing.assert_array_equal(reload(network)(luma), network(luma))
