"""The server as a process, with a page whose jobs take as long as a test wants."""

import asyncio
import json
import re
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atelier.errors import SettingsError
from gallery.web import server
from gallery.web.limits import Limits
from gallery.web.server import is_loopback, listen

PAGE = Path(__file__).with_name("small_page.py")
SECONDS, WAITING = 6, 2


@pytest.fixture(scope="module")
def small(start_server):
    """The server with the small page, a short queue and little time for each request."""
    limits = {"seconds": SECONDS, "waiting": WAITING, "upload-megabytes": 0.5, "keep-minutes": 0.3}
    flags = (word for name, value in limits.items() for word in (f"--{name}", value))
    return start_server(*flags, page=PAGE)


@pytest.fixture(scope="module")
def image():
    """uint8 (20, 30, 3)."""
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


def uploaded(server, content, name="photo.png"):
    """Uploads a file; how a request names it."""
    status, answer = server.upload(content, name)
    assert status == 200
    return {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}


def test_the_page_says_what_it_is_and_the_server_that_it_lives(small):
    status, page = small.get("/")
    assert status == 200
    assert "<gradio-app" in page
    status, health = small.get("/healthz")
    assert status == 200
    assert json.loads(health)["status"] == "ok"


def test_nothing_that_the_page_holds_comes_from_elsewhere(small):
    _, page = small.get("/")
    for address in re.findall(
        r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']([^"']+)""", page
    ):
        assert not address.startswith(("http:", "https:", "//")), address
    assert '"run_history":false' in page.replace(" ", "")


def test_a_picture_goes_in_and_comes_out(small, image, encode):
    event, (shown, shape) = small.call("flip", uploaded(small, encode(image)))
    assert (event, shape) == ("complete", "(20, 30, 3)")
    with urllib.request.urlopen(shown["url"]) as answer:
        np.testing.assert_array_equal(np.asarray(Image.open(answer)), image[::-1])
    assert shown["path"].endswith("/flipped-photo.png")


def test_bad_files_give_one_line_and_the_page_goes_on(small, image, encode, bad_file):
    name, content, reason = bad_file
    event, answer = small.call("flip", uploaded(small, content, name))
    assert event == "error"
    assert reason in answer["error"]
    assert str(small.folder) not in json.dumps(answer)
    assert small.call("flip", uploaded(small, encode(image)))[0] == "complete"


def test_no_picture_and_wrong_requests_give_a_line(small):
    assert small.call("flip", None)[1]["error"] == "choose a picture first"
    assert small.call("fail", "theirs")[1]["error"] == "--kind is not &lt;b&gt;theirs&lt;/b&gt;"
    for status, answer in (
        small.post("/gradio_api/call/nothing", {"data": []}),
        small.post("/gradio_api/call/flip", {"data": [1, 2, 3, 4]}),
        small.post("/gradio_api/call/flip", {"data": "text"}),
        small.post("/gradio_api/queue/join", {"data": [], "fn_index": 999, "session_hash": "a"}),
    ):
        assert status != 200 or "event_id" in answer
        assert "Traceback" not in answer


def test_what_goes_wrong_on_the_server_is_for_its_log_alone(small):
    event, answer = small.call("fail", "ours")
    assert event == "error"
    assert "secret" not in json.dumps(answer)
    assert any("RuntimeError: a secret of the server's" in line for line in small.said)


@pytest.mark.parametrize("endpoint", ["work", pytest.param("sleep", marks=pytest.mark.soak)])
def test_a_request_has_its_time_and_no_more(small, endpoint):
    begin = time.monotonic()
    event, answer = small.call(endpoint, SECONDS + 8)
    assert event == "error"
    assert f"longer than the {SECONDS} s" in answer["error"]
    assert time.monotonic() - begin < SECONDS + 7.5
    time.sleep(7.5 if endpoint == "sleep" else 0)
    assert small.call(endpoint, 0)[0] == "complete"


def test_previews_come_as_they_are_made(small):
    status, answer = small.post("/gradio_api/call/count", {"data": [4]})
    _, events = small.get(f"/gradio_api/call/count/{json.loads(answer)['event_id']}")
    assert status == 200
    assert "event: generating" in events
    assert events.rstrip().endswith('event: complete\ndata: ["4 steps"]')


def test_of_too_many_at_once_the_last_are_told_that_it_is_busy(small):
    answers = []

    def visit():
        answers.append(small.call("work", 0.4))

    threads = [threading.Thread(target=visit) for _ in range(WAITING + 4)]
    [thread.start() for thread in threads]
    time.sleep(0.3)
    status, health = small.get("/healthz")  # Answers while a job runs and others wait.
    [thread.join() for thread in threads]
    assert status == 200
    assert json.loads(health)["waiting"] <= WAITING
    done = [answer for answer in answers if answer == ("complete", ["done"])]
    busy = [answer for answer in answers if answer[0] == "503"]
    assert len(done) >= WAITING
    assert busy
    assert len(done) + len(busy) == WAITING + 4
    assert all("Queue is full" in text for _, text in busy)


def test_uploads_are_limited_and_nothing_of_them_stays(small):
    before = set(small.files())
    status, answer = small.upload(bytes(600_000))
    assert (status, json.loads(answer)) == (413, {"detail": "the file is larger than 0.5 MB"})

    def chunks():
        yield b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(60):
            yield bytes(10_000)
        yield b"\r\n--edge--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    request = urllib.request.Request(f"{small.url}/gradio_api/upload", chunks(), headers)
    status, answer = small.send(request)
    assert status == 413
    assert "maximum allowed size" in answer
    assert set(small.files()) == before


PLACES = (
    "/gradio_api/file={secret}",
    "/gradio_api/file={own}/secret",
    "/gradio_api/file={own}/pictures/../secret",
    "/gradio_api/file={own}/../../secret",
    "/gradio_api/file={own}/%2e%2e/%2e%2e/secret",
    "/gradio_api/file={own}/..%2f..%2fsecret",
    "/gradio_api/file=file://{secret}",
    "/gradio_api/file=%2fetc%2fpasswd",
    "/gradio_api/file=http://127.0.0.1:1/",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/gradio_api/proxy=https://a.hf.space/",
    "/gradio_api/custom_component/x/client/component/../../../../secret",
    "/static/../../../../../../../../../..{secret}",
    "/static/%2e%2e/%2e%2e/%2e%2e/routes.py",
    "/assets/..%2f..%2f..%2froutes.py",
    "/assets/{secret}",
    "/svelte/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{secret}",
    "/gradio_api/stream/a/b/1/playlist-file",
    "/gradio_api/deep_link?session_hash=..",
    "/?deep_link=../../secret",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_file_outside_its_folder_is_read(small, place):
    secret = small.folder.parent / "secret"
    secret.write_text("a secret: from gradio import")
    own = next(small.folder.glob("atelier-*"))
    status, answer = small.get(place.format(secret=secret, own=own))
    assert "secret: " not in answer
    assert "from gradio import" not in answer
    assert status >= 400 or place.startswith("/?")


def test_nor_can_a_request_name_one(small):
    secret = small.folder.parent / "secret.png"
    Image.new("RGB", (5, 5)).save(secret)
    for path in (str(secret), f"file://{secret}", "http://127.0.0.1:1/a.png"):
        event, _ = small.call("flip", {"path": path, "meta": {"_type": "gradio.FileData"}})
        assert event == "403"
    for url in (f"file://{secret}", "http://127.0.0.1:1/a.png", "data:image/png;base64,AA"):
        event, answer = small.call("flip", {"url": url, "meta": {"_type": "gradio.FileData"}})
        assert event == "error"
        assert "upload the picture first" in answer["error"]


def test_the_queue_cannot_be_passed_by(small):
    status, _ = small.post("/gradio_api/run/work", {"data": [0]})
    assert status == 404


def test_its_folder_is_its_own(small):
    (own,) = small.folder.glob("atelier-*")
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


@pytest.mark.soak
def test_uploads_and_results_go_after_a_while(small, image, encode):
    begin = time.time()
    photo = uploaded(small, encode(image + 1))
    event, (flipped, _) = small.call("flip", photo)
    files = [Path(photo["path"]), Path(flipped["path"])]
    assert event == "complete"
    assert all(file.exists() for file in files)
    while any(file.exists() for file in files):
        assert time.time() < begin + 120
        time.sleep(0.5)
    assert small.get(f"/gradio_api/file={files[1]}")[0] == 403
    event, answer = small.call("flip", photo)
    assert (event, answer["error"]) == ("error", "photo.png: no such file")
    assert [path for path in small.files() if path.stat().st_mtime < begin - 60] == []


def test_it_stops_cleanly_in_the_midst_of_a_job(small):
    """The last of this server's tests: it ends it."""
    small.post("/gradio_api/call/work", {"data": [SECONDS]})
    time.sleep(0.5)
    open_page = socket.create_connection(("127.0.0.1", int(small.url.rsplit(":")[-1])))
    open_page.sendall(b"GET /gradio_api/heartbeat/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.5)
    assert small.stop() == 0
    open_page.close()
    assert small.files() == []
    assert small.connections.read_text().count("socket.connect") == 0


# === Without a process ===


def test_a_port_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(.*use"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "a" * 300])
def test_a_host_that_is_none_is_named(host):
    with pytest.raises(SettingsError, match="is no address of this machine"):
        listen(host, 0)


def test_an_address_of_another_machine_cannot_be_listened_on():
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:0 \(cannot assign"):
        listen("192.0.2.1", 0)


def test_loopback_is_known_by_its_looks():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost", b"127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "localhost.example.com", "10.0.0.1", "")))


def test_once_at_home_no_connection_leaves_the_machine():
    program = """
import socket
from gallery.web.server import stay_home
stay_home()
for go in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.getaddrinfo("example.com", 80),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
):
    try:
        go()
    except PermissionError as error:
        print(error)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
    print("but to itself")
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    ).stdout.splitlines()
    assert said[0] == said[2] == "no connections are made to others, such as 192.0.2.1"
    assert said[1:] == [said[1], said[2], "but to itself"]


def test_a_look_at_the_folder_that_fails_is_not_the_last(tmp_path, monkeypatch, capsys):
    looks = []

    def sweep(folder, limits, keep):
        looks.append(folder)
        if len(looks) == 1:
            raise RuntimeError("the first")

    monkeypatch.setattr(server.cache, "sweep", sweep)
    page = SimpleNamespace(temp_file_sets=[])

    async def run():
        sweeping = asyncio.create_task(
            server._sweep_forever(page, tmp_path, Limits(keep_minutes=1e-4))
        )
        while len(looks) < 2 and not sweeping.done():
            await asyncio.sleep(0.01)
        assert not sweeping.done()
        sweeping.cancel()

    asyncio.run(run())
    assert "RuntimeError: the first" in capsys.readouterr().err
