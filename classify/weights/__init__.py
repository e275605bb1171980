"""Embedded classifiers: float16 weights, with the card and the history of each training."""
