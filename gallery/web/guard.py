"""The server's gate: what a request may be, judged before Gradio sees it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gallery.web import cache

JSON_BYTES = 1_000_000
"""Of a request's body that is no upload: settings, and the names of uploaded files."""

FORM_BYTES = 10_000
"""What a form adds to the file in it."""

ROUTES = {
    "GET": re.compile(
        r"/|/(healthz|config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)/?"
        r"|/(assets|static|svelte)/.+"
        r"|/gradio_api/(info|openapi\.json|startup-events|app_id|theme\.css)/?"
        r"|/gradio_api/(queue/(data|status)|upload_progress)"
        r"|/gradio_api/(heartbeat|call|file=).+"
    ),
    "POST": re.compile(
        r"/gradio_api/(upload|queue/join|cancel|reset)/?|/gradio_api/(call|run|api)/.+"
    ),
}
"""All that is served. Gradio has more: proxies, recordings, sign-ins, an editor, histories on a
hub, files of the interpreter's folders; a page of pictures has no use for them."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

HEADERS = {
    # Gradio's page has scripts and styles within it, and compiles handlers that are given as text.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class _Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class _TooMuch(MultiPartException):
    """Gradio's reader of forms removes, on this, the file that it has begun to write."""


class Guard:
    """ASGI middleware that refuses, with a status and one line, what has no business here.

    Unknown routes and hosts, other sites' pages, bodies that are too large (while they stream in,
    whatever their header says), names of files that are not in the server's folder, in addresses
    and in JSON alike. To all answers it adds the headers that keep the page to itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        folder: Path,
        upload_bytes: int,
        folder_bytes: int,
        hosts: frozenset[str] | None,
        root_path: str = "",
    ):
        """
        Args:
            app: what it guards.
            folder: of uploads and results, the only one from which files are given out.
            upload_bytes: the largest upload.
            folder_bytes: how much the folder may hold; an upload that might bring it beyond that,
                together with those under way, is refused.
            hosts: names by which the server may be called, by itself and through a proxy; None
                for any. A server that listens on loopback alone takes loopback's names alone.
            root_path: the path under which a proxy serves the page; of one that leaves it in the
                requests it is taken off.
        """
        self.app = app
        self.folder = folder.resolve()
        self.upload_bytes = upload_bytes
        self.folder_bytes = folder_bytes
        self.hosts = hosts
        self.root_path = root_path
        self._uploads = 0  # Under way.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope = self._below_root(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if message["status"] == 503:
                    headers["retry-after"] = "10"
            await send(message)

        try:
            self._check_address(scope)
            with self._room(scope):
                receive = await self._check_body(scope, receive)
                await self.app(scope, receive, send_with_headers)
        except _Refused as refused:
            response = JSONResponse({"detail": str(refused)}, refused.status)
            await response(scope, receive, send_with_headers)

    @contextlib.contextmanager
    def _room(self, scope: Scope) -> Iterator[None]:
        """Keeps room in the folder for an upload, while it is under way."""
        if scope["method"] != "POST" or not _is_upload(scope):
            yield
            return
        reserved = (self._uploads + 1) * self.upload_bytes
        if cache.size(self.folder) + reserved > self.folder_bytes:
            raise _Refused(503, "the server has no room for more pictures now; try again later")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    def _below_root(self, scope: Scope) -> Scope:
        """A request whose path begins where the page does."""
        path, root = scope["path"], self.root_path
        if not root or not (path == root or path.startswith(f"{root}/")):
            return scope
        below = path.removeprefix(root) or "/"
        return {**scope, "path": below, "raw_path": quote(below).encode()}

    def _check_address(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        names = [headers.get("host", "")]
        # What a proxy was called, of which Gradio makes its addresses.
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        if forwarded:
            names.append(forwarded)
        if self.hosts is not None and not all(_host(name) in self.hosts for name in names):
            raise _Refused(421, "this server does not answer to that name; see --allow-host")
        origin = headers.get("origin")
        if origin is not None and not self._is_own(_netloc(origin), names):
            raise _Refused(403, "requests from other sites' pages are refused")
        method, path = scope["method"], scope["path"]
        routes = ROUTES.get("GET" if method == "HEAD" else method)
        if routes is None or not routes.fullmatch(path):
            raise _Refused(404, "not found")
        marker = "/gradio_api/file="
        if path.startswith(marker) and not self._is_ours(path.removeprefix(marker)):
            raise _Refused(403, "only uploads and results are given out")

    def _is_own(self, origin: str | None, names: list[str]) -> bool:
        """Whether a page is this server's: of a name that the request was sent to, or of one that
        the server was told to answer to, as proxies may send requests under their own."""
        if origin in names:
            return True
        return self.hosts is not None and _host(origin or "") in self.hosts - LOOPBACK

    async def _check_body(self, scope: Scope, receive: Receive) -> Receive:
        """Judges the body, and gives a `receive` by which it can be read."""
        if scope["method"] != "POST":
            return receive
        upload = _is_upload(scope)
        bound = self.upload_bytes + FORM_BYTES if upload else JSON_BYTES
        size = f"{self.upload_bytes / 1e6:g}" if upload else f"{JSON_BYTES / 1e6:g}"
        reason = f"the {'file' if upload else 'request'} is larger than {size} MB"
        length = Headers(scope=scope).get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise _Refused(400, "a content-length that is no number")
        if int(length) > bound:
            await _drain(receive, bound)
            raise _Refused(413, reason)
        if upload:
            return _counted(receive, bound, reason)
        body = await _read(receive, bound, reason)
        try:
            named = tuple(_paths(json.loads(body)))
        except (ValueError, RecursionError):
            raise _Refused(400, "the request's body is not JSON") from None
        if not all(map(self._is_ours, named)):
            raise _Refused(403, "a picture is to be uploaded first, and named by that path")
        return _replayed(body, receive)

    def _is_ours(self, path: str) -> bool:
        try:
            return Path(path).is_absolute() and Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):  # A NUL byte, a name too long.
            return False


def _is_upload(scope: Scope) -> bool:
    return scope["path"].startswith("/gradio_api/upload")


def _netloc(origin: str) -> str | None:
    """The host and port of an address; None of what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _host(header: str) -> str:
    """The name in a Host header, without its port and an IPv6 address's brackets."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _paths(value: object) -> Iterator[str]:
    """All that stands for a file in a request: values of `path`, however deep."""
    if isinstance(value, dict):
        if isinstance(path := value.get("path"), str):
            yield path
        value = value.values()
    elif not isinstance(value, list):
        return
    for item in value:
        yield from _paths(item)


# === Bodies ===


def _counted(receive: Receive, bound: int, reason: str) -> Receive:
    """A `receive` that raises as soon as more than `bound` bytes have come."""
    count = 0

    async def counted() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > bound:
            # By these words Gradio answers with status 413.
            raise _TooMuch(f"{reason}, the maximum allowed size")
        return message

    return counted


async def _read(receive: Receive, bound: int, reason: str) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "the request broke off")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > bound:
            await _drain(receive, bound)
            raise _Refused(413, reason)
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that has been read, and then what else comes."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _drain(receive: Receive, bound: int) -> None:
    """Reads on for a while, and keeps nothing: most clients read no answer before they have sent
    all that they had to."""
    count, end = 0, time.monotonic() + 5
    while count < 2 * bound and time.monotonic() < end:
        message = await receive()
        count += len(message.get("body", b""))
        if not message.get("more_body", False):
            return
