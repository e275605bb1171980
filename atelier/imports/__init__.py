"""Imports: names loaded when first used, and TensorFlow without its greeting."""
