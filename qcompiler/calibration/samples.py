"""Feeds of a model with one input, from `.npy` files and images: samples that are put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.archives import FEEDS
from qcompiler.calibration.array_rows import ArrayFile, Header, Rows
from qcompiler.errors import CalibrationError
from qcompiler.ir.signature import TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OneInput:
    """What arrays without a name are for.

    Attributes:
        spec: The model's only input; None if it is not known, as for a torch module.
    """

    spec: TensorSpec | None

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], path: Path) -> OneInput:
        """The only input.

        Raises:
            CalibrationError: The model has several.
        """
        if len(inputs) > 1:
            names = ", ".join(each.name for each in inputs)
            raise CalibrationError(
                f"the arrays of {path} have no names, and the model has {len(inputs)} inputs",
                why=f"they are {names}",
                fix="give .npz files with one array for each input",
            )
        return cls(inputs[0] if inputs else None)

    def feed(self, array: Array) -> Any:
        return array if self.spec is None else {self.spec.name: array}

    def is_sample(self, header: Header) -> bool:
        """Whether an array is one sample, without the axis that counts them."""
        shape = None if self.spec is None else self.spec.shape
        return shape is not None and len(header.shape) == len(shape) - 1


@dataclass(frozen=True)
class NpyFeeds:
    """One `.npy`: samples along its first axis, cut into feeds, or a single one."""

    path: Path
    batch: int
    input: OneInput

    @property
    def files(self) -> list[Path]:
        return [self.path]

    def __len__(self) -> int:
        header = npy_header(self.path)
        if self.input.is_sample(header):
            return 1
        if not header.shape:
            raise CalibrationError(f"{self.path} holds a single number", fix=FEEDS.fix)
        return math.ceil(header.shape[0] / self.batch)

    def read(self, begin: int) -> Iterator[Any]:
        """The feeds from number `begin` on."""
        if self.input.is_sample(npy_header(self.path)):
            yield self.input.feed(npy_array(self.path)[None])
            return
        with FEEDS.reading(self.path):
            file = ArrayFile(self.path)
        with file:
            with FEEDS.reading(self.path):
                rows = file.rows(begin * self.batch)
            for _ in range(begin * self.batch, file.header.shape[0], self.batch):
                yield self.input.feed(self._taken(rows))

    def _taken(self, rows: Rows) -> Array:
        with FEEDS.reading(self.path):
            return rows.take(self.batch)


@dataclass(frozen=True)
class WholeArrays:
    """One feed in each `.npy`, in this order."""

    files: list[Path]
    input: OneInput

    def __len__(self) -> int:
        return len(self.files)

    def read(self, begin: int) -> Iterator[Any]:
        """The feeds from number `begin` on."""
        for path in self.files[begin:]:
            yield self.input.feed(npy_array(path))


@dataclass(frozen=True)
class SampleFiles:
    """One sample in each file, `batch` of them in a feed.

    Attributes:
        files: In this order.
        batch: Samples in one feed; the last one may be shorter.
        input: What they are for.
        load: Reads one sample.
    """

    files: list[Path]
    batch: int
    input: OneInput
    load: Callable[[Path], Array]

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.batch)

    def read(self, begin: int) -> Iterator[Any]:
        """The feeds from number `begin` on."""
        for first in range(begin * self.batch, len(self.files), self.batch):
            paths = self.files[first : first + self.batch]
            yield self.input.feed(np.stack(self._equal(paths)))

    def _equal(self, paths: Sequence[Path]) -> list[Array]:
        arrays = [self.load(path) for path in paths]
        for path, array in zip(paths, arrays, strict=True):
            if array.shape != arrays[0].shape:
                raise CalibrationError(
                    f"samples of one feed differ in shape: {paths[0].name} is "
                    f"{list(arrays[0].shape)}, {path.name} is {list(array.shape)}",
                    where=str(path),
                    fix="give --batch 1, or one size for all images by --size",
                )
        return arrays


def npy_header(path: Path) -> Header:
    """Shape and dtype of a `.npy`."""
    FEEDS.require_file(path)
    with FEEDS.reading(path), ArrayFile(path) as file:
        return file.header


def npy_array(path: Path) -> Array:
    """The array of a `.npy`."""
    FEEDS.require_file(path)
    with FEEDS.reading(path), ArrayFile(path) as file:
        return file.whole()
