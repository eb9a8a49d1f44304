"""How a `QTensor` is printed: its integers, S, Z or levels, bits and kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.qspace import QParams

Array = npt.NDArray[Any]


def shown(data: Array, params: QParams) -> str:
    """`QTensor([...], S=..., Z=..., bits=..., ...)`.

    Args:
        data: Integers, any shape; long ones are cut.
        params: Theirs.
    """
    whole = data.astype(np.int64)
    text = np.array2string(whole, separator=", ", prefix="QTensor(", threshold=64)
    return f"QTensor({text}, {', '.join(_parts(params))})"


def _parts(params: QParams) -> list[str]:
    space, scale = params.space, f"S={_short(params.scale)}"
    if params.levels is not None:
        kind = [f"levels={_table(params.levels)}", scale]
        kind += [f"bits={space.used_bits}", f"dtype={space.numbers}"]
    else:
        kind = [scale, f"Z={_short(params.zero_point)}", f"bits={space.used_bits}"]
        kind += [f"dtype={space.dtype.name.lower()}", "symmetric" if space.symmetric else "affine"]
    if params.axis is not None:
        groups = f", groups of {space.group_size}" if space.group_size else ""
        kind.append(f"axis={params.axis}{groups}")
    return kind


def _short(values: Array) -> str:
    if values.ndim == 0:
        return str(values[()])
    return np.array2string(values, separator=", ", precision=4, threshold=8, edgeitems=2)


def _table(levels: Array) -> str:
    if levels.ndim > 1:
        return f"{len(levels)} tables of {levels.shape[1]}"
    return _short(levels)
