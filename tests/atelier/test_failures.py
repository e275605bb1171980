"""What goes wrong with one input is one line, and the others are done."""

import pytest

from atelier import cli
from atelier.cli.failures import for_each
from atelier.cli.inputs import find_inputs
from atelier.errors import ImageError, OutputError, SettingsError
from atelier.media.images import load_image, save_image


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


def test_a_fault_of_the_program_is_named_logged_and_the_rest_done(tmp_path, capsys):
    def fault():
        raise ZeroDivisionError("division by zero")

    done = []
    assert for_each([("a", fault), ("b", lambda: done.append(1))], out=tmp_path / "out") == 1
    log = tmp_path / "out" / "faults.log"
    assert capsys.readouterr().err == (
        f"error: a: failed unexpectedly: ZeroDivisionError: division by zero (traceback in {log})\n"
    )
    assert "in fault" in log.read_text()
    assert done


def test_settings_that_are_wrong_for_all_end_the_loop():
    def wrong():
        raise SettingsError("no such network")

    with pytest.raises(SettingsError):
        for_each([("a", wrong), ("b", lambda: pytest.fail("went on"))])


def test_the_name_of_an_input_is_said_once_and_never_left_out(capsys):
    for name in ("a", "out/a.png", "a.png"):
        cli.print_failure(name, ImageError("out/a.png: a broken file"))
    assert capsys.readouterr().err.splitlines() == [
        "error: a: out/a.png: a broken file" if name == "a" else "error: out/a.png: a broken file"
        for name in ("a", "out/a.png", "a.png")
    ]
