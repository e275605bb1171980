"""Programs that made what is committed; they are not installed."""
