"""Networks for other runtimes: `python -m detection.export`."""
