"""Runs `gallery.web.command`."""

from gallery.web.command import run

run()
