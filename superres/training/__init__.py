"""Training: pairs of pictures, and the degradation models that make them."""
