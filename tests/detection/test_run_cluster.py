"""`python -m detection.run --cluster`: the same files and records as without."""

import pytest


@pytest.mark.soak
def test_a_cluster_finds_the_same(same_on_a_cluster):
    """Tables and data sets of all pictures, too."""
    flags = ("--csv", "OUT/a.csv", "--coco", "OUT/a.json", "--voc", "OUT/xml", "--crops", "OUT/c")
    folder = same_on_a_cluster("detection.run", "--threshold", "0.1", *flags)
    assert (folder / "xml" / "deep" / "b.xml").exists()
