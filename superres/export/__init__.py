"""Networks for other runtimes: `python -m superres.export`."""
