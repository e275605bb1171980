"""The report's cut-out by DeepLabv3, and where its weights come from."""

import functools
import hashlib
import http.server
import importlib
import math
import pickle
import struct
import threading
import zipfile

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError, SettingsError, WeightsError
from atelier.media.images import save_image
from cartoon.people import deeplab_weights
from cartoon.people.deeplab import CLASSES, build_deeplabv3
from cartoon.people.deeplab_weights import load_torchvision, torchvision_shapes

# By import: a function `cartoon.people.deeplab_mask` would hide the module of that name.
module = importlib.import_module("cartoon.people.deeplab_mask")
class_map, deeplab_mask = module.class_map, module.deeplab_mask
lay_on_white, report_cut_out = module.lay_on_white, module.report_cut_out

# Keras leaves the connections of failed downloads open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def linear(kernel, bias) -> keras.Model:
    """Logits that are linear in a pixel's colour: (3, 21) and (21,)."""
    image = keras.Input((None, None, 3))
    head = keras.layers.Conv2D(len(CLASSES), 1)
    model = keras.Model(image, head(image))
    head.set_weights([np.float32(kernel)[None, None], np.float32(bias)])
    return model


@pytest.fixture(scope="module")
def namer() -> keras.Model:
    """Takes red for a person, green for a screen, and black for background."""
    kernel, bias = np.zeros((3, len(CLASSES))), np.full(len(CLASSES), -1.0)
    bias[[0, CLASSES.index("person"), CLASSES.index("tvmonitor")]] = 0.5, 0, 0
    kernel[0, CLASSES.index("person")] = kernel[1, CLASSES.index("tvmonitor")] = 1
    return linear(kernel, bias)


@pytest.fixture(scope="module")
def levels() -> keras.Model:
    """Says how red a pixel is: the class k for which k/20.5 is nearest."""
    k = np.arange(len(CLASSES)) / 20.5
    return linear([2 * k, 0 * k, 0 * k], -(k**2))


def bands(height: int, width: int) -> np.ndarray:
    """A third red, a third green, a third black: uint8 (height, width, 3)."""
    third = np.arange(width) * 3 // width
    return np.broadcast_to(np.uint8([RED, GREEN, BLACK])[third], (height, width, 3)).copy()


def refusal(error, call, *arguments, **options) -> str:
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# === Classes ===


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((60, 90), 450, (450, 675)),
        ((90, 61), 450, (663, 450)),  # 663.93…
        ((96, 96), 450, (450, 450)),
        ((96, 70), 20, (27, 20)),  # 27.43, and much smaller.
        ((33, 96), 33, (33, 96)),
    ],
)
def test_pictures_are_resized_as_by_torchvision(photo, levels, size, short_side, expected):
    picture = photo[: size[0], : size[1]]
    found = class_map(levels, picture, short_side)
    assert found.dtype == np.uint8
    assert found.shape == expected
    # torchvision's T.Resize is this, of a PIL image.
    small = Image.fromarray(picture).resize(expected[::-1], Image.Resampling.BILINEAR)
    red = np.asarray(small)[..., 0] / 255
    np.testing.assert_array_equal(found, np.minimum(np.rint(20.5 * red), 20))


def test_pictures_of_all_sizes_are_one_trace(photo):
    traces = []

    class Counted(keras.Model):
        def call(self, image, training=None):
            traces.append(training)
            return keras.ops.repeat(image, 7, axis=-1)

    model = Counted()
    for height in range(20, 28):
        assert class_map(model, photo[:height, :30], 20).shape[0] == 20
    assert traces == [False]


def test_the_network_itself(photo):
    keras.utils.set_random_seed(3)
    model = build_deeplabv3(width=4, depths=(1, 1, 1, 1), head=8)
    for picture in (photo, photo[:64]):
        found = class_map(model, picture, 64)
        small = Image.fromarray(picture).resize(found.shape[::-1], Image.Resampling.BILINEAR)
        logits = model(np.float32(small)[None] / 255, training=False)[0]
        # But where two classes are as good as equal.
        clear = np.diff(np.sort(logits, axis=-1)[..., -2:], axis=-1)[..., 0] > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(found[clear], np.argmax(logits, axis=-1)[clear])
        assert len(np.unique(found)) > 1


