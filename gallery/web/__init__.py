"""All five tasks on one web page, with a REST interface: `python -m gallery.web`."""
