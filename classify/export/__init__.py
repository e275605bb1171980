"""Networks for other runtimes: `python -m classify.export`."""
