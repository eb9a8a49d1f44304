"""Calibration data on disk: `.npz`, `.npy` and images, single files and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, overload

from qcompiler.calibration.archives import FEEDS, ArchiveFeeds, ArchivePerFeed
from qcompiler.calibration.images import AS_THEY_ARE, SUFFIXES, Preprocessing
from qcompiler.calibration.samples import (
    NpyFeeds,
    OneInput,
    SampleFiles,
    WholeArrays,
    npy_array,
    npy_header,
)
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.files.reading import Kind
from qcompiler.ir.signature import TensorSpec


class Source(Protocol):
    """Feeds of one file or folder."""

    @property
    def files(self) -> list[Path]: ...

    def __len__(self) -> int: ...

    def read(self, begin: int) -> Iterator[Any]: ...


@dataclass(frozen=True)
class FeedFiles(Sequence[Any]):
    """Feeds read from disk one by one; can be iterated again.

    Forms:
        - A folder of `.npz`: each, by name, is one feed with the input names as keys.
        - An `.npz` with keys `in_<i>_<input>`: feed i, for feeds of unequal shapes.
        - Any other `.npz`: arrays [samples, ...] by input name, cut into feeds of `batch` samples.
          The last feed is shorter when the samples do not divide.
        - An `.npy`, for a model with one input: [samples, ...], cut likewise, or one sample.
        - A folder of `.npy`: one feed in each, or one sample in each, `batch` of them in a feed.
        - An image, or a folder of them (those in its subfolders too): samples likewise.

    Attributes:
        path: The file or folder, or several, read one after the other.
        batch: Samples in one feed.
        inputs: Of the model; empty if they are not known, then arrays without a name are passed on
            without one.
        images: How images become samples.

    Raises:
        CalibrationError: Missing, unreadable or empty, or arrays of unequal sample counts.
        ConfigurationError: `batch` is below 1, or images cannot be read as samples.
    """

    path: Path | tuple[Path, ...]
    batch: int = 1
    inputs: tuple[TensorSpec, ...] = ()
    images: Preprocessing = AS_THEY_ARE
    _sources: tuple[Source, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigurationError(
                f"the batch has to be 1 or more, not {self.batch}", fix="give a number of samples"
            )
        paths = (self.path,) if isinstance(self.path, Path) else self.path
        object.__setattr__(self, "_sources", tuple(map(self._source, paths)))
        for path, source in zip(paths, self._sources, strict=True):
            if len(source) == 0:
                raise CalibrationError("no calibration data", where=str(path), fix=FEEDS.fix)
        if self.images.given and not any(isinstance(each, SampleFiles) for each in self._sources):
            raise ConfigurationError(
                "size, layout, mean, std and scale are for images, and there are none",
                where=", ".join(map(str, paths)),
                fix="leave them out: arrays are taken as they are",
            )

    def __len__(self) -> int:
        return sum(map(len, self._sources))

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        count = len(self)
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(count))]
        wanted = index + count if index < 0 else index
        if not 0 <= wanted < count:
            raise IndexError(f"feed {index} of {count}")
        ends = list(accumulate(map(len, self._sources)))
        place = next(i for i, end in enumerate(ends) if wanted < end)
        source = self._sources[place]
        return next(source.read(wanted - ends[place] + len(source)))

    def __iter__(self) -> Iterator[Any]:
        for source in self._sources:
            yield from source.read(0)

    @property
    def files(self) -> list[Path]:
        """The files that feeds are read from."""
        return [file for source in self._sources for file in source.files]

    @property
    def renamed(self) -> dict[str, str]:
        """Arrays that are taken for an input of another name, since there is one of each."""
        archives = [s for s in self._sources if isinstance(s, ArchiveFeeds | ArchivePerFeed)]
        return {name: to for each in archives for name, to in each.renamed.items()}

    def _source(self, path: Path) -> Source:
        if FEEDS.kind(path) is Kind.FOLDER:
            return self._folder(path)
        suffix = path.suffix.lower()
        if suffix == ".npy":
            return NpyFeeds(path, self.batch, OneInput.of(self.inputs, path))
        if suffix in SUFFIXES:
            return self._images([path], path)
        return ArchiveFeeds(path, self.batch, self._names)

    def _folder(self, path: Path) -> Source:
        """The files of the one kind that is in it; others (a read-me, labels) are left alone."""
        with FEEDS.reading(path):
            kinds: dict[str, Callable[[], list[Path]]] = {
                ".npz": lambda: _visible(path.glob("*.npz")),
                ".npy": lambda: _visible(path.glob("*.npy")),
                "images": lambda: _visible(
                    each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES
                ),
            }
            found = {kind: files for kind, find in kinds.items() if (files := find())}
        if len(found) > 1:
            counts = ", ".join(f"{len(files)} {kind}" for kind, files in found.items())
            raise CalibrationError(
                "a folder of calibration data holds files of one kind",
                where=str(path),
                why=f"there are {counts}",
                fix="put them into folders of their own",
            )
        for kind, files in found.items():
            if kind == ".npz":
                return ArchivePerFeed(files, self._names)
            if kind == "images":
                return self._images(files, path)
            return self._arrays(files, path)
        return ArchivePerFeed([])

    def _images(self, files: list[Path], path: Path) -> Source:
        only = OneInput.of(self.inputs, path)
        return SampleFiles(files, self.batch, only, self.images.reader(only.spec))

    def _arrays(self, files: list[Path], path: Path) -> Source:
        only = OneInput.of(self.inputs, path)
        if only.is_sample(npy_header(files[0])):
            return SampleFiles(files, self.batch, only, npy_array)
        return WholeArrays(files, only)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.inputs)


def _visible(paths: Iterator[Path]) -> list[Path]:
    """Sorted, without hidden files: systems leave their own beside what is copied."""
    return sorted(each for each in paths if not each.name.startswith("."))
