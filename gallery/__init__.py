"""All five tasks on show: a web page to use them (`gallery.web`) and a demo (`gallery.demo`)."""

import atelier  # noqa: F401 - first, as it holds back TensorFlow's greeting
