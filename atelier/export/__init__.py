"""Other forms of networks, and the runtimes that run them."""
