"""Files: written whole or not at all, read within bounds, locked by one run at a time."""

from atelier.imports import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "atomic": ["atomic_path", "check_writable", "refuse_existing", "remove_leftovers"],
        "locks": ["hold", "locked"],
        "reading": ["files_below", "read_bounded", "read_table"],
        "writing": ["write_json", "write_stream", "write_table", "write_text"],
    },
)
