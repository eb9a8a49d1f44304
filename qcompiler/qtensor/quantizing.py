"""`quantize`: a number or a tensor to integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.qtensor.containers import received
from qcompiler.qtensor.spaces import granularity_of, group_of, space_of, table_space
from qcompiler.qtensor.tensor import QTensor
from qcompiler.quantization.numerics import quantize as to_integers
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import Granularity, Levels, QParams, QSpace

Array = npt.NDArray[Any]
_TABLES = {each.value: each for each in Levels if each is not Levels.EVEN}
_KINDS = ("uniform", *_TABLES)


def quantize(
    x: Any,
    bits: int | None = None,
    symmetric: bool = False,
    granularity: str | Granularity = "tensor",
    axis: int | None = None,
    scale: Any = None,
    zero_point: Any = None,
    dtype: Any = None,
    *,
    group_size: int | None = None,
    narrow: bool | None = None,
    kind: str = "uniform",
) -> QTensor:
    """Quantizes a number or a tensor to integers: q = clamp(round(x / S) + Z).

    With x in [α, β], widened to hold 0, and integers in [α_q, β_q]: S = (β − α) / (β_q − α_q),
    Z = round(α_q − α / S). Symmetric: S = max(|α|, |β|) / (2^(bits−1) − 1), Z = 0. Rounding is half
    to even; S is float32, at least 2**-62, and 1 where all of x is 0 (Jacob et al. 2018, equations
    1 and 12). Values outside the range of a given S and Z are clamped.

    Args:
        x: A number, nested lists, a numpy array or a torch tensor; float, or integers that are
            taken as numbers. Results are given back as the same kind.
        bits: 2 to 16; 8 by default, or those of `dtype`. Stored in 2, 4, 8 or 16.
        symmetric: Whether Z is 0 (the middle for unsigned types).
        granularity: `tensor`, `channel` (S and Z per index of `axis`) or `group` (per `group_size`
            consecutive elements of `axis`; the last group may be shorter).
        axis: By default 0 for channels and the last for groups.
        scale: S, instead of what follows from x; a number, or one per channel or group.
        zero_point: Z, with `scale`; 0 by default.
        dtype: Storage type, `int8`, `uint4`, `torch.int8`, ...; signed by default.
        group_size: Elements per scale, for groups. Of a codebook: channels per table.
        narrow: Leave out the lowest signed integer, so that there are as many negative ones as
            positive. By default where it is symmetric and no scale is given.
        kind: `uniform`, or levels that are not even: `log2` (0 and powers of two), `log2x2` (sums
            of two of them) or `codebook` (found by k-means, at most 2**bits of them).

    Raises:
        ConfigurationError: Not numbers, NaN or infinity, nothing at all, or an argument that is
            unknown, does not fit x or contradicts another.
    """
    values, container = received(x)
    if values.size == 0 and scale is None:
        raise ConfigurationError(
            "an empty tensor has no range", where=f"shape {values.shape}", fix="give `scale`"
        )
    if kind not in _KINDS:
        raise ConfigurationError(
            f"there are no levels {kind!r}",
            fix=did_you_mean(str(kind), _KINDS, f"there are {', '.join(_KINDS)}"),
        )
    if kind == "uniform":
        lowest = symmetric and scale is None if narrow is None else narrow
        space = space_of(bits, symmetric, granularity, group_size, dtype, lowest)
    else:
        _refuse(scale=scale, zero_point=zero_point, dtype=dtype, narrow=narrow)
        over = granularity_of(granularity)
        size = group_of(group_size) if over is Granularity.GROUP else None
        space = table_space(_TABLES[kind], 4 if bits is None else bits, over, size)
    along = _axis(axis, space, values)
    if scale is None:
        _refuse(zero_point=zero_point)
        params = weight_qparams(values, space, along)
    else:
        params = _given(scale, zero_point, space, along, values.shape)
    # A copy: what the caller does with x later changes no error.
    return QTensor(to_integers(values, params), params, container, np.array(values))


def _refuse(**given: object) -> None:
    """What says nothing here is a mistake, and not passed over."""
    for name, value in given.items():
        if value is not None:
            why = "a zero point goes with a scale" if name == "zero_point" else "levels are a table"
            raise ConfigurationError(f"`{name}` has no meaning here", why=why, fix="leave it out")


def _axis(axis: int | None, space: QSpace, values: Array) -> int | None:
    if space.granularity is Granularity.TENSOR:
        if axis is not None:
            raise ConfigurationError(
                f"axis {axis} has no meaning per tensor", fix="add granularity='channel'"
            )
        return None
    default = -1 if space.granularity is Granularity.GROUP and not space.is_table else 0
    wanted = default if axis is None else axis
    if not isinstance(wanted, int | np.integer) or not -values.ndim <= wanted < values.ndim:
        raise ConfigurationError(
            f"there is no axis {wanted!r} in a tensor of shape {values.shape}",
            fix=f"give one from {-values.ndim} to {values.ndim - 1}" if values.ndim else None,
        )
    return int(wanted) % values.ndim


def _given(
    scale: Any, zero_point: Any, space: QSpace, axis: int | None, shape: tuple[int, ...]
) -> QParams:
    wanted = _parameter_shape(space, axis, shape)
    steps = _fitted(received(scale)[0], wanted, "scale")
    if not np.all(steps > 0):
        raise ConfigurationError(
            "a scale is positive, and not below what float32 holds", fix="give a scale such as 0.02"
        )
    middle = 0 if space.signed or not space.symmetric else (space.qmax + 1) // 2
    points = _fitted(
        received(middle if zero_point is None else zero_point)[0], wanted, "zero_point"
    )
    whole = points.astype(np.int64)
    if np.any(whole != points) or np.any((whole < space.qmin) | (whole > space.qmax)):
        raise ConfigurationError(
            f"zero point {zero_point} is no integer of {space.name}",
            fix=f"give integers from {space.qmin} to {space.qmax}",
        )
    if space.symmetric and np.any(whole != middle):
        raise ConfigurationError(
            f"zero point {zero_point} is not symmetric", fix=f"leave it out: it is {middle}"
        )
    return QParams(steps, whole, space, axis)


def _parameter_shape(space: QSpace, axis: int | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    if axis is None:
        return ()
    if space.group_size is None:
        return (shape[axis],)
    return (*shape[:axis], -(-shape[axis] // space.group_size), *shape[axis + 1 :])


def _fitted(values: Array, shape: tuple[int, ...], name: str) -> Array:
    """One number for all, or one each."""
    if values.size == 1:
        return np.array(np.broadcast_to(values.reshape(()), shape), np.float32)
    if values.shape != shape:
        raise ConfigurationError(
            f"`{name}` of shape {values.shape} does not fit",
            why=f"{shape} is what granularity and axis ask for",
            fix="add granularity='channel' and the axis" if shape == () else None,
        )
    return np.asarray(values, np.float32)
