import asyncio
import json
from unittest.mock import Mock

import pytest
from starlette.formparsers import MultiPartException

from gallery.web.cache import size
from gallery.web.guard import JSON_BYTES, LOOPBACK, Guard

UPLOAD = "/gradio_api/upload"
JOIN = "/gradio_api/queue/join"


class Behind:
    """An application that reads its request's body, and answers with its length."""

    def __init__(self):
        self.body = None

    async def __call__(self, scope, receive, send):
        self.body, more = b"", True
        while more:
            message = await receive()
            self.body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(self.body)})


@pytest.fixture
def folder(tmp_path):
    """The server's own folder, with a picture; a secret lies beside it, and a way to it within."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "photo.png").touch()
    (tmp_path / "secret").touch()
    (own / "link").symlink_to(tmp_path / "secret")
    return own


@pytest.fixture
def ask(folder):
    """Sends a request past the guard; gives the status, the answer's headers and its text."""

    def send(path, method="GET", chunks=(b"",), hosts=LOOPBACK, room=10**6, **headers):
        headers = {"host": "127.0.0.1:7860", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }
        waiting, sent = list(chunks), []

        async def receive():
            body = waiting.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(waiting)}

        async def keep(message):
            sent.append(message)

        send.behind, send.unread = Behind(), waiting
        guard = Guard(
            send.behind, folder=folder, upload_bytes=50_000, folder_bytes=room, hosts=hosts
        )
        asyncio.run(guard(scope, receive, keep))
        start, body = sent
        answered = {key.decode(): value.decode() for key, value in start["headers"]}
        return start["status"], answered, body["body"].decode()

    return send


@pytest.mark.parametrize("path", ["/", "/healthz", "/config", "/assets/index.js", "/static/a/b"])
def test_the_page_is_served_with_headers_that_keep_it_to_itself(ask, path):
    status, headers, _ = ask(path)
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/custom_component/a/client/b/c",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/run-history/records",
        "/gradio_api/dev/reload",
        "/gradio_api/mcp/sse",
        "/gradio_api/file/a.png",
        "/monitoring",
        "/docs",
        "/healthz/../config/../x",
    ],
)
def test_what_a_page_of_pictures_does_not_need_is_not_there(ask, path):
    assert ask(path)[0] == 404


