"""The way down: the loss of an image, its terms, and the optimisers that lower it."""
