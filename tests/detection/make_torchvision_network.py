"""Writes torchvision_network.npz: what torchvision's two networks find, for the tests to compare.

Run in an environment of its own with the compiled operators, which the tests do not need:

    pip install torch==2.13.0 torchvision==0.28.0 numpy
    python tests/detection/make_torchvision_network.py

The networks have 42 and 44 million weights, so these are not stored but drawn, here and in the
tests, by `drawn`; so are the pictures. What is stored is what torchvision makes of them, on the way
too, and the names and shapes of its weights. In float64 it makes the same of them, within a fifth
of what the tests allow: nothing that is stored hangs by a thread.

The stored file was made where the compiled operators could not be loaded: there, NMS and RoIAlign
were plain PyTorch, written line by line after torchvision's C++; all else was torchvision.
"""

import math
import zlib
from pathlib import Path

import numpy as np

NETWORKS = ("resnet50_fpn", "resnet50_fpn_v2")
SIZES = ((96, 128), (131, 98), (250, 290))
"""Height and width of the pictures; the second is resized to 255 pixels, by rounding, not 256."""
MIN_SIZE, MAX_SIZE = 256, 380
PROPOSALS = {"rpn_pre_nms_top_n_test": 200, "rpn_post_nms_top_n_test": 100}
SAMPLES = 64
"""Values of each level's map that are stored, evenly spread over the flattened map (H, W, C)."""

GAINS = {
    # Else all proposals come from the finest level.
    "backbone.fpn.layer_blocks.1.0": 3.0,
    "backbone.fpn.layer_blocks.2.0": 12.0,
    "backbone.fpn.layer_blocks.3.0": 60.0,
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.1,
    "roi_heads.box_head.5": 16.0,
    "roi_heads.box_predictor.cls_score": 4.0,
    "roi_heads.box_predictor.bbox_pred": 2.0,
}
"""Of kernels, where it is not 2, or 1 in the pyramid, which keep the variance about as it is."""


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array `name` of a state dict, float32: always the same, and such that no value explodes.

    Kernels sum to 0, or all places of a picture would look alike to a random network.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    module, kind = name.rsplit(".", 1)
    if len(shape) > 1:
        gain = GAINS.get(module, 1.0 if ".fpn." in name or "downsample" in name else 2.0)
        kernel = rng.standard_normal(shape, np.float32) * math.sqrt(gain / math.prod(shape[1:]))
        return kernel - kernel.mean(axis=tuple(range(1, len(shape))), keepdims=True)
    if kind == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if kind == "weight":  # Of a normalisation; what is added to a shortcut is kept small.
        largest = 0.5 if ".bn3" in name else 1.2
        return rng.uniform(0.5 * largest, largest, shape).astype(np.float32)
    return rng.normal(0, 0.1, shape).astype(np.float32)


def picture(height: int, width: int) -> np.ndarray:
    """Rectangles of random colours, uint8 (height, width, 3)."""
    rng = np.random.default_rng([height, width])
    image = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        tall, wide = rng.integers(8, height // 2), rng.integers(8, width // 2)
        image[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return image


def samples(array: np.ndarray) -> np.ndarray:
    """`SAMPLES` of an array's values, float32."""
    places = np.linspace(0, array.size - 1, SAMPLES).astype(int)
    return array.reshape(-1)[places].astype(np.float32)


def build(name: str):
    """torchvision's network as it comes with its published weights, but with those drawn."""
    import torch
    from torchvision.models import WeightsEnum, detection

    function = getattr(detection, f"fasterrcnn_{name}")
    shapes = function(weights=None, weights_backbone=None).state_dict()
    state = {
        key: value if key.endswith("num_batches_tracked") else torch.tensor(drawn(key, value.shape))
        for key, value in shapes.items()
    }
    WeightsEnum.get_state_dict = lambda weights, **options: state
    network = function(weights="DEFAULT", min_size=MIN_SIZE, max_size=MAX_SIZE, **PROPOSALS)
    return network.eval(), [f"{key} {tuple(value.shape)}" for key, value in sorted(state.items())]


def found(network, image: np.ndarray) -> dict[str, np.ndarray]:
    """What a network finds on a picture, and by what it comes there."""
    import torch

    seen = {}
    for name, module in (("maps", network.backbone), ("proposals", network.rpn)):
        module.register_forward_hook(lambda module, _, out, name=name: seen.update({name: out}))
    pixels = torch.tensor(image).permute(2, 0, 1) / 255
    with torch.no_grad():
        (result,) = network([pixels.to(next(network.roi_heads.parameters()).dtype)])
    for level, maps in enumerate(seen["maps"].values()):
        result[f"map{level}"] = torch.tensor(samples(maps[0].permute(1, 2, 0).numpy()))
    result["proposals"] = seen["proposals"][0][0]
    return {name: value.numpy() for name, value in result.items()}


def assert_alike(result: dict, expected: dict, pixels: float, scores: float) -> None:
    """Whether each detection is in both: order may differ where scores are close."""
    assert len(result["boxes"]) == len(expected["boxes"])
    distances = np.abs(result["boxes"][:, None] - expected["boxes"]).max(axis=-1)
    distances[result["labels"][:, None] != expected["labels"]] = np.inf
    nearest = distances.argmin(axis=0)
    assert len(set(nearest)) == len(nearest)
    assert distances[nearest, np.arange(len(nearest))].max() < pixels
    np.testing.assert_allclose(result["scores"][nearest], expected["scores"], rtol=0, atol=scores)


def assert_alike_on_the_way(result: dict, expected: dict, pixels: float, values: float) -> None:
    """Whether each proposal is in both, and the maps' samples are alike."""
    assert len(result["proposals"]) == len(expected["proposals"])
    distances = np.abs(result["proposals"][:, None] - expected["proposals"]).max(axis=-1)
    assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) < pixels
    for level in range(5):
        maps = (each[f"map{level}"] for each in (result, expected))
        np.testing.assert_allclose(*maps, rtol=0, atol=values)


def main():
    arrays = {}
    for name in NETWORKS:
        network, arrays[f"{name}/weights"] = build(name)
        results = [found(network, picture(*size)) for size in SIZES]
        network.double()
        for size, result in zip(SIZES, results, strict=True):
            exact = found(network, picture(*size))
            assert_alike(result, exact, pixels=1e-2, scores=2e-4)
            assert_alike_on_the_way(result, exact, pixels=1e-2, values=2e-4)
            for part, value in result.items():
                arrays[f"{name}/{size[0]}x{size[1]}/{part}"] = value
    np.savez_compressed(Path(__file__).with_name("torchvision_network.npz"), **arrays)


if __name__ == "__main__":
    main()
