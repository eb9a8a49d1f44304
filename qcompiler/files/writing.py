"""The one writer: files that appear whole or not at all, under whatever name the user gave.

A file is written in a hidden folder beside its place and renamed. The folder's name says which file
it is for and which process writes it, so what a killed process left is removed by the next one that
writes the same file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from qcompiler.errors import ArtifactError
from qcompiler.files.reading import Kind, cause, kind_of

_ABANDONED = 24 * 3600.0
"""Age in seconds from which a folder of another machine is taken for left over."""
_NAME = re.compile(r"\.qc-[0-9a-f]{8}-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}")


def check_destination(path: Path) -> Path:
    """Where a file of this name is written, links followed. Nothing is done yet.

    Raises:
        ArtifactError: There is no such folder, it is closed, or what is there is no regular file.
    """
    try:
        real = path.resolve()
        _check_folder(path, real.parent)
        kind = kind_of(real)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ArtifactError(
            f"cannot write {path}", why=cause(error), fix="choose another path"
        ) from error
    if kind is Kind.FOLDER:
        raise ArtifactError(f"cannot write {path}", why="it is a folder", fix="name a file in it")
    if kind is Kind.OTHER:
        raise ArtifactError(
            f"cannot write {path}",
            why="it is a device, a pipe or a socket",
            fix="name a regular file",
        )
    return real


def make_folder(path: Path) -> Path:
    """A folder, made with those above it if it is not there.

    Raises:
        ArtifactError: It cannot be made, or what is there is no folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"cannot make the folder {path}", why=cause(error), fix="choose another path"
        ) from error
    return path


def _check_folder(path: Path, folder: Path) -> None:
    if kind_of(folder) is not Kind.FOLDER:
        folder = path.parent if path.parent.resolve() == folder else folder
        raise ArtifactError(
            f"cannot write {path}", why=f"there is no folder {folder}", fix="create it first"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, f"the folder {folder} cannot be written to")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file under another name, and renames it.

    Links are followed, and an existing file's permission bits are kept.

    Args:
        path: The file.
        write: Called with a path in the same file system.

    Raises:
        ArtifactError: See `check_destination`; or the disk is full.
    """
    with staged(path) as stage:
        write(stage.new)
        stage.commit()


class Stage:
    """A hidden folder beside a file's place.

    Attributes:
        real: The file's place, links followed.
        folder: The hidden folder.
        new: Where in it the new file is written.
        token: 8 hex digits, unlike those of any other stage.
    """

    def __init__(self, real: Path) -> None:
        self.real = real
        self.token = secrets.token_hex(4)
        self.folder = real.parent / f"{_prefix(real)}{_place()}-{os.getpid()}-{self.token}"
        self.new = self.folder / "new"

    def commit(self) -> None:
        """Renames the new file into its place."""
        with suppress(FileNotFoundError):
            self.new.chmod(stat.S_IMODE(self.real.stat().st_mode))
        self.new.replace(self.real)


@contextmanager
def staged(path: Path) -> Iterator[Stage]:
    """A stage for a file, removed afterwards; leftovers of dead processes are removed first.

    Raises:
        ArtifactError: See `replace_file`.
    """
    stage = Stage(check_destination(path))
    try:
        for old in stage.real.parent.glob(f"{_prefix(stage.real)}*"):
            if _left_over(old):
                shutil.rmtree(old, ignore_errors=True)
        stage.folder.mkdir(mode=0o700)
        yield stage
    except (OSError, RuntimeError, MemoryError) as error:  # torch: RuntimeError for a full disk
        raise ArtifactError(
            f"cannot write {path}", why=cause(error), fix="choose another folder"
        ) from error
    finally:
        shutil.rmtree(stage.folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file.

    Raises:
        ArtifactError: See `replace_file`.
    """
    replace_file(path, lambda new: new.write_bytes(text.encode("utf-8", "backslashreplace")))


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by links of either kind; also if there is none yet."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        pass
    try:
        return one.resolve() == other.resolve()
    except (OSError, ValueError, RuntimeError):
        return False


def _prefix(real: Path) -> str:
    """Of the names of this file's stages; short, so that its own name may be of any length."""
    name = hashlib.blake2b(os.fsencode(real.name), digest_size=4).hexdigest()
    return f".qc-{name}-"


def _left_over(folder: Path) -> bool:
    """Whether the process that made this stage is gone.

    A process number says nothing about another machine or container that shares the disk: there
    only age counts.
    """
    found = _NAME.fullmatch(folder.name)
    if found is None:
        return False
    if found["place"] == _place():
        return not _is_alive(int(found["pid"]))
    try:
        return time.time() - folder.stat().st_mtime > _ABANDONED
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@cache
def _place() -> str:
    """Identifies the running machine and container: where a process number means one thing."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.blake2b("|".join(parts).encode(), digest_size=4).hexdigest()
