"""Fixed point: its rounding, the search of binary points, and the network in whole numbers."""
