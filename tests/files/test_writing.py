"""The one writer: whole files, under any name, over nothing else, with nothing left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qcompiler.errors import ArtifactError
from qcompiler.files import writing
from qcompiler.files.writing import check_destination, replace_file, same_file, staged, write_text


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "real", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [each.name for each in (tmp_path / "far").iterdir()] == ["real"]


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "not yet")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "not yet").read_text() == "new"


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to folder", "loop", "null", "missing"])
def test_what_is_no_regular_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "o"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to folder":
        path.symlink_to(tmp_path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "null":
        path = Path("a\0b")
    else:
        path = tmp_path / "none" / "o"
    before = None if kind in ("null", "missing") else stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(ArtifactError, match="cannot write"):
        check_destination(path)
    with pytest.raises(ArtifactError, match="cannot write"):
        write_text(path, "new")
    if before is not None:
        assert stat.S_IFMT(path.lstat().st_mode) == before


def test_permission_bits_of_an_existing_file_stay_and_new_files_follow_the_mask(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        write_text(old, "again")
        write_text(new, "first")
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_text(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(ArtifactError, match="name too long"):
        write_text(tmp_path / ("n" * 256), "new")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "o"
    path.write_text("old")

    def fail(new: Path) -> None:
        new.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match="No space left"):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path, failed = tmp_path / "o", []

    def write(text: str) -> None:
        for _ in range(40):
            try:
                write_text(path, text)
            except ArtifactError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(each * 1000,)) for each in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert list(tmp_path.iterdir()) == [path]


_KILLED = """
import os, signal, sys
from pathlib import Path
from qcompiler.files.writing import replace_file
def write(new):
    new.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path(sys.argv[1]), write)
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "o"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert done.returncode < 0
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "other", "new")
    assert len(list(tmp_path.iterdir())) == 2, "another file's leftovers are not ours to judge"
    write_text(path, "new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["o", "other"]


def test_what_living_processes_and_other_machines_write_stays(tmp_path: Path) -> None:
    path = tmp_path / "o"
    with staged(path) as stage:
        with staged(path):
            assert stage.folder.is_dir()
        assert stage.folder.is_dir()
        name = stage.folder.name
    foreign = tmp_path / name.replace(writing._place(), "0" * 8)
    foreign.mkdir()
    write_text(path, "new")
    assert foreign.is_dir(), "its process number says nothing here"
    old = time.time() - 2 * 24 * 3600
    os.utime(foreign, (old, old))
    write_text(path, "new")
    assert not foreign.exists()


def test_one_file_under_several_names(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("1")
    os.link(one, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(one)
    assert same_file(one, tmp_path / "hard")
    assert same_file(one, tmp_path / "soft")
    assert same_file(tmp_path / "none", tmp_path / "." / "x" / ".." / "none")
    assert not same_file(one, tmp_path / "none")
    assert not same_file(Path("a\0b"), one)
