"""`python -m classify.run --cluster`: the same files and records as without."""

import pytest


@pytest.mark.soak
def test_a_cluster_answers_the_same(same_on_a_cluster):
    """Sheet, table and overlays, too."""
    folder = same_on_a_cluster("classify.run", "--csv", "--gradcam", "--sheet", "3")
    assert (folder / "classes.csv").exists()
    assert (folder / "contact_sheet.png").exists()
