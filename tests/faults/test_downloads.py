"""Downloads in the cache that were cut, replaced, or come from a server as something else."""

import functools
import gc
import http.server
import threading
import types

import pytest

from atelier.errors import WeightsError
from atelier.nets import features
from cartoon.people import deeplab_weights
from detection.network import imagenet, torchvision_weights

# Keras leaves the connections of failed downloads open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves something else than was asked for, and says of /cut… that there is more of it."""

    def do_GET(self):
        content = b"<html>please log in</html>" * 100
        self.send_response(200)
        more = 1000 if self.path.startswith("/cut") else 0
        self.send_header("Content-Length", str(len(content) + more))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    """The address of a server on this machine."""
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=functools.partial(served.serve_forever, 0.01))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()
    gc.collect()


def fetchers(monkeypatch, address: str) -> dict[str, tuple]:
    """What fetches each published file, from `address`, and the file's name."""
    moved = {
        name: entry._replace(url=f"{address}/{entry.url.rsplit('/', 1)[1]}")
        for name, entry in torchvision_weights.PUBLISHED.items()
    }
    places = [(features, "VGG19_URL"), (deeplab_weights, "URL"), (imagenet, "VGG16_URL")]
    for module, name in places:
        file = getattr(module, name).rsplit("/", 1)[1]
        monkeypatch.setattr(module, name, f"{address}/{file}")
    monkeypatch.setattr(torchvision_weights, "PUBLISHED", moved)

    detector = types.SimpleNamespace(
        architecture=types.SimpleNamespace(backbone="resnet50_fpn"), classes=("thing",)
    )
    return {
        "vgg19": (features.VGG19_URL, features.vgg19),
        "deeplab": (deeplab_weights.URL, deeplab_weights.fetch_checkpoint),
        "vgg16": (imagenet.VGG16_URL, lambda: imagenet.load_vgg16(None)),
        "resnet50_fpn": (
            moved["resnet50_fpn"].url,
            lambda: torchvision_weights.load_torchvision_into(detector),
        ),
    }


@pytest.mark.parametrize(
    ("kind", "cached"),
    [("", None), ("", b"\x89HDF\r\n\x1a\n" + bytes(500)), ("/cut", None), ("/cut", b"")],
)
@pytest.mark.parametrize("source", ["vgg19", "deeplab", "vgg16", "resnet50_fpn"])
def test_another_content_is_noticed_and_told_in_one_line(
    cache, server, monkeypatch, source, kind, cached
):
    url, fetch = fetchers(monkeypatch, server + kind)[source]
    cache.mkdir()
    file = cache / url.rsplit("/", 1)[1]
    if cached is not None:
        file.write_bytes(cached)
    with pytest.raises(WeightsError) as caught:
        fetch()
    text = str(caught.value)
    assert text.startswith(file.name)
    assert "\n" not in text
    assert f"download {url} elsewhere and pass --" in text
    # What came is not taken the next time either.
    with pytest.raises(WeightsError):
        fetch()
