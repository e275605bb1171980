"""All five tasks on pictures that come along, as one page: `python -m gallery.demo`."""
