"""What goes wrong with one input is one line, and the others are done."""

import pytest

from atelier import cli
from atelier.errors import OutputError
from atelier.failures import for_each
from atelier.images import load_image, save_image
from atelier.inputs import find_inputs


def test_one_bad_file_in_a_folder_fails_alone(tmp_path, photo, capsys):
    for name in ("a.png", "c.png"):
        save_image(tmp_path / name, photo)
    (tmp_path / "b.png").write_text("not a picture")
    done = []

    @cli.command
    def main(argv):
        return for_each(
            (item.name, lambda item=item: done.append(load_image(item.source)))
            for item in find_inputs(argv)
        )

    assert main([str(tmp_path)]) == 1
    assert len(done) == 2
    # The name is said once, although both the reader and the loop know it.
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'b.png'}: not a picture in a format that can be read\n"
    )
    (tmp_path / "b.png").unlink()
    assert main([str(tmp_path)]) == 0


def test_a_reason_without_the_name_gets_it(capsys):
    def fail():
        raise OutputError("the disk is full")

    assert for_each([("a.png", fail), ("b.png", lambda: None)]) == 1
    assert capsys.readouterr().err == "error: a.png: the disk is full\n"
    assert for_each([]) == 0


def test_ctrl_c_ends_the_loop():
    def stop():
        raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        for_each([("a", stop), ("b", lambda: done.append(1))])
    assert not done
