"""The page behind a reverse proxy, under a path and a name that are not its own."""

import http.client
import http.server
import io
import json
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from atelier.errors import SettingsError
from gallery.web.command import WebArguments

PAGE = Path(__file__).with_name("small_page.py")
NAME, ROOT = "pictures.example", "/lab/atelier"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests below `ROOT` on, in the way that its server's `way` says."""

    protocol_version = "HTTP/1.0"  # An answer ends with its connection, as streams do.

    def do_GET(self):
        self.pass_on(None)

    def do_POST(self):
        self.pass_on(self.rfile.read(int(self.headers["content-length"])))

    def pass_on(self, body):
        way = self.server.way
        if not self.path.startswith(ROOT):
            self.send_error(404)
            return
        path = self.path.removeprefix(ROOT) if way["strip"] else self.path
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        headers["Host"] = self.server.behind if way["own_host"] else self.headers["Host"]
        if way["forwarded"]:
            headers["X-Forwarded-Host"] = self.headers["Host"]
            headers["X-Forwarded-Proto"] = "http"
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        connection.request(self.command, path or "/", body, headers)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.end_headers()
        while part := answer.read1(1 << 16):
            self.wfile.write(part)
        connection.close()

    def log_message(self, *_):
        pass


WAYS = {
    # As nginx with `proxy_set_header Host $host`, as jupyter-server-proxy, and two more.
    "nginx": {"strip": True, "own_host": False, "forwarded": True},
    "jupyter": {"strip": True, "own_host": False, "forwarded": False},
    "rewritten": {"strip": True, "own_host": True, "forwarded": True},
    "whole": {"strip": False, "own_host": True, "forwarded": True},
}


@pytest.fixture(scope="module")
def small(start_server):
    """The server with the small page, told of the proxy in front of it."""
    return start_server("--root-path", ROOT, "--allow-host", NAME, page=PAGE)


@pytest.fixture(params=WAYS)
def port(request, small):
    """The port of a proxy in front of the server."""
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.way, proxy.behind = WAYS[request.param], urlsplit(small.url).netloc
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield proxy.server_port
    proxy.shutdown()
    proxy.server_close()
    thread.join()


@pytest.fixture
def proxied(port):
    """Sends a request through a proxy, as a browser that was told its name; gives the answer."""

    def send(path, data=None, *, name=NAME, **headers):
        address = f"http://127.0.0.1:{port}{path}"
        named = {"Host": name, "Origin": f"http://{name}"} if data is not None else {"Host": name}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(address, data, named | headers), timeout=60
            ) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    return send


def test_the_page_loads_with_all_that_it_names(proxied):
    status, page = proxied(f"{ROOT}/")
    text = page.decode()
    assert status == 200
    config = json.loads(proxied(f"{ROOT}/config")[1])
    assert urlsplit(config["root"]).path == ROOT
    assert urlsplit(config["root"]).hostname in (NAME, "127.0.0.1")
    scripts = re.findall(r"""<script[^>]+src=["']([^"']+\.js)["']""", text)
    assert scripts
    for script in scripts:
        place = urlsplit(script).path
        place = place if place.startswith("/") else f"{ROOT}/{place.removeprefix('./')}"
        assert proxied(place)[0] == 200, script


def test_a_picture_goes_up_and_its_result_comes_down(proxied, encode):
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=edge"}
    status, answer = proxied(
        f"{ROOT}/gradio_api/upload", head + encode(image) + b"\r\n--edge--\r\n", **form
    )
    assert status == 200
    named = {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}
    status, answer = proxied(
        f"{ROOT}/gradio_api/call/flip",
        json.dumps({"data": [named]}).encode(),
        **{"Content-Type": "application/json"},
    )
    assert status == 200
    _, events = proxied(f"{ROOT}/gradio_api/call/flip/{json.loads(answer)['event_id']}")
    shown, _ = json.loads(re.findall(rb"event: complete\ndata: (.*)\n", events)[-1])
    address = urlsplit(shown["url"])
    assert address.path.startswith(f"{ROOT}/gradio_api/file=")
    status, content = proxied(address.path)
    assert status == 200
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), image[::-1])


def test_a_browser_shows_the_page_and_answers_its_buttons(port, browser):
    page, failed = browser.new_page(), []
    # What was asked for and refused; streams that the browser ends itself are no failures.
    page.on("response", lambda answer: answer.status >= 400 and failed.append(answer.url))
    page.goto(f"http://127.0.0.1:{port}{ROOT}/")
    page.get_by_role("button", name="count").click(timeout=30_000)
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].some(t => t.value == '1 steps')", timeout=30_000
    )
    page.close()
    assert [url for url in failed if "favicon" not in url and "manifest" not in url] == []


def test_other_names_and_other_sites_pages_are_refused(proxied):
    assert proxied(f"{ROOT}/", name="elsewhere.example")[0] == 421
    body = {"Content-Type": "application/json"}
    place = f"{ROOT}/gradio_api/call/flip"
    assert proxied(place, b"{}", Origin="http://elsewhere.example", **body)[0] == 403


def test_the_server_s_own_address_still_works(small):
    assert small.get("/")[0] == 200
    assert small.get("/", **{"X-Forwarded-Host": "elsewhere.example"})[0] == 421


@pytest.mark.parametrize("path", ["atelier", "/a b", "ftp://example.org/", "//", "/a?b"])
def test_a_root_path_is_a_path_or_an_address(path):
    with pytest.raises(SettingsError, match="--root-path is a path such as /atelier"):
        WebArguments(root_path=path + "x" if path == "//" else path)


@pytest.mark.parametrize("name", ["https://example.org", "example.org:443", "a/b", ""])
def test_allowed_hosts_are_names(name):
    with pytest.raises(SettingsError, match="--allow-host takes names"):
        WebArguments(allow_host=(name,))


def test_a_slash_at_the_end_of_the_root_path_is_as_none():
    assert WebArguments(root_path="/a/b/").root_path == "/a/b"
    assert WebArguments(root_path="https://example.org/").root_path == "https://example.org"
