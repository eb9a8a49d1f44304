"""Feeds in `.npz` archives: one feed in each, numbered ones, or samples along the first axis."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from qcompiler.calibration.array_rows import Archive, Rows
from qcompiler.errors import CalibrationError
from qcompiler.files.reading import Door
from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]
_RAGGED = re.compile(r"in_(\d{1,18})_(.+)")
_POSITION = re.compile(r"arr_(\d{1,3})")
FIRST_AXIS = "the first axis of every array counts samples; use keys in_<i>_<input> otherwise"
FEEDS = Door(
    "calibration data from",
    CalibrationError,
    fix="give an .npz file with one array for each input, an .npy file, images, or a folder of "
    "them; numpy.savez(path, input_name=array) writes one",
)


@dataclass(frozen=True)
class ArchiveFeeds:
    """The feeds of one archive.

    Attributes:
        path: The file.
        batch: Samples in one feed, unless its keys are `in_<i>_<input>`.
        inputs: Names of the model's inputs in order; empty if they are not known.
    """

    path: Path
    batch: int
    inputs: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        return [self.path]

    @property
    def renamed(self) -> dict[str, str]:
        """Arrays that stand for an input of another name, those by position left out."""
        with opened(self.path) as archive:
            return taken_for(archive.names, self.inputs)

    def __len__(self) -> int:
        with opened(self.path) as archive:
            feeds = _ragged_keys(archive.names)
            if feeds is not None:
                return len(feeds)
            return math.ceil(_samples(archive, self.path) / self.batch)

    def read(self, begin: int) -> Iterator[Feed]:
        """The feeds from number `begin` on."""
        with opened(self.path) as archive:
            feeds = _ragged_keys(archive.names)
            if feeds is not None:
                for keys in feeds[begin:]:
                    yield {name: whole(archive, key, self.path) for name, key in keys.items()}
                return
            yield from self._cut(archive, begin)

    def _cut(self, archive: Archive, begin: int) -> Iterator[Feed]:
        count = _samples(archive, self.path)
        inputs = named(archive.names, self.inputs)
        arrays: dict[str, Rows] = {}
        for name in archive.names:
            with FEEDS.reading(self.path, f"array '{name}'"):
                arrays[name] = archive.rows(name, begin * self.batch)
        for _ in range(begin * self.batch, count, self.batch):
            yield {inputs[name]: self._taken(rows, name) for name, rows in arrays.items()}

    def _taken(self, rows: Rows, name: str) -> Array:
        with FEEDS.reading(self.path, f"array '{name}'"):
            return rows.take(self.batch)


@dataclass(frozen=True)
class ArchivePerFeed:
    """One feed in each archive, in this order."""

    files: list[Path]
    inputs: tuple[str, ...] = ()

    @property
    def renamed(self) -> dict[str, str]:
        with opened(self.files[0]) as archive:
            return taken_for(archive.names, self.inputs)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, begin: int) -> Iterator[Feed]:
        """The feeds from number `begin` on."""
        for path in self.files[begin:]:
            with opened(path) as archive:
                inputs = named(archive.names, self.inputs)
                yield {inputs[name]: whole(archive, name, path) for name in archive.names}


def named(names: Sequence[str], inputs: Sequence[str]) -> dict[str, str]:
    """The input that each array is for.

    `numpy.savez(path, a, b)` names arrays `arr_0`, `arr_1`: those are taken in the order of the
    inputs. The only array is the only input, whatever it is called. Otherwise names are names.
    """
    positions = [_POSITION.fullmatch(name) for name in names]
    if len(names) != len(inputs) or set(names) == set(inputs):
        return {name: name for name in names}
    if all(positions):
        ranks = sorted(names, key=lambda name: int(name[4:]))
        return dict(zip(ranks, inputs, strict=True))
    return {names[0]: inputs[0]} if len(names) == 1 else {name: name for name in names}


def taken_for(names: Sequence[str], inputs: Sequence[str]) -> dict[str, str]:
    """What `named` renames because there is one of each: worth a word to the user."""
    found = named(names, inputs).items()
    return {name: to for name, to in found if name != to and not _POSITION.fullmatch(name)}


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive, open; damage is an error of ours."""
    FEEDS.require_file(path)
    with FEEDS.reading(path):
        archive = Archive(path)
    with archive:
        yield archive


def whole(archive: Archive, key: str, path: Path) -> Array:
    """One array of it."""
    with FEEDS.reading(path, f"array '{key}'"):
        return archive.whole(key)


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
        with FEEDS.reading(path, f"array '{name}'"):
            shape = archive.header(name).shape
        if not shape:
            raise CalibrationError(f"array '{name}' of {path} is a single number", fix=FIRST_AXIS)
        counts[name] = shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise CalibrationError(
            f"the arrays of {path} have unequal numbers of samples", why=listed, fix=FIRST_AXIS
        )
    return next(iter(counts.values()), 0)
