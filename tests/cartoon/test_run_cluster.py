"""`python -m cartoon.run --cluster`: the same files and records as without."""

import pytest


@pytest.mark.soak
def test_a_cluster_draws_the_same(same_on_a_cluster):
    same_on_a_cluster("cartoon.run", "--background", "navy", "--preset", "report")
