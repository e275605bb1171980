"""The command, and the page that it serves."""

import json
import socket
import subprocess
import sys

import pytest

from gallery.web import command
from gallery.web.jobs import JOB

TASKS = {"classify", "stylize", "cartoonize", "upscale", "detect"}


@pytest.fixture(scope="module")
def config(server) -> dict:
    """What the browser is told of the page."""
    status, text = server.get("/config")
    assert status == 200
    return json.loads(text)


def test_the_page_has_a_tab_for_each_task(config):
    tabs = [part["props"]["label"] for part in config["components"] if part["type"] == "tabitem"]
    assert tabs == ["Classify", "Stylize", "Cartoon", "Super-resolution", "Detect"]
    assert config["title"] == "Atelier"


def test_each_task_has_an_endpoint_that_waits_for_its_turn(server):
    _, text = server.get("/gradio_api/info")
    endpoints = json.loads(text)["named_endpoints"]
    assert {name.removeprefix("/") for name in endpoints} == TASKS
    for name, endpoint in endpoints.items():
        assert endpoint["description"], name
    assert JOB["concurrency_limit"] == 1


def test_no_endpoint_can_be_called_past_the_queue(server, config):
    for dependency in config["dependencies"]:
        if dependency["api_name"] in TASKS:
            assert dependency["queue"]
            status, _ = server.post(f"/gradio_api/run/{dependency['api_name']}", {"data": []})
            assert status == 404


def test_nothing_of_gradio_s_that_goes_elsewhere_is_on(config):
    assert not config["analytics_enabled"]
    assert not config["run_history"]
    assert not config.get("mcp_server")
    assert not config.get("stylesheets")  # Fonts come from the visitor's own machine.


def test_no_connection_is_made_while_a_page_is_served_and_used(server):
    for path in ("/", "/config", "/theme.css", "/manifest.json", "/favicon.ico", "/healthz"):
        assert server.get(path)[0] == 200
    assert server.call("classify", None, "squeeze")[0] == "error"
    made = server.connections.read_text().splitlines()
    assert [line for line in made if "'127.0.0.1'" not in line and "(0, 0," not in line] == []


def test_in_a_browser_the_page_asks_nobody_else(server, browser):
    page = browser.new_page()
    asked, refused = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: refused.append(message.text))
    try:
        page.goto(server.url)
        for label in ("Stylize", "Cartoon", "Super-resolution", "Detect", "Classify"):
            page.get_by_role("tab", name=label, exact=True).click(timeout=60_000)
        page.wait_for_timeout(1000)
    finally:
        page.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    assert [text for text in refused if "Content Security Policy" in text] == []


def test_mistakes_on_the_command_line_are_one_line(error_line):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert command.main(["--port", port]) == 2
        assert f"cannot listen on 127.0.0.1:{port}" in error_line()
    for flags, said in (
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid is no address"),
        (["--port", "70000"], "--port is from 0 to 65535, not 70000"),
        (["--seconds", "0"], "--seconds must be more than 0"),
        (["--waiting", "few"], "--waiting"),
    ):
        assert command.main(flags) == 2
        assert said in error_line()


def test_without_gradio_it_says_what_to_install(error_line, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "gallery.web.server", raising=False)
    monkeypatch.delattr("gallery.web.server", raising=False)
    assert command.main([]) == 2
    assert ".[web]" in error_line()


def test_help_names_every_limit():
    said = subprocess.run(
        [sys.executable, "-m", "gallery.web", "--help"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    for flag in ("host", "port", "upload-megabytes", "megapixels", "waiting", "seconds"):
        assert f"--{flag}" in said
