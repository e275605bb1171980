"""The embedded network, and its card."""
