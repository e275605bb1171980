"""Super-resolution by a 2,560-weight quantised CNN (Kim et al.)."""