def test_a_strip_is_refused_before_it_is_resized(monkeypatch, levels):
    monkeypatch.setattr(module, "MAX_RESIZED", 450 * 600)
    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("resized"))
    strip = np.zeros((30, 60, 3), np.uint8)
    for call in (
        functools.partial(class_map, levels, strip),
        functools.partial(deeplab_mask, strip, model=levels),
        functools.partial(report_cut_out, strip.swapaxes(0, 1), model=levels),
    ):
        said = refusal(ImageError, call)
        assert "too long a strip" in said
        assert "more than 270,000 pixels" in said


def test_the_bound_is_of_the_resized_picture(monkeypatch, levels):
    monkeypatch.setattr(module, "MAX_RESIZED", 450 * 675)
    assert class_map(levels, np.zeros((60, 90, 3), np.uint8)).shape == (450, 675)
    said = refusal(ImageError, class_map, levels, np.zeros((60, 91, 3), np.uint8))
    assert said.startswith("91×60 pixels are too long a strip")


# === Masks ===


@pytest.mark.parametrize("size", [(100, 150), (900, 600), (1, 1)])
@pytest.mark.parametrize("classes", ["any", "person"])
def test_masks_are_soft_and_of_the_pictures_size(namer, size, classes):
    picture = bands(*size)
    mask = deeplab_mask(picture, classes=classes, model=namer)
    assert mask.shape == size
    assert mask.dtype == np.float32
    found = class_map(namer, picture)
    kept = np.isin(found, [15] if classes == "person" else range(1, 21))
    alpha = cv2.GaussianBlur(np.where(kept, 255, 0).astype(np.uint8), (7, 7), 0)
    expected = cv2.resize(np.float32(alpha / 255), size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(mask, expected, atol=1e-6)
    assert mask.min() >= 0
    assert mask.max() <= 1


def test_masks_by_hand(namer):
    picture = bands(100, 150)
    anything, person = (
        deeplab_mask(picture, classes=classes, model=namer) for classes in ("any", "person")
    )
    assert (anything[:, :97] == 1).all()
    assert (anything[:, 103:] == 0).all()
    assert (person[:, :47] == 1).all()
    assert (person[:, 53:] == 0).all()
    assert ((person[:, 48:52] > 0) & (person[:, 48:52] < 1)).any(axis=1).all()


def test_a_mask_is_never_more_than_one(namer):
    white = np.full((301, 457, 3), RED, np.uint8)
    for width in range(440, 458):
        assert deeplab_mask(white[:, :width], model=namer).max() == 1


def test_other_classes_are_refused(namer, photo):
    said = refusal(SettingsError, deeplab_mask, photo, classes="cat", model=namer)
    assert said == "no classes 'cat'; choose one of any, person"


def test_pictures_come_in_by_the_usual_door(namer, tmp_path):
    picture = bands(30, 45)
    save_image(tmp_path / "bands.png", picture)
    for call in (deeplab_mask, report_cut_out):
        expected = call(picture, model=namer)
        for source in (tmp_path / "bands.png", Image.fromarray(picture), picture / 255):
            np.testing.assert_array_equal(call(source, model=namer), expected)
        assert "no such file" in refusal(ImageError, call, tmp_path / "none.png", model=namer)


# === The report's picture ===


def decode_segmap(image, source, nc=21):
    """The report's, word for word."""
    # fmt: off
    label_colors = np.array([(0, 0, 0),
        (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0),
        (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128),
        (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)])
    # fmt: on
    r = np.zeros_like(image).astype(np.uint8)
    g = np.zeros_like(image).astype(np.uint8)
    b = np.zeros_like(image).astype(np.uint8)
    for label in range(0, nc):
        idx = image == label
        r[idx] = label_colors[label, 0]
        g[idx] = label_colors[label, 1]
        b[idx] = label_colors[label, 2]
    rgb = np.stack([r, g, b], axis=2)
    foreground = cv2.imread(source)
    foreground = cv2.cvtColor(foreground, cv2.COLOR_BGR2RGB)
    foreground = cv2.resize(foreground, (r.shape[1], r.shape[0]))
    background = 255 * np.ones_like(rgb).astype(np.uint8)
    foreground = foreground.astype(float)
    background = background.astype(float)
    _, alpha = cv2.threshold(np.array(rgb), 0, 255, cv2.THRESH_BINARY)
    alpha = cv2.GaussianBlur(alpha, (7, 7), 0)
    alpha = alpha.astype(float) / 255
    foreground = cv2.multiply(alpha, foreground)
    background = cv2.multiply(1.0 - alpha, background)
    outImage = cv2.add(foreground, background)
    return outImage / 255


def drawn(height: int, width: int) -> np.ndarray:
    """All classes in blocks, and a disc of a person over them: uint8 (height, width)."""
    y, x = np.mgrid[:height, :width]
    segmentation = (3 * (y * 7 // height) + x * 3 // width).astype(np.uint8)
    disc = np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4
    return np.where(disc, np.uint8(15), segmentation)


@pytest.mark.parametrize("size", [(140, 90), (60, 83), (96, 96)])
def test_the_picture_is_the_reports(monkeypatch, tmp_path, photo, size):
    segmentation = drawn(*size)
    assert set(np.unique(segmentation)) == set(range(21)) - {10} | {15}
    save_image(tmp_path / "photo.png", photo)
    expected = decode_segmap(segmentation.astype(np.int64), str(tmp_path / "photo.png"))
    np.testing.assert_allclose(lay_on_white(photo, segmentation), expected, atol=1e-12)
    monkeypatch.setattr(module, "class_map", lambda model, image: segmentation)
    image = report_cut_out(photo, model="any")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.rint(expected * 255))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("background", (False, False, False)),
        ("aeroplane", (True, False, False)),
        ("bird", (True, True, False)),
        ("person", (True, True, True)),
        ("tvmonitor", (False, True, True)),
    ],
)
def test_a_class_keeps_the_channels_that_its_colour_has(photo, name, kept):
    segmentation = np.full(photo.shape[:2], CLASSES.index(name), np.uint8)
    image = np.rint(255 * lay_on_white(photo, segmentation))
    np.testing.assert_array_equal(image, np.where(kept, photo, 255))


