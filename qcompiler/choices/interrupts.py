"""Ctrl-C while a C library computes: Python sees the signal only once the call returns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_TICK = 0.05
"""Seconds between looks: a lock that is waited for without an end keeps signals off on Windows."""


def interruptible(call: Callable[[], T]) -> T:
    """The result of a call that lets go of the interpreter's lock, made in a thread of its own.

    A KeyboardInterrupt in the caller ends the waiting at once. The call itself cannot be stopped:
    it has to end by a time limit of its own, and its result is dropped.

    Raises:
        BaseException: Whatever the call raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="qcompiler-interruptible", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_TICK)
    if errors:
        raise errors[0]
    return results[0]
