"""The tabs of the web page, one a task."""
