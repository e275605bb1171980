"""The report's network: its layers, its topology for all runtimes, and the older ones beside it."""
