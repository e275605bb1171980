"""A server of the web page, as a process of its own, and a browser."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent.parent

CONNECTIONS = '''
"""Writes down all connections that a process tries to make."""
import os, socket, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(event, repr(arguments[1:]), file=file)

sys.addaudithook(note)
'''


class Server:
    """`python -m gallery.web` on a free port, with what it said and the connections it tried."""

    def __init__(self, *flags: str, folder: Path, page: Path | None = None):
        """
        Args:
            flags: of the command.
            folder: for its temporary folder and what it is watched by.
            page: the file of a module with a `build_page`, to serve that instead.
        """
        self.folder, self.connections = folder / "tmp", folder / "connections"
        self.folder.mkdir()
        self.connections.touch()
        (folder / "sitecustomize.py").write_text(CONNECTIONS)
        command = ["-m", "gallery.web"]
        if page is not None:
            shutil.copy(page, folder)
            own = f"import {page.stem}; command.build_page = {page.stem}.build_page"
            command = ["-c", f"from gallery.web import command; {own}; command.run()"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--port", "0", *flags],
            env={
                **os.environ,
                "PYTHONPATH": f"{folder}:{ROOT}",
                "TMPDIR": str(self.folder),
                "CONNECTIONS": str(self.connections),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = []
        self._ready = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        if not self._ready.wait(240) or self.process.poll() is not None:
            self.stop(signal.SIGKILL)
            pytest.fail("the server did not start:\n" + "".join(self.said))
        (self.url,) = re.findall(r"http://\S+", "".join(self.said))

    def _listen(self) -> None:
        with self.process.stderr as lines:
            for line in lines:
                self.said.append(line)
                if line.startswith("http://"):
                    self._ready.set()
        self._ready.set()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body of an answer, the path sent as it is."""
        return self.send(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, body: object, **headers: str) -> tuple[int, str]:
        """Status and body of the answer to a JSON request."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        return self.send(urllib.request.Request(self.url + path, data, headers))

    def send(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")

    def upload(self, content: bytes, name: str = "photo.png") -> tuple[int, str]:
        """Uploads a file; the body of the answer is a JSON list with its path, or the reason."""
        head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = b"--edge\r\n" + head.encode() + content + b"\r\n--edge--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        return self.send(urllib.request.Request(f"{self.url}/gradio_api/upload", body, headers))

    def call(self, endpoint: str, *data: object) -> tuple[str, object]:
        """The last event of a call over the REST interface, and its data."""
        status, answer = self.post(f"/gradio_api/call/{endpoint}", {"data": list(data)})
        if status != 200:
            return str(status), answer
        status, events = self.get(f"/gradio_api/call/{endpoint}/{json.loads(answer)['event_id']}")
        name, value = re.findall(r"event: (\w+)\ndata: (.*)\n", events)[-1]
        return name, json.loads(value)

    def files(self) -> list[Path]:
        """All that lies in its temporary folder."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops it with a signal; its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self._listener.join()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory) -> Callable[..., Server]:
    """Starts a server, with the command's flags and perhaps another page; kills it at the end."""
    started = []

    def start(*flags: object, page: Path | None = None) -> Server:
        folder = tmp_path_factory.mktemp("server")
        started.append(Server(*map(str, flags), folder=folder, page=page))
        return started[-1]

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """The page itself, served until the tests end."""
    return start_server()


@pytest.fixture(scope="module")
def browser():
    """Chromium by Playwright: the system's, or its own; closed with the module, as its event loop
    would be in the way of tests that run one of their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with playwright.sync_playwright() as driver:
        try:
            running = driver.chromium.launch(executable_path=chromium, args=flags)
        except playwright.Error as error:
            pytest.skip(f"no Chromium that starts: {str(error).splitlines()[0]}")
        yield running
        running.close()


# === Files ===


def encoded(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """A picture as a file's bytes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Makes a file's bytes of a picture: `encode(image, kind="PNG", **options)`."""
    return encoded


@pytest.fixture(params=["empty.jpg", "text.jpg", "truncated.jpg", "drawing.svg"])
def bad_file(request) -> tuple[str, bytes, str]:
    """A file that is no picture, or not one to open: its name, its bytes, and what is said."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'
    content, reason = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"not a picture", "not a picture in a format that can be read"),
        "truncated.jpg": (encoded(noise, "JPEG")[:600], "damaged or truncated"),
        "drawing.svg": (svg, "not a picture in a format that can be read"),
    }[request.param]
    return request.param, content, reason
