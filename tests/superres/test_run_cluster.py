"""`python -m superres.run --cluster`: the same files and records as without."""

import pytest


@pytest.mark.soak
def test_a_cluster_enlarges_the_same(same_on_a_cluster):
    folder = same_on_a_cluster("superres.run", "--compare", "--scale", "3")
    assert (folder / "deep" / "b.compare.png").exists()
