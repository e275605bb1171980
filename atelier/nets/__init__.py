"""Networks that tasks share: their layers, published weights, precision."""