@pytest.mark.parametrize("path", ["/gradio_api/process_recording", "/login", "/"])
def test_nor_can_it_be_posted_to(ask, path):
    assert ask(path, "POST", [b"{}"])[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(ask, method):
    assert ask("/", method)[0] == 404


def test_files_of_its_folder_are_given_out(ask, folder):
    assert ask(f"/gradio_api/file={folder}/photo.png")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere/a.png",
        "elsewhere/a.png",
        "setup.cfg",
        "{own}/../secret",
        "{own}/link",
        "{own}x/photo.png",
        "http://example.com/a.png",
        "file:///elsewhere/a.png",
        "//elsewhere/a.png",
        "\\elsewhere\\a.png",
        "{own}/a\0b",
        "/" + "a" * 300,
    ],
)
def test_no_other_file_is_by_address_or_by_name(ask, folder, path):
    path = path.format(own=folder)
    assert ask(f"/gradio_api/file={path}")[0] == 403
    named = {"data": [[{"deep": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]}
    status, _, text = ask(JOIN, "POST", [json.dumps(named).encode()])
    assert status == 403
    assert json.loads(text) == {
        "detail": "a picture is to be uploaded first, and named by that path"
    }
    assert ask.behind.body is None


def test_requests_that_name_uploads_go_through_as_they_came(ask, folder):
    body = json.dumps({"data": [{"path": f"{folder}/photo.png", "url": None}, 1]}).encode()
    assert ask(JOIN, "POST", [body[:9], body[9:]])[0] == 200
    assert ask.behind.body == body


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe"])
def test_what_is_not_json_is_refused(ask, body):
    assert ask(JOIN, "POST", [body])[0] == 400


def test_json_on_which_python_gives_up_is_refused(ask, monkeypatch):
    monkeypatch.setattr(json, "loads", Mock(side_effect=RecursionError))
    assert ask(JOIN, "POST", [b"{}"])[0] == 400


def test_an_upload_within_the_limit_goes_through(ask):
    assert ask(UPLOAD, "POST", [bytes(30_000), bytes(20_000)])[0] == 200
    assert len(ask.behind.body) == 50_000


def test_a_request_that_says_it_is_too_large_never_reaches_gradio(ask):
    chunks = [bytes(1000)] * 100
    status, _, text = ask(UPLOAD, "POST", chunks, content_length="100000")
    assert status == 413
    assert json.loads(text) == {"detail": "the file is larger than 0.05 MB"}
    assert ask.behind.body is None
    assert not ask.unread  # Read to its end, or the client would see a broken connection.
    assert ask(UPLOAD, "POST", [b""], content_length="many")[0] == 400


def test_one_that_does_not_say_so_is_cut_while_it_streams_in(ask):
    with pytest.raises(MultiPartException, match=r"larger than 0\.05 MB, the maximum allowed size"):
        ask(UPLOAD, "POST", [bytes(1000)] * 100)
    assert len(ask.behind.body) <= 60_000
    assert ask.unread
    status, _, text = ask(JOIN, "POST", [bytes(JSON_BYTES // 10)] * 12)
    assert status == 413
    assert json.loads(text) == {"detail": "the request is larger than 1 MB"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:7860", "LOCALHOST:7860"])
def test_on_loopback_it_answers_to_loopback_s_names(ask, host):
    assert ask("/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "", "[::1", "a:b:c"])
def test_and_to_no_others(ask, host):
    assert ask("/", host=host)[0] == 421
    if host == "example.com":
        assert ask("/", host=host, hosts=None)[0] == 200


@pytest.mark.parametrize("origin", ["http://example.com", "null", "http://127.0.0.1:9999"])
def test_other_sites_pages_are_refused(ask, origin):
    assert ask(JOIN, "POST", [b"{}"], origin=origin)[0] == 403


def test_its_own_page_is_not(ask):
    assert ask(JOIN, "POST", [b"{}"], origin="http://127.0.0.1:7860")[0] == 200


def test_an_upload_that_the_folder_has_no_room_for_is_refused(ask, folder):
    (folder / "results").mkdir()
    (folder / "results" / "a.png").write_bytes(bytes(1000))
    room = size(folder) + 50_000
    assert ask(UPLOAD, "POST", [b"x" * 10], room=room)[0] == 200
    status, headers, text = ask(UPLOAD, "POST", [b"x" * 10], room=room - 1)
    assert status == 503
    assert headers["retry-after"] == "10"
    assert "no room for more pictures" in text
    assert ask(JOIN, "POST", [b"{}"], room=room - 1)[0] == 200  # What is there can be worked on.


def test_uploads_under_way_count(folder):
    """The second is refused while the first comes, and taken once that has ended, even badly."""

    def scope(path=UPLOAD):
        headers = [(b"host", b"localhost")]
        return {"type": "http", "method": "POST", "path": path, "headers": headers}

    async def run():
        go_on, statuses = asyncio.Event(), []

        async def app(scope, receive, send):
            await go_on.wait()
            raise ConnectionError

        async def send(message):
            statuses.append(message.get("status"))

        guard = Guard(
            app, folder=folder, upload_bytes=50, folder_bytes=size(folder) + 99, hosts=None
        )
        first = asyncio.create_task(guard(scope(), None, send))
        await asyncio.sleep(0)
        await guard(scope(), None, send)
        assert statuses[0] == 503
        go_on.set()
        with pytest.raises(ConnectionError):
            await first
        with pytest.raises(ConnectionError):
            await guard(scope(), None, send)

    asyncio.run(run())
