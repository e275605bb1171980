"""`python -m detection.run --cluster`: the same files and records as without."""

import pytest

from detection.run import main


@pytest.mark.soak
def test_a_cluster_finds_the_same(same_on_a_cluster):
    """Tables and data sets of all pictures, too."""
    flags = ("--csv", "OUT/a.csv", "--coco", "OUT/a.json", "--voc", "OUT/xml", "--crops", "OUT/c")
    folder = same_on_a_cluster("detection.run", "--threshold", "0.1", *flags)
    assert (folder / "xml" / "deep" / "b.xml").exists()


def test_tables_of_frames_are_refused_on_a_cluster(tmp_path, error_line):
    flags = ["--out", str(tmp_path / "out"), "--csv", str(tmp_path / "a.csv"), "--cluster", "auto"]
    assert main([str(tmp_path / "film.mp4"), *flags]) == 2
    assert "film.mp4 is a video: with --cluster, --csv takes pictures" in error_line()
    assert not (tmp_path / "out").exists()
