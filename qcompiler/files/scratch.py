"""Temporary folders for engines that only write to files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcompiler.errors import LoweringError
from qcompiler.files.reading import cause

_FIX = "free space there, or set TMPDIR to another folder"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of one's own in the system's place for temporary files, removed afterwards.

    Raises:
        LoweringError: There is no place for it, or it is full: any `OSError` inside.
    """
    with lasting_scratch() as folder, folder:
        yield Path(folder.name)


@contextmanager
def lasting_scratch() -> Iterator[tempfile.TemporaryDirectory[str]]:
    """The same, removed when nobody holds it any more.

    Raises:
        LoweringError: See `scratch_folder`.
    """
    try:
        yield tempfile.TemporaryDirectory(prefix="qcompiler-", ignore_cleanup_errors=True)
    except OSError as error:
        raise LoweringError(
            "the folder for temporary files cannot be used", why=cause(error), fix=_FIX
        ) from error


def unfinished(path: Path, error: Exception) -> LoweringError:
    """The error for a file that an engine left cut off: it says nothing itself on a full disk."""
    return LoweringError(
        f"the engine's file {path.name} is damaged",
        where=str(path.parent),
        why=f"{cause(error)}; the folder for temporary files may be full",
        fix=_FIX,
    )
