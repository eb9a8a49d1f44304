"""Where the command line's messages go, and how it ends when something is wrong."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qcompiler.errors import RAISED, ConfigurationError, QCompilerError

if TYPE_CHECKING:
    from qcompiler.compiled import Compiled

DEBUG = ContextVar("debug", default=False)
"""Whether errors are shown with their tracebacks."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""
_PASSED = (typer.Exit, typer.Abort, typer.BadParameter)
"""What typer handles; OSErrors of our own are for `guarded_output`."""


@contextmanager
def reported() -> Iterator[None]:
    """Turns errors into a message and an exit code; without --debug there is no traceback."""
    try:
        yield
    except OSError as error:
        if not _from_user(error):
            raise
        _tell(error, _unexpected(error))
        raise typer.Exit(1) from error
    except _PASSED:
        raise
    except QCompilerError as error:
        _tell(error, str(error))
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error
    except KeyboardInterrupt as error:
        complain("interrupted")
        raise typer.Exit(INTERRUPTED) from error
    except MemoryError as error:
        _tell(error, "there is not enough memory")
        raise typer.Exit(1) from error
    except Exception as error:  # a fault of ours, or of a function that was given
        _tell(error, _unexpected(error))
        raise typer.Exit(1) from error


def with_debug_first(arguments: Sequence[str]) -> list[str]:
    """--debug is an option of the whole command, and may be written anywhere before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--debug" not in arguments[:end]:
        return list(arguments)
    rest = [each for each in arguments[:end] if each != "--debug"]
    return ["--debug", *rest, *arguments[end:]]


def _tell(error: BaseException, text: str) -> None:
    if DEBUG.get():
        complain("".join(traceback.format_exception(error)))
    complain(f"error: {text}")


def _unexpected(error: Exception) -> str:
    """An error that is not ours in the form of one that is."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    whose = _from_user(error)
    mend = "mend that function; --debug shows the traceback"
    again = "run it again with --debug for the traceback, and report that"
    failure = QCompilerError(
        f"{type(error).__name__}: {error}"[:400],
        where=f"{frame.filename}:{frame.lineno}, in {frame.name}",
        why=whose or "this is a fault of qcompiler, or of a function that was given",
        fix=mend if whose else again,
    )
    return str(failure)


def _from_user(error: BaseException) -> str:
    """Which call of the user's code raised it, as `users_code` notes; empty for other errors."""
    return "; ".join(note for note in getattr(error, "__notes__", ()) if note.startswith(RAISED))


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
        what = "cannot write the output" if error.filename is None else str(error.filename)
        complain(f"error: {what}: {error.strerror or error}")
        raise SystemExit(1) from error


def complain(text: str) -> None:
    """A line on standard error, if that still works."""
    with suppress(OSError):
        typer.echo(text, err=True)


def _abandon_output() -> None:
    """What is still buffered would fail again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain_of_format(compiled: Compiled, output: Path) -> None:
    """Says so where the fastest of several engines writes another format than the name promises."""
    from qcompiler.execution.stamp import is_onnx

    if not compiled.report.engines or output.suffix != ".onnx":
        return
    with output.open("rb") as opened:
        own = not is_onnx(opened.read(16))
    if own:
        name = compiled.target.name
        complain(f"note: {output} is in the format of {name}, which qcompiler.load_compiled opens")
