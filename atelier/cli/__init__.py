"""Commands: their arguments, what they say, and one loop for jobs, here or on a cluster."""

from atelier.imports import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "arguments": ["as_flags", "field_values", "parse", "settings"],
        "console": [
            "BAD_USAGE",
            "DONE",
            "INTERRUPTED",
            "SOME_FAILED",
            "TERMINATED",
            "command",
            "print_error",
            "print_failure",
            "print_json",
            "print_note",
            "print_notes",
            "progress_bar",
            "stop_on_signal",
        ],
    },
)
