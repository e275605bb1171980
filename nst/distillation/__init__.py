"""Distillation of the feature network: its teacher and its data; the command is `nst.train`."""
