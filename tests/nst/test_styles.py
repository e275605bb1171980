"""The paintings that come with the package, by name."""

import numpy as np
import pytest

from atelier.errors import ImageError
from atelier.media.images import save_image
from nst import styles
from tools.paintings import PAINTINGS


def test_every_painter_has_its_painting():
    assert styles.names() == tuple(sorted(PAINTINGS))


@pytest.mark.parametrize("name", styles.names())
def test_painting_opens_by_name(name):
    image = styles.open_style(name)
    assert image.dtype == np.uint8
    assert max(image.shape) == 640
    assert image.std() > 20


def test_pictures_open_from_files_and_arrays(files, painting):
    np.testing.assert_array_equal(styles.open_style(files / "painting.png"), painting)
    np.testing.assert_array_equal(styles.open_style(painting), painting)


def test_file_without_suffix_opens(tmp_path, painting):
    save_image(tmp_path / "x.png", painting)
    (tmp_path / "x.png").rename(tmp_path / "unnamed")
    np.testing.assert_array_equal(styles.open_style(tmp_path / "unnamed"), painting)


def test_unknown_name_lists_those_that_are():
    with pytest.raises(ImageError, match="impasto, ink, mosaic") as caught:
        styles.open_style("starry")
    assert str(caught.value).startswith("starry: no such file, nor a painting by name")


def test_missing_file_is_no_name():
    with pytest.raises(ImageError, match=r"^gone\.jpg: no such file$"):
        styles.open_style("gone.jpg")
