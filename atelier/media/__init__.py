"""Pictures, films and masks: the one door through which every task reads and writes them."""
