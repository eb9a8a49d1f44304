"""The door for files that are read: whatever goes wrong becomes an error that names the file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from os import PathLike, fspath
from pathlib import Path

from qcompiler.errors import ConfigurationError, QCompilerError

_LONGEST = 400
"""Characters of a foreign error's text that are shown: some quote the file."""


class Kind(Enum):
    """What is at a path, links followed."""

    MISSING = auto()
    FILE = auto()
    FOLDER = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Door:
    """How one kind of file is read, and what a failure is called.

    Attributes:
        noun: What it is, such as `the plan`.
        error: Class of its errors.
        fix: What the user can do.
        passing: Errors that are raised inside and say enough as they are; those of the class
            `error` always do.
    """

    noun: str
    error: type[QCompilerError]
    fix: str | None = None
    passing: tuple[type[QCompilerError], ...] = ()

    @contextmanager
    def reading(self, path: Path | str | None, place: str | None = None) -> Iterator[None]:
        """Everything that is done with the content of the file happens inside.

        A damaged file makes its readers raise nearly anything (`struct.error`, `RecursionError`,
        `MemoryError`, an `AttributeError` of a field of another type), so every exception is taken
        for damage; it stays the `__cause__`.

        Args:
            path: The file; None for what is in memory.
            place: Where in it, such as `array 'x'`.

        Raises:
            QCompilerError: Of the class `error`; one that is raised inside passes through.
        """
        try:
            yield
        except (self.error, *self.passing):
            raise
        except QCompilerError as error:
            fix = error.fix or self.fix
            raise self.failure(path, cause(error), place or error.where, fix) from error
        except Exception as error:
            raise self.failure(path, cause(error), place) from error

    def failure(
        self, path: Path | str | None, why: str, place: str | None = None, fix: str | None = None
    ) -> QCompilerError:
        """The error for this file."""
        what = f"cannot read {self.noun}" + ("" if path is None else f" {path}")
        return self.error(what, where=place, why=why, fix=fix or self.fix)

    def kind(self, path: Path) -> Kind:
        """What is at the path.

        Raises:
            QCompilerError: It cannot be told: a closed folder above, a name that is too long.
        """
        with self.reading(path):
            return kind_of(path)

    def require_file(self, path: Path) -> None:
        """Makes sure that there is a regular file: reading a device or a pipe may never end.

        Raises:
            QCompilerError: There is none.
        """
        reason = {
            Kind.MISSING: "there is no such file",
            Kind.FOLDER: "it is a folder",
            Kind.OTHER: "it is no regular file",
        }.get(self.kind(path))
        if reason is not None:
            raise self.failure(path, reason)

    def text(self, path: Path) -> str:
        """The content of a UTF-8 file.

        Raises:
            QCompilerError: Missing, not readable, not UTF-8.
        """
        self.require_file(path)
        with self.reading(path):
            return path.read_text(encoding="utf-8")


def as_path(given: object, what: str) -> Path:
    """What a user gives for a path.

    Raises:
        ConfigurationError: It is none: None, a number, an open file, bytes.
    """
    if isinstance(given, str | PathLike):
        named = fspath(given)
        if isinstance(named, str):
            return Path(named)
    raise ConfigurationError(
        f"{what} is given as a {type(given).__name__}", fix="give a path: a str or a pathlib.Path"
    )


def kind_of(path: Path) -> Kind:
    """What is at the path.

    Raises:
        OSError: It cannot be told.
        ValueError: The path has a null character.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return Kind.MISSING
    if stat.S_ISDIR(mode):
        return Kind.FOLDER
    return Kind.FILE if stat.S_ISREG(mode) else Kind.OTHER


def cause(error: BaseException) -> str:
    """What an error says, for a user: never empty, and without the quotation of a whole file."""
    while type(error).__name__ == "SerdeError" and error.__cause__ is not None:
        error = error.__cause__  # of onnx-ir, which says at each level what it was doing
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case IsADirectoryError():
            return "it is a folder"
        case OSError():
            return error.strerror or _text(error)
        case UnicodeDecodeError():
            return f"byte {error.start} is not part of a UTF-8 text"
        case RecursionError():
            return "it is nested too deep"
        case MemoryError():
            return "it needs more memory than there is"
        case KeyError():
            return f"there is no entry {error}"
        case QCompilerError():
            return error.what + (f": {error.why}" if error.why else "")
    return _text(error)


def _text(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
