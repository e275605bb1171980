"""Photos drawn as cartoons: the report's way, a finer one, and what lies behind people."""
