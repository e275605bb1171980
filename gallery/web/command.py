"""All five tasks on one web page: `python -m gallery.web`."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from atelier import cli
from atelier.errors import SettingsError
from gallery.web.limits import Limits, limits, set_limits

if TYPE_CHECKING:
    import gradio as gr

TABS = {
    "classify": "Classify",
    "stylize": "Stylize",
    "cartoon": "Cartoon",
    "superres": "Super-resolution",
    "detection": "Detect",
}
"""Modules of `gallery.web.tabs`, and what their tabs say."""


_ROOT = re.compile(r"(https?://[\w.:\[\]-]+)?(/[\w.~@%+-]+)*")
_NAME = re.compile(r"[\w.-]+|[0-9a-fA-F:]+")


@dataclasses.dataclass(frozen=True)
class WebArguments(Limits):
    """Serve a page on which all five tasks can be used, and their REST interface.

    It is served to this machine alone unless --host says otherwise.
    """

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all of this machine's."""
    port: int = 7860
    """The port to listen on; 0 for any that is free."""

    root_path: str = ""
    """Where a reverse proxy serves the page: a path such as /atelier, or a whole address such as
    https://example.org/atelier."""
    allow_host: tuple[str, ...] = ()
    """Names of hosts that the page may be called by, through a proxy: with any, others are refused,
    but for this machine's own. The name in --root-path is one."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "root_path", self.root_path.rstrip("/"))
        if self.root_path and not _ROOT.fullmatch(self.root_path):
            raise SettingsError(
                f"--root-path is a path such as /atelier or an address such as "
                f"https://example.org/atelier, not {self.root_path}"
            )
        for name in self.allow_host:
            if not _NAME.fullmatch(name):
                raise SettingsError(
                    f"--allow-host takes names such as example.org, without https:// and port, "
                    f"not {name}"
                )
        if not 0 <= self.port < 65536:
            raise SettingsError(f"--port is from 0 to 65535, not {self.port}")


def build_page() -> gr.Blocks:
    """The page, with its queue as long as the limits in force say."""
    import gradio as gr  # Late: it reads its settings as it is imported.

    with gr.Blocks(title="Atelier", analytics_enabled=False) as page:
        gr.HTML(
            "<h1>Atelier</h1><p>Five classic image networks. Your pictures stay on the machine "
            "that serves this page, and are deleted after a while.</p>",
            elem_id="masthead",
        )
        with gr.Tabs(elem_id="tasks"):
            for name, label in TABS.items():
                with gr.Tab(label, id=name, elem_id=f"{name}-tab"):
                    importlib.import_module(f"gallery.web.tabs.{name}").build()
    page.queue(max_size=limits().waiting, api_open=False)
    return page


@cli.command
def main(argv: Sequence[str]) -> int:
    arguments = cli.parse(WebArguments, argv, prog="python -m gallery.web")
    try:
        from gallery.web import server
    except ImportError:
        raise SettingsError(
            "the page needs Gradio: python -m pip install --editable .[web]"
        ) from None
    bound = server.listen(arguments.host, arguments.port)
    set_limits(arguments)
    with bound, server.private_folder() as folder:
        server.stay_home()
        page = build_page()
        app = server.build_app(
            page,
            folder,
            arguments.host,
            root_path=arguments.root_path,
            allowed=[name.lower() for name in arguments.allow_host],
        )
        server.serve(app, page, bound)
    return cli.DONE


def run() -> None:
    """The command as a process, which it ends: `main` has tidied up, and what the interpreter
    would do beyond that takes seconds, and pulls the ground from under a job in a long step."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
