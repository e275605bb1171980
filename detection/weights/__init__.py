"""Embedded detectors as float16, with their cards."""