def test_the_picture_is_of_the_networks_size(namer):
    picture = bands(60, 90)
    picture[:, :30, 2] = 77
    image = report_cut_out(picture, model=namer)
    assert image.shape == (450, 675, 3)
    assert (image[:, :215] == (255, 0, 77)).all()  # A person is kept,
    assert (image[:, 235:440] == (255, 255, 0)).all()  # of a screen, (0, 64, 128), not the red,
    assert (image[:, 460:] == 255).all()  # and of the background nothing.


# === Weights ===


@pytest.fixture
def reduced(monkeypatch):
    """Cuts the network to a size that tests can wait for, and forgets it after."""
    build = functools.partial(build_deeplabv3, width=4, depths=(1, 1, 1, 1), head=8)
    monkeypatch.setattr(deeplab_weights, "build_deeplabv3", build)
    module._loaded.cache_clear()
    yield build
    module._loaded.cache_clear()


def state_of(model: keras.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in torchvision_shapes(model).items():
        spread = math.sqrt(2 / math.prod(shape[1:])) if len(shape) == 4 else 0.1
        mean = len(shape) == 1 and name.endswith(("weight", "running_var"))
        state[name] = np.float32(rng.normal(mean, spread, shape))
    return state


def write_checkpoint(path, state: dict[str, np.ndarray]) -> None:
    """A state dict of float32, opcode for opcode as `torch.save` pickles it."""

    def text(value: str) -> bytes:
        return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()

    def integer(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    def joined(*parts: bytes) -> bytes:
        return pickle.MARK + b"".join(parts) + pickle.TUPLE

    def name(module: str, attribute: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()

    def tensor(key: str, array: np.ndarray) -> bytes:
        storage_type = name("torch", "FloatStorage")
        count = integer(array.size)
        storage = joined(text("storage"), storage_type, text(key), text("cpu"), count)
        size = joined(*map(integer, array.shape))
        stride = joined(*(integer(step // array.itemsize) for step in array.strides))
        hooks = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        view = (storage + pickle.BINPERSID, integer(0), size, stride, pickle.NEWFALSE, hooks)
        return name("torch._utils", "_rebuild_tensor_v2") + joined(*view) + pickle.REDUCE

    items = b"".join(text(k) + tensor(str(i), a) for i, (k, a) in enumerate(state.items()))
    start = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", start + items + pickle.SETITEMS + pickle.STOP)
        archive.writestr("net/byteorder", "little")
        for index, array in enumerate(state.values()):
            archive.writestr(f"net/data/{index}", array.astype("<f4").tobytes())


def test_a_local_checkpoint(reduced, photo, tmp_path):
    model = reduced()
    state = state_of(model)
    load_torchvision(model, state)
    expected = deeplab_mask(photo, classes="person", model=model)
    assert 0.1 < expected.mean() < 0.9
    write_checkpoint(tmp_path / "net.pth", state)
    mask = deeplab_mask(photo, classes="person", checkpoint=tmp_path / "net.pth")
    np.testing.assert_array_equal(mask, expected)
    image = report_cut_out(photo, checkpoint=tmp_path / "net.pth")
    np.testing.assert_array_equal(image, report_cut_out(photo, model=model))

    state["classifier.4.bias"][0] = 1e6  # All is background.
    write_checkpoint(tmp_path / "other.pth", state)
    assert not deeplab_mask(photo, checkpoint=tmp_path / "other.pth").any()


def test_a_folder_of_pictures_loads_the_network_once(monkeypatch, reduced, namer, tmp_path):
    loaded = []
    monkeypatch.setattr(module, "deeplabv3_resnet101", lambda path: loaded.append(path) or namer)
    monkeypatch.chdir(tmp_path)
    for checkpoint in ("net.pth", tmp_path / "net.pth", str(tmp_path / "net.pth")):
        deeplab_mask(bands(20, 30), checkpoint=checkpoint)
        report_cut_out(bands(30, 20), checkpoint=checkpoint)
    assert loaded == [str(tmp_path / "net.pth")]
    for _ in range(2):
        deeplab_mask(bands(20, 30))
    assert loaded[1:] == [None]


@pytest.fixture
def published(monkeypatch, reduced, cache, tmp_path):
    """A checkpoint on a server on this machine; gives its state, and the list of requests."""
    state, asked = state_of(reduced()), []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "published")

        def log_message(self, form, *arguments):
            asked.append(arguments[0])

    file = tmp_path / "published" / "net.pth"
    file.parent.mkdir()
    write_checkpoint(file, state)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
    thread.start()
    prefix = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(deeplab_weights, "URL", f"http://127.0.0.1:{server.server_port}/net.pth")
    monkeypatch.setattr(deeplab_weights, "SHA256_PREFIX", prefix)
    yield state, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_published_checkpoint_is_fetched_once(published, reduced, photo, cache):
    state, asked = published
    model = reduced()
    load_torchvision(model, state)
    expected = deeplab_mask(photo, classes="person", model=model)
    for _ in range(2):
        np.testing.assert_array_equal(deeplab_mask(photo, classes="person"), expected)
        module._loaded.cache_clear()
    assert asked == ["GET /net.pth HTTP/1.1"]

    cached = cache / "net.pth"
    cached.write_bytes(cached.read_bytes()[:5000])
    np.testing.assert_array_equal(deeplab_mask(photo, classes="person"), expected)
    assert len(asked) == 2


def test_what_cannot_be_loaded_is_one_line(published, photo, monkeypatch, tmp_path):
    none = tmp_path / "none.pth"
    assert refusal(WeightsError, deeplab_mask, photo, checkpoint=none) == f"{none}: no such file"
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"no checkpoint")
    said = refusal(WeightsError, report_cut_out, photo, checkpoint=damaged)
    assert said.startswith(f"{damaged}: no readable PyTorch state dict")
    monkeypatch.setattr(deeplab_weights, "SHA256_PREFIX", "0" * 8)
    said = refusal(WeightsError, deeplab_mask, photo)
    assert said.startswith("net.pth came with another content than the published one")
    monkeypatch.setattr(deeplab_weights, "URL", "http://127.0.0.1:9/net.pth")
    said = refusal(WeightsError, deeplab_mask, photo)
    assert said.startswith("net.pth is missing and cannot be fetched (URL fetch failure")
    assert said.endswith("net.pth elsewhere and pass --deeplab-weights FILE")
