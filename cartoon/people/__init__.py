"""People cut out of photos: the networks, and what refines their masks."""
