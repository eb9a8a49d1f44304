"""Arrays in `.npz` and `.npy` files, read row by row: only what is asked for is in memory.

An `.npz` is a zip of `.npy` members, each a header and the elements
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_SUFFIX = ".npy"
_DEFLATE_RATIO = 1032
"""Most that deflate makes of one byte (https://zlib.net/zlib_tech.html)."""

_SKIPPED = 1 << 18
"""Bytes that are read at a time on the way to a row."""


@dataclass(frozen=True)
class Header:
    """What a `.npy` says of its array.

    Attributes:
        shape: Dimensions.
        fortran: Whether the first axis varies fastest in the file.
        dtype: Of the elements.
        size: Bytes of the header itself.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    size: int

    def __post_init__(self) -> None:
        if self.dtype.hasobject:
            raise ValueError("it holds Python objects; store numbers")
        if any(dim < 0 for dim in self.shape):
            raise ValueError(f"its shape is {list(self.shape)}")

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open `.npz`. Its methods raise whatever damage leads to; a `Door` stands around them."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            name = info.filename.removesuffix(_SUFFIX)
            if name == info.filename or name in self._members:
                self._zip.close()
                why = "no .npy array" if name == info.filename else "in it twice"
                raise ValueError(f"its member '{info.filename}' is {why}")
            self._members[name] = info

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """The arrays' names, in the order of the file."""
        return list(self._members)

    def header(self, name: str) -> Header:
        """Shape and dtype; the elements are not read."""
        with self._zip.open(self._members[name]) as file:
            return self._checked(name, file)

    def rows(self, name: str, begin: int = 0) -> Rows:
        """The array from row `begin` on."""
        file = self._zip.open(self._members[name])
        return Rows(file, self._checked(name, file), begin)

    def whole(self, name: str) -> Array:
        """The array."""
        with self._zip.open(self._members[name]) as file:
            header = self._checked(name, file)
            return _elements(file, header, header.shape, last=True)

    def _checked(self, name: str, file: IO[bytes]) -> Header:
        """The header, if it and the directory of the zip promise the same and what is there."""
        info = self._members[name]
        header = _header(file)
        if header.nbytes + header.size != info.file_size:
            raise ValueError(
                f"its header promises {header.nbytes} bytes of {header.dtype.name}"
                f"{list(header.shape)}, there are {info.file_size - header.size}"
            )
        most = info.compress_size * (
            _DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1
        )
        known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if known and info.file_size > most:
            raise ValueError(
                f"{info.compress_size} bytes cannot hold the {info.file_size} promised"
            )
        return header


class ArrayFile:
    """An open `.npy`. Its methods raise whatever damage leads to; a `Door` stands around them."""

    def __init__(self, path: Path) -> None:
        self._size = path.stat().st_size
        self._file = path.open("rb")
        try:
            self.header = self._checked()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def rows(self, begin: int = 0) -> Rows:
        """The array from row `begin` on; asked for once."""
        return Rows(self._file, self.header, begin)

    def whole(self) -> Array:
        """The array; asked for once."""
        return _elements(self._file, self.header, self.header.shape, last=True)

    def _checked(self) -> Header:
        header = _header(self._file)
        held = self._size - header.size
        if header.nbytes != held:
            raise ValueError(
                f"its header promises {header.nbytes} bytes of {header.dtype.name}"
                f"{list(header.shape)}, there are {held}"
            )
        return header


class Rows:
    """Rows of one array, forwards.

    An array in Fortran order is read whole, since a row of it lies in pieces all over the file.
    """

    def __init__(self, file: IO[bytes], header: Header, begin: int) -> None:
        self._file = file
        self._header = header
        self._next = begin
        self._held: Array | None = None
        if header.fortran and len(header.shape) > 1:
            self._held = _elements(file, header, header.shape, last=True)
        else:
            _skip(file, begin * header.row_bytes)

    def take(self, count: int) -> Array:
        """The next `count` rows, fewer at the end."""
        begin, end = self._next, min(self._next + count, self._header.shape[0])
        self._next = end
        if self._held is not None:
            return np.array(self._held[begin:end], order="C")
        shape = (end - begin, *self._header.row_shape)
        return _elements(self._file, self._header, shape, end == self._header.shape[0])


def _skip(file: IO[bytes], count: int) -> None:
    """Forwards; `ZipExtFile.seek` holds 16 MiB at a time."""
    while count > 0:
        read = len(file.read(min(count, _SKIPPED)))
        if not read:
            raise ValueError(f"it is cut off: {count} bytes are missing")
        count -= read


def _header(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f".npy version {version} is not known")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return Header(tuple(shape), fortran, dtype, file.tell())


def _elements(file: IO[bytes], header: Header, shape: tuple[int, ...], last: bool) -> Array:
    array = np.empty(math.prod(shape), header.dtype)
    target = array.view(np.uint8) if array.nbytes else array
    done = 0
    while done < array.nbytes:
        read = file.readinto(target[done:].data)  # type: ignore[attr-defined]
        if not read:
            raise ValueError(f"it is cut off: {array.nbytes - done} bytes are missing")
        done += read
    if last:
        file.read(1)  # the end, where zipfile compares the checksum
    return array.reshape(shape, order="F" if header.fortran else "C")
