"""The server of the web page: Gradio within a guarded application, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import fastapi
import uvicorn

from atelier import cli
from atelier.errors import OutputError, SettingsError
from gallery.web import cache
from gallery.web.guard import LOOPBACK, Guard
from gallery.web.limits import Limits, limits

if TYPE_CHECKING:
    import gradio as gr

SESSIONS = 64
"""Visitors whose page's state is kept; of Gradio's 10,000 each holds a copy of the page."""

SWEEP_SECONDS = 20
"""Between two looks at the folder of uploads and results, at most."""

STOP_SECONDS = 4
"""How long a job may go on once the server stops."""

ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    # Not analytics of others: Gradio's own table of events, summed up after each of them.
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Of Gradio and the libraries under it, which read it as they are imported."""


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of this server's own for uploads and results, removed at the end.

    To be entered before Gradio is imported, which is told of it.

    Raises:
        OutputError: there is no room for one.
    """
    before = tempfile.tempdir
    try:
        top = Path(tempfile.mkdtemp(prefix="atelier-")).resolve()  # Mode 0700.
        folder = top / "pictures"
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"no temporary folder can be made: {error.strerror}") from None
    try:
        os.environ.update(ENVIRONMENT, GRADIO_TEMP_DIR=str(folder))
        tempfile.tempdir = str(top)  # TensorFlow leaves files of its own.
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(top, ignore_errors=True)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        SettingsError: no such host, or the port is taken or not ours to take.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError):
        raise SettingsError(f"--host {host} is no address of this machine") from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"cannot listen on {host}:{port} ({reason}); try --port 0") from None
    return bound


def stay_home() -> None:
    """From now on this process connects to nobody but itself, and asks nobody for a name.

    Nothing here tries to; should a library come to, it gets an error.
    """

    def refuse(event: str, arguments: tuple) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            host = arguments[1][0] if isinstance(arguments[1], tuple) else None
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if host is not None and not is_loopback(host):
            raise PermissionError(f"no connections are made to others, such as {host}")

    sys.addaudithook(refuse)


def is_loopback(host: str | bytes) -> bool:
    """Whether a name or an address is this machine's own, by its looks alone."""
    host = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def build_app(
    page: gr.Blocks,
    folder: Path,
    host: str = "127.0.0.1",
    *,
    root_path: str = "",
    allowed: Iterable[str] = (),
) -> fastapi.FastAPI:
    """The ASGI application: the page and its REST interface at /, and /healthz.

    Args:
        page: with its queue set.
        folder: `private_folder`'s.
        host: at which it is served. On loopback it answers to loopback's names alone.
        root_path: where a proxy serves it: a path such as /atelier, or a whole address.
        allowed: names, in lower case, by which it is called through a proxy. If there are any, it
            answers to these and loopback's alone.
    """
    import gradio as gr

    from gallery.web.theme import THEME

    in_force, started = limits(), time.monotonic()

    @contextlib.asynccontextmanager
    async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep_forever(page, folder, in_force))
        yield
        sweeper.cancel()

    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, object]:
        return {
            "status": "ok",
            "waiting": len(page._queue),
            "uptime_seconds": round(time.monotonic() - started, 1),
        }

    page.state_session_capacity = SESSIONS
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=["api"],
        run_history=False,
        show_error=False,  # What `gallery.web.jobs` words is shown all the same; nothing else is.
        max_file_size=in_force.upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        root_path=root_path or None,
        theme=THEME,
        css_paths=[Path(__file__).parent / "style.css"],
    )
    # As after `launch`, so that Gradio, too, judges the files that a request names.
    page.has_launched = True
    address = urlsplit(root_path)
    names = {*allowed, *filter(None, [address.hostname])}
    app.add_middleware(
        Guard,
        folder=folder,
        upload_bytes=in_force.upload_bytes,
        folder_bytes=round(in_force.disk_megabytes * 1e6),
        hosts=LOOPBACK | {host} | names if names or is_loopback(host) else None,
        root_path=address.path.rstrip("/"),
    )
    return app


async def _sweep_forever(page: gr.Blocks, folder: Path, in_force: Limits) -> None:
    keep = cache.files_in(folder)  # The page's own: examples.
    pause = min(SWEEP_SECONDS, in_force.keep_minutes * 60 / 3)
    while True:
        await asyncio.sleep(pause)
        try:
            await anyio.to_thread.run_sync(cache.sweep, folder, in_force, keep)
            cache.forget(page.temp_file_sets)
        except Exception:  # One look that fails must not be the last.
            traceback.print_exc()


class _Server(uvicorn.Server):
    """Says where it listens once it does, and leaves signals to `serve`."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            cli.print_note(f"http://{host}:{port} (Ctrl-C stops it)")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(app: fastapi.FastAPI, page: gr.Blocks, bound: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C, then stops the job under way; one that is in the midst of a
    long step may still be so after `STOP_SECONDS`. A second signal waits for no answers.
    """
    from gallery.web.jobs import stop_jobs

    (mounted,) = (route.app for route in app.routes if getattr(route, "path", None) == "")
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=1000,
            timeout_graceful_shutdown=2,
        )
    )

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        stop_jobs(0)
        page._queue.close()
        page.is_running = False
        mounted.stop_event.set()  # Ends the connections by which open pages show that they live.

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await server.serve(sockets=[bound])

    asyncio.run(run())
    stop_jobs(STOP_SECONDS)
