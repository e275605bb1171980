"""Training of the person segmenter: its data, loss and teachers; the command is `cartoon.train`."""
