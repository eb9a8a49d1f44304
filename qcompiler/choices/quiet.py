"""Keeps what a C library prints off the user's standard output."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1
_LOCK = threading.RLock()


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """Sends file descriptor 1 to nowhere for a short call.

    HiGHS prints some messages whatever its options say (`HighsMipSolverData::...`). What Python
    wrote before is flushed first. One thread at a time; without a standard output nothing is done.
    """
    with _LOCK:
        try:
            saved = os.dup(_STDOUT)
        except OSError:
            yield
            return
        try:
            sys.stdout.flush()
            _flush_c()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDOUT)
            os.close(nowhere)
            try:
                yield
            finally:
                _flush_c()
                os.dup2(saved, _STDOUT)
        finally:
            os.close(saved)


def _flush_c() -> None:
    """C's own buffer would otherwise be written after the descriptor is back."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
