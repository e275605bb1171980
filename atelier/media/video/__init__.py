"""What a film holds beside its frames: tracks, colour matrices, fields, high dynamic range."""
