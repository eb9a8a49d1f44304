"""Which integers: from bits, symmetry, granularity and a storage type, as users write them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.quantization.qspace import Granularity, Levels, QSpace

FEWEST, MOST = 2, 16
_TYPES = {
    name: ir.DataType[name.upper()]
    for name in ("int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "uint16")
}


def space_of(
    bits: int | None,
    symmetric: bool,
    granularity: str | Granularity,
    group_size: int | None,
    dtype: object,
    narrow: bool,
) -> QSpace:
    """The space that a call of `quantize` describes.

    Raises:
        ConfigurationError: An argument that is unknown or contradicts another.
    """
    kind = None if dtype is None else storage_type(dtype)
    count = bits_of(bits if bits is not None else 8 if kind is None else kind.bitwidth)
    if kind is None:
        kind = next(_TYPES[f"int{width}"] for width in (2, 4, 8, 16) if width >= count)
    if count > kind.bitwidth:
        raise ConfigurationError(
            f"{count} bits do not fit {kind.name.lower()}", fix="leave out `dtype`, or `bits`"
        )
    over = granularity_of(granularity)
    space = QSpace(
        kind,
        symmetric,
        over,
        group_of(group_size) if over is Granularity.GROUP else None,
        narrow=narrow,
        bits=None if count == kind.bitwidth else count,
    )
    if space.qmin == space.qmax:
        raise ConfigurationError(f"{space.name} has a single level", fix="give bits=2 or more")
    return space


def bits_of(bits: object) -> int:
    """A number of bits.

    Raises:
        ConfigurationError: It is no whole number from 2 to 16.
    """
    try:
        count = operator.index(bits)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(bits, bool) or not FEWEST <= count <= MOST:
        raise ConfigurationError(
            f"{bits!r} bits cannot be had", fix=f"give a whole number from {FEWEST} to {MOST}"
        )
    return count


def group_of(size: object) -> int:
    """Elements that share a scale.

    Raises:
        ConfigurationError: It is no positive whole number.
    """
    try:
        count = operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(size, bool) or count < 1:
        raise ConfigurationError(
            f"{size!r} is no group size", fix="give `group_size`, such as 32: elements per scale"
        )
    return count


def granularity_of(given: str | Granularity) -> Granularity:
    """Over what a scale is shared, by name.

    Raises:
        ConfigurationError: Another word.
    """
    try:
        return Granularity(given)
    except ValueError:
        names = [each.value for each in Granularity]
        raise ConfigurationError(
            f"there is no granularity {given!r}",
            fix=did_you_mean(str(given), names, f"there are {', '.join(names)}"),
        ) from None


def storage_type(given: Any) -> ir.DataType:
    """An integer type by name, or numpy's, ml_dtypes', torch's or onnx_ir's own.

    Raises:
        ConfigurationError: Another type.
    """
    if isinstance(given, ir.DataType):
        name = given.name.lower()
    elif isinstance(given, str):
        name = given.lower()
    else:
        name = str(given)
        if not name.startswith("torch."):
            try:
                name = np.dtype(given).name
            except TypeError:
                name = str(given)
    name = name.removeprefix("torch.").removeprefix("q")
    if name not in _TYPES:
        raise ConfigurationError(
            f"{given!r} is no integer type to quantize to",
            fix=did_you_mean(name, _TYPES, f"there are {', '.join(_TYPES)}"),
        )
    return _TYPES[name]


def table_space(
    levels: Levels, bits: int, granularity: Granularity, group_size: int | None
) -> QSpace:
    """Indices of so many bits into a table of levels.

    Raises:
        ConfigurationError: Powers of two by groups.
    """
    if granularity is Granularity.GROUP and levels is not Levels.CODEBOOK:
        raise ConfigurationError(
            "powers of two have a scale per tensor or per channel",
            fix="give granularity='channel'",
        )
    count = bits_of(bits)
    kind = ir.DataType.UINT8 if count <= 8 else ir.DataType.UINT16
    return QSpace(kind, True, granularity, group_size, bits=count, levels=levels)
