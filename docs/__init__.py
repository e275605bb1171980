"""The pages, and the programs that make their pictures and the reference."""
