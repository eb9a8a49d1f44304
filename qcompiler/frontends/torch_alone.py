"""torch.export keeps what it traces in globals of the process: one capture at a time.

A module that another thread runs meanwhile finds them, and the stand-ins of its own parameters.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Turns:
    """A lock that a forked child finds open: the thread that holds it is not there."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.lock = threading.RLock()


_TURNS = _Turns()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Waits until no other thread captures, translates or lowers with torch, or runs a source."""
    with _TURNS.lock:
        yield
