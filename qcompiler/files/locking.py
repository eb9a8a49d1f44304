"""A lock on a folder, for several renames that belong together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_LONGEST = 10.0
"""Seconds to wait: renames take none, so a lock that is held longer is somebody else's."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other threads and processes that use this function out of the folder.

    Where a file system has no locks (some network disks, Windows) nothing is kept out.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _acquire(handle)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int) -> None:
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return
        else:
            return
