"""All five tasks on show: a web page to use them (`gallery.web`) and a demo (`gallery.demo`)."""
