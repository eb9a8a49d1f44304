"""Where the command line's messages go, and how it ends when something is wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from qcompiler.errors import ConfigurationError, QCompilerError


@contextmanager
def reported() -> Iterator[None]:
    """Turns our errors into a message and an exit code, without a traceback."""
    try:
        yield
    except QCompilerError as error:
        complain(f"error: {error}")
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error
    except KeyboardInterrupt as error:
        complain("interrupted")
        raise typer.Exit(130) from error
    except MemoryError as error:
        complain("error: there is not enough memory")
        raise typer.Exit(1) from error


@contextmanager
def guarded_output() -> Iterator[None]:
    """Ends with a message where standard output takes no more, as on a full disk.

    What the terminal's encoding does not have is shown escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except OSError as error:  # of files, our own errors say more
        _abandon_output()
        complain(f"error: cannot write the output: {error.strerror or error}")
        raise SystemExit(1) from error


def complain(text: str) -> None:
    """A line on standard error, if that still works."""
    with suppress(OSError):
        typer.echo(text, err=True)


def _abandon_output() -> None:
    """What is still buffered would fail again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
