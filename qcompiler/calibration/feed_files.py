"""Calibration data on disk: an `.npz` file, or a folder of `.npz` files with one feed each."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]
_RAGGED = re.compile(r"in_(\d+)_(.+)")


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
        if self.path.is_dir():
            return len(self._members())
        with _open(self.path) as archive:
            ragged = _ragged_keys(archive.files)
            if ragged is not None:
                return len(ragged)
            shapes = {name: _shape(archive, name) for name in archive.files}
        return math.ceil(_samples(shapes, self.path) / self.batch)

    @overload
    def __getitem__(self, index: int) -> Feed: ...

    @overload
    def __getitem__(self, index: slice) -> list[Feed]: ...

    def __getitem__(self, index: int | slice) -> Feed | list[Feed]:
        if isinstance(index, slice):
            return list(self)[index]
        wanted = index + len(self) if index < 0 else index
        for position, feed in enumerate(self):
            if position == wanted:
                return feed
        raise IndexError(f"feed {index} of {len(self)}")

    def __iter__(self) -> Iterator[Feed]:
        if self.path.is_dir():
            return _one_per_file(self._members())
        return _from_archive(self.path, self.batch)

    def _members(self) -> list[Path]:
        return sorted(self.path.glob("*.npz"))


def _one_per_file(members: list[Path]) -> Iterator[Feed]:
    for member in members:
        with _open(member) as archive:
            yield {name: _read(archive, name, member) for name in archive.files}


def _from_archive(path: Path, batch: int) -> Iterator[Feed]:
    with _open(path) as archive:
        ragged = _ragged_keys(archive.files)
        if ragged is not None:
            for keys in ragged:
                yield {name: _read(archive, key, path) for name, key in keys.items()}
            return
        arrays = {name: _read(archive, name, path) for name in archive.files}
    count = _samples({name: array.shape for name, array in arrays.items()}, path)
    for begin in range(0, count, batch):
        yield {name: array[begin : begin + batch] for name, array in arrays.items()}


def _open(path: Path) -> Any:
    """The archive, closed by `with`; arrays are read when they are asked for."""
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise CalibrationError(
            f"cannot read calibration data from {path}",
            why=reason,
            fix="give an .npz file with one array for each input, or a folder of .npz files",
        ) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise CalibrationError(
            f"{path} is no .npz file", fix="write it with numpy.savez(path, input_name=array)"
        )
    return archive


def _ragged_keys(keys: list[str]) -> list[dict[str, str]] | None:
    """Input name → key for every feed, in order of their numbers; None for another form."""
    matches = [_RAGGED.fullmatch(key) for key in keys]
    feeds: dict[int, dict[str, str]] = {}
    for match in matches:
        if match is None:
            return None
        feeds.setdefault(int(match[1]), {})[match[2]] = match[0]
    return [feeds[number] for number in sorted(feeds)]


def _shape(archive: Any, name: str) -> tuple[int, ...]:
    """Shape from the array's header: the data is not read."""
    with archive.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        return tuple(read(file)[0])


def _read(archive: Any, key: str, path: Path) -> Array:
    try:
        array: Array = archive[key]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"cannot read array '{key}' of {path}", why=str(error)) from error
    return array


def _samples(shapes: Mapping[str, tuple[int, ...]], path: Path) -> int:
    """The number of samples that all arrays have."""
    counts = {name: shape[0] if shape else 0 for name, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise CalibrationError(
            f"the arrays of {path} have unequal numbers of samples",
            why=listed,
            fix="the first axis of every array counts samples; use keys in_<i>_<input> otherwise",
        )
    return next(iter(counts.values()), 0)
