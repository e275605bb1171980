"""Training runs: their folders, their devices, their workers."""
