"""Ray: its connection, batches of jobs, functions over rows, and the trials of a sweep."""

from atelier.imports import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, {"connection": ["check_address", "connected", "count_room"]}
)
