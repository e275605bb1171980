"""Hyper-parameter sweeps: which trials, and their table."""
