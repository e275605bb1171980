"""What the tests of super-resolution share: a folder of small pictures, and runs on them."""

import dataclasses
import functools
import importlib
from fractions import Fraction

import av
import keras
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from atelier.media.images import load_image, sample, save_image
from superres.config import NetworkConfig
from superres.fixed_point.calibration import calibrate
from superres.network.model import build_network, collapse
from superres.networks import Network
from superres.train import TrainConfig, train
from superres.training.data import luma_8_bit


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, photo, painting):
    """A folder named Set3: a photo (96, 96), stripes (80, 100), and a grey picture (65, 71)."""
    folder = tmp_path_factory.mktemp("data") / "Set3"
    save_image(folder / "a.png", photo)
    save_image(folder / "b.png", painting)
    save_image(folder / "c.png", load_image(sample("camera.png"))[200:265, 200:271, 0])
    return folder


@pytest.fixture(scope="session")
def tiny(pictures) -> TrainConfig:
    """A tiny network and two epochs of four steps; `out` is to be replaced."""
    return TrainConfig(
        widths=(6, 5),
        kernels=("3x3", "1x3"),
        residuals=(),
        data=(pictures,),
        validation=(pictures,),
        crop=16,
        batch=2,
        steps=4,
        epochs=2,
        learning_rate=1e-3,
    )


@pytest.fixture(scope="session")
def run(tiny, tmp_path_factory):
    """The folder of a finished run of `tiny`. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "float"
    train(dataclasses.replace(tiny, out=folder))
    return folder


@pytest.fixture
def network() -> keras.Model:
    """The default network, whose detail is as strong as a trained one's."""
    keras.utils.set_random_seed(3)
    network = build_network(NetworkConfig())
    last = network.get_layer("pointwise_4").kernel
    last.assign(8 * last)
    return network


@pytest.fixture
def luma(photo) -> np.ndarray:
    """Luma / 256 of 8 bits, float32 (2, 40, 56, 1)."""
    grey = luma_8_bit(photo)
    return np.stack([grey[:40, :56], grey[50:90, 20:76]])[..., None] / np.float32(256)


@pytest.fixture
def reload(tmp_path):
    """Gives a model after a round trip through a .keras file."""

    def through_a_file(model: keras.Model) -> keras.Model:
        model.save(tmp_path / "model.keras")
        return keras.saving.load_model(tmp_path / "model.keras")

    return through_a_file


@pytest.fixture(scope="session")
def fixed_point_network(photo):
    """Gives a network of random weights in fixed point, calibrated on a photo."""

    def build(config: NetworkConfig, bits: tuple[int, int] = (10, 14), seed: int = 0) -> Network:
        keras.utils.set_random_seed(seed)
        floats = build_network(config)
        formats = calibrate(
            floats,
            luma_8_bit(photo)[None, ..., None] / np.float32(256),
            weight_bits=bits[0],
            activation_bits=bits[1],
        )
        card = {
            "network": "ours",
            "shape": dataclasses.asdict(config),
            "formats": {name: dataclasses.asdict(format) for name, format in formats.items()},
        }
        return Network(collapse(floats, config, formats), card)

    return build


@pytest.fixture(scope="session")
def small_network(fixed_point_network):
    """Gives a small fixed-point network, `clean` or `compressed`, for a scale; made once."""

    @functools.cache
    def build(model: str = "clean", scale: int = 2) -> Network:
        config = NetworkConfig(scale=scale, widths=(6, 5), kernels=("3x3", "1x5"), residuals=())
        return fixed_point_network(config, seed=len(model))

    return build


@pytest.fixture
def embedded(monkeypatch, small_network):
    """Takes small networks for the embedded ones."""
    # By import: the function `superres.upscale` hides the module of that name.
    module = importlib.import_module("superres.upscaling")
    monkeypatch.setattr(module, "load_network", small_network)
    return small_network


@pytest.fixture(scope="session")
def make_video(photo):
    """Writes a video of the photo as it moves to the left; gives its path.

    Its times are in units of 1/100 second; `tags` are attributes of FFmpeg's codec context.
    """

    def make(
        path,
        *,
        size=(48, 32),
        times=(0, 4, 8, 12, 16),
        codec="libx264",
        pixels="yuv420p",
        sound=None,
        rotation=0,
        **tags,
    ):
        clock = Fraction(1, 100)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt, stream.codec_context.time_base = pixels, clock
            for name, value in tags.items():
                setattr(stream.codec_context, name, value)
            if rotation:
                stream.set_display_rotation(rotation)
            audio = container.add_stream(sound, rate=8000, layout="mono") if sound else None
            for number, time in enumerate(times):
                left = number % (photo.shape[1] - size[0])
                picture = photo[20 : 20 + size[1], left : left + size[0]]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                levels = tags.get("color_range", ColorRange.MPEG)
                frame = frame.reformat(format=pixels, dst_color_range=levels)
                frame.pts, frame.time_base = time, clock
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            for number in range(2 if audio else 0):
                wave = np.int16(8000 * np.sin(np.arange(1024) / 5 + number))[None]
                frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                frame.sample_rate, frame.time_base = 8000, Fraction(1, 8000)
                frame.pts = 1024 * number
                container.mux(audio.encode(frame))
            if audio:
                container.mux(audio.encode())
        return path

    return make
