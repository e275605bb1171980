"""Training: pictures and their augmentation, schemes, and the measures beside it."""
