"""A coverage-guided search for files that break what reads them: `python -m fuzz`."""
