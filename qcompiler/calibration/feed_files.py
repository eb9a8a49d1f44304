"""Calibration data on disk: an `.npz` file, or a folder of `.npz` files with one feed each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy.typing as npt

from qcompiler.calibration.array_rows import Archive, Rows
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.files.reading import Door, Kind
from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]
_RAGGED = re.compile(r"in_(\d{1,18})_(.+)")
_FIRST_AXIS = "the first axis of every array counts samples; use keys in_<i>_<input> otherwise"


@dataclass(frozen=True)
class FeedFiles(Sequence[Feed]):
    """Feeds read from disk one by one; can be iterated again.

    Forms:
        - A folder: each `.npz` in it, by name, is one feed with the input names as keys.
        - An `.npz` with keys `in_<i>_<input>`: feed i, for feeds of unequal shapes.
        - Any other `.npz`: arrays [samples, ...] by input name, cut into feeds of `batch` samples.
          The last feed is shorter when the samples do not divide.

    Attributes:
        path: The file or folder.
        batch: Samples in one feed, for the last form.

    Raises:
        CalibrationError: Missing, unreadable or empty, or arrays of unequal sample counts.
        ConfigurationError: `batch` is below 1.
    """

    path: Path
    batch: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigurationError(f"the batch has to be 1 or more, not {self.batch}")
        if len(self) == 0:
            raise CalibrationError("no calibration data", where=str(self.path))

    def __len__(self) -> int:
        if _FEEDS.kind(self.path) is Kind.FOLDER:
            return len(self._members())
        with _opened(self.path) as archive:
            feeds = _ragged_keys(archive.names)
            return (
                math.ceil(_samples(archive, self.path) / self.batch)
                if feeds is None
                else len(feeds)
            )

    @overload
    def __getitem__(self, index: int) -> Feed: ...

    @overload
    def __getitem__(self, index: slice) -> list[Feed]: ...

    def __getitem__(self, index: int | slice) -> Feed | list[Feed]:
        count = len(self)
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(count))]
        wanted = index + count if index < 0 else index
        if not 0 <= wanted < count:
            raise IndexError(f"feed {index} of {count}")
        return next(self._from(wanted))

    def __iter__(self) -> Iterator[Feed]:
        return self._from(0)

    @property
    def files(self) -> list[Path]:
        """The files that feeds are read from."""
        return self._members() if _FEEDS.kind(self.path) is Kind.FOLDER else [self.path]

    def _from(self, begin: int) -> Iterator[Feed]:
        """The feeds from number `begin` on."""
        if _FEEDS.kind(self.path) is Kind.FOLDER:
            return _one_per_file(self._members()[begin:])
        return _from_archive(self.path, self.batch, begin)

    def _members(self) -> list[Path]:
        with _FEEDS.reading(self.path):
            return sorted(each for each in self.path.iterdir() if each.name.endswith(".npz"))


def _one_per_file(members: list[Path]) -> Iterator[Feed]:
    for member in members:
        with _opened(member) as archive:
            yield {name: _whole(archive, name, member) for name in archive.names}


def _from_archive(path: Path, batch: int, begin: int) -> Iterator[Feed]:
    with _opened(path) as archive:
        feeds = _ragged_keys(archive.names)
        if feeds is not None:
            for keys in feeds[begin:]:
                yield {name: _whole(archive, key, path) for name, key in keys.items()}
            return
        count = _samples(archive, path)
        arrays: dict[str, Rows] = {}
        for name in archive.names:
            with _FEEDS.reading(path, f"array '{name}'"):
                arrays[name] = archive.rows(name, begin * batch)
        for _ in range(begin * batch, count, batch):
            yield {name: _taken(rows, batch, name, path) for name, rows in arrays.items()}


_FEEDS = Door(
    "calibration data from",
    CalibrationError,
    fix="give an .npz file with one array for each input, or a folder of .npz files; "
    "numpy.savez(path, input_name=array) writes one",
)


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    _FEEDS.require_file(path)
    with _FEEDS.reading(path):
        archive = Archive(path)
    with archive:
        yield archive


def _whole(archive: Archive, key: str, path: Path) -> Array:
    with _FEEDS.reading(path, f"array '{key}'"):
        return archive.whole(key)


def _taken(rows: Rows, count: int, name: str, path: Path) -> Array:
    with _FEEDS.reading(path, f"array '{name}'"):
        return rows.take(count)


def _ragged_keys(keys: list[str]) -> list[dict[str, str]] | None:
    """Input name → key for every feed, in order of their numbers; None for another form."""
    matches = [_RAGGED.fullmatch(key) for key in keys]
    feeds: dict[int, dict[str, str]] = {}
    for match in matches:
        if match is None:
            return None
        feeds.setdefault(int(match[1]), {})[match[2]] = match[0]
    return [feeds[number] for number in sorted(feeds)]


def _samples(archive: Archive, path: Path) -> int:
    """The number of samples that all arrays have."""
    counts: dict[str, int] = {}
    for name in archive.names:
        with _FEEDS.reading(path, f"array '{name}'"):
            shape = archive.header(name).shape
        if not shape:
            raise CalibrationError(
                f"array '{name}' of {path} is a single number",
                fix=_FIRST_AXIS,
            )
        counts[name] = shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise CalibrationError(
            f"the arrays of {path} have unequal numbers of samples",
            why=listed,
            fix=_FIRST_AXIS,
        )
    return next(iter(counts.values()), 0)
