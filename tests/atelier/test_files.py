"""Files are written whole or not at all."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from atelier.errors import OutputError
from atelier.files import atomic, atomic_path, read_table, refuse_existing, write_json, write_text
from atelier.media.images import load_image, save_image


def names(folder: Path) -> list[str]:
    """All that is in a folder, hidden files too."""
    return sorted(os.listdir(folder))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


# === atomic_path ===


def test_a_block_that_ends_well_makes_the_target_and_its_folders(tmp_path):
    target = tmp_path / "a" / "b" / "c.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent  # os.replace works within one disk only.
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["c.txt"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path, failure):
    target = tmp_path / "result.txt"
    target.write_text("earlier")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_text() == "earlier"
    assert names(tmp_path) == ["result.txt"]


def test_a_write_error_in_the_block_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*result\.txt: No space left"):  # noqa: SIM117
        with atomic_path(tmp_path / "result.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_read_error_in_the_block_is_not_called_a_write_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_path(tmp_path / "result.txt"):
        (tmp_path / "elsewhere" / "input.txt").read_text()
    assert names(tmp_path) == []


def test_a_writer_that_refuses_the_temporary_file_is_an_output_error(tmp_path):
    def write(temporary):
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))

    with pytest.raises(OutputError, match="Permission denied"), atomic_path(tmp_path / "x") as path:
        write(path)


def test_hdf5s_reason_is_found_in_its_three_lines(tmp_path):
    said = (
        "Can't synchronously write data (file write failed: time = Fri\n, filename = 'x', "
        "errno = 28, error message = 'No space left on device', buf = 0x5632)"
    )
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "x.h5"):
        raise OSError(said)
    assert str(caught.value) == f"cannot write {tmp_path / 'x.h5'}: No space left on device"


def test_permissions_are_those_of_a_file_made_plainly(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "atomic", "x")
        (tmp_path / "plain").write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_existing_file_is_replaced_only_if_that_is_wanted(tmp_path):
    target = tmp_path / "result.txt"
    write_text(target, "one", overwrite=False)
    with pytest.raises(OutputError, match="exists; choose another --out or pass --overwrite"):
        write_text(target, "two", overwrite=False)
    assert target.read_text() == "one"
    write_text(target, "three")
    assert target.read_text() == "three"


def test_a_link_stays_one_and_its_file_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    file, link = tmp_path / "far" / "file.txt", tmp_path / "link.txt"
    file.write_text("earlier")
    link.symlink_to(file)
    write_text(link, "later")
    assert link.is_symlink()
    assert file.read_text() == "later"
    assert names(tmp_path) == ["far", "link.txt"]
    assert names(tmp_path / "far") == ["file.txt"]
    (tmp_path / "new.txt").symlink_to(tmp_path / "far" / "none.txt")
    write_text(tmp_path / "new.txt", "first", overwrite=False)
    assert (tmp_path / "far" / "none.txt").read_text() == "first"


def test_a_link_that_leads_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OutputError, match=r"^cannot write .*loop"):
        write_text(tmp_path / "loop", "x")
    assert (tmp_path / "loop").is_symlink()


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"is a pipe or a device, not a file to write$"):
        write_text(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()


def test_devices_are_not_replaced():
    with pytest.raises(OutputError, match=r"is a pipe or a device, not a file to write$"):
        write_text("/dev/null", "x")
    assert not Path("/dev/null").is_file()


def test_the_mask_of_the_process_is_never_changed(tmp_path, monkeypatch):
    def refuse(mask):
        raise AssertionError("other threads' files would get other rights")

    monkeypatch.setattr(os, "umask", refuse)
    write_text(tmp_path / "x", "x")


def test_folders_without_leftovers_are_not_remembered_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_REMEMBERED", 3)
    for i in range(10):
        write_text(tmp_path / str(i) / "x", "x")
    assert len(atomic._cleaned) <= 3


def test_the_block_does_not_run_if_the_target_is_refused(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("earlier")
    ran = []
    with pytest.raises(OutputError), atomic_path(target, overwrite=False):
        ran.append(True)
    assert not ran


def test_refuse_existing_lets_new_names_through(tmp_path):
    refuse_existing(tmp_path / "new", overwrite=False)
    refuse_existing(tmp_path, overwrite=True)
    with pytest.raises(OutputError):
        refuse_existing(tmp_path, overwrite=False)


# === Places that cannot be written ===


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"/file is a file, not a folder$"):
        write_text(tmp_path / "file" / "x.txt", "x")
    with pytest.raises(OutputError, match="Not a directory"):
        write_text(tmp_path / "file" / "deeper" / "x.txt", "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is a folder, not a file to write"):
        write_text(tmp_path, "x")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc, where nothing can be written")
@pytest.mark.parametrize("target", ["/proc/x.txt", "/proc/folder/x.txt"])
def test_a_folder_that_takes_no_files_is_one_line(target):
    with pytest.raises(OutputError, match=f"^cannot write {target}: [^\n]+$"):
        write_text(target, "x")


@pytest.mark.parametrize("name", ["a\0b.txt", "a\0b/c.txt", "x" * 300 + ".txt"])
def test_a_name_that_no_file_can_have_is_an_output_error(tmp_path, name):
    with pytest.raises(OutputError, match=r"^cannot write"):
        write_text(tmp_path / name, "x")
    assert names(tmp_path) == []


def test_a_full_disk_keeps_the_earlier_file_and_leaves_no_half(small_disk):
    target = small_disk / "picture.png"
    save_image(target, noise(20))
    with pytest.raises(OutputError, match=r"cannot write .*picture\.png: No space left on device"):
        save_image(target, noise(400))
    np.testing.assert_array_equal(load_image(target), noise(20))
    assert names(small_disk) == ["picture.png"]
    with pytest.raises(OutputError, match="No space left on device"):
        write_text(small_disk / "text", "x" * 100_000)
    assert names(small_disk) == ["picture.png"]


# === Text, JSON and tables ===


def test_json_is_indented_and_takes_paths_and_any_script(tmp_path):
    write_json(tmp_path / "x.json", {"path": Path("a/b"), "names": ("é", "画")})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"path": "a/b", "names": ["é", "画"]}
    assert "画" in text
    assert text.endswith("}\n")


def test_a_value_that_json_cannot_hold_writes_nothing(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        write_json(tmp_path / "x.json", loop)
    assert names(tmp_path) == []


def test_a_table_is_read_as_text(tmp_path):
    (tmp_path / "t.csv").write_text("epoch,loss\n1,0.5\n2,\n")
    rows = read_table(tmp_path / "t.csv", key="epoch")
    assert rows == [{"epoch": "1", "loss": "0.5"}, {"epoch": "2", "loss": ""}]
    assert read_table(tmp_path / "none.csv", key="epoch") == []


@pytest.mark.parametrize(
    "content",
    [
        b"loss\n0.5\n",
        b"epoch,loss\nx,0.5\n",
        b'epoch,loss\n1,"0.5',
        b"\xff\xfe\x00epoch",
        b"\0" * 9,
    ],
)
def test_a_damaged_table_is_one_clear_line(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_bytes(content + b"\n1")
    with pytest.raises(OutputError, match=r"^.*t\.csv is damaged; mend or delete it$"):
        read_table(file, key="epoch")
