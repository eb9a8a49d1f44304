"""Bounds of a target's numeric options."""

from __future__ import annotations

import os

from qcompiler.errors import ConfigurationError

_THREADS_PER_CORE = 4
_ALWAYS_THREADS = 64
"""Threads that may be asked for on any machine: what is compiled may run on a larger one."""


def require_whole(target: str, option: str, value: object, least: int, most: int) -> None:
    """Makes sure that an option is a whole number within bounds.

    Raises:
        ConfigurationError: It is not.
    """
    if type(value) is not int or not least <= value <= most:
        raise ConfigurationError(
            f"{option}={value!r} is not possible for the target '{target}'",
            fix=f"give a whole number from {least} to {most}",
        )


def require_threads(target: str, threads: object) -> None:
    """Makes sure that a number of threads is None or one that engines can start.

    Raises:
        ConfigurationError: It is not. Engines start as many as they are told to, and with some
            thousands they are busy starting them for minutes.
    """
    if threads is not None:
        most = max(_ALWAYS_THREADS, _THREADS_PER_CORE * (os.cpu_count() or 1))
        require_whole(target, "threads", threads, 1, most)
