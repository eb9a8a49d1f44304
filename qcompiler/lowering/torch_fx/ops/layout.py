"""Data movement and shape arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.lowering.torch_fx.element_types import torch_dtype
from qcompiler.lowering.torch_fx.ops.operands import (
    Ints,
    Numbers,
    axes_of,
    integer,
    ints,
    number,
    numbers,
)
from qcompiler.lowering.torch_fx.ops.window import pad_constant, torch_pad

_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def identity(x: Tensor) -> Tensor:
    """Identity."""
    return x


def reshape(x: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    """Reshape: -1 is inferred, 0 copies the dimension unless `allowzero`."""
    wanted = ints(shape)
    if not allowzero:
        wanted = [x.shape[i] if dim == 0 else dim for i, dim in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Flatten to two dimensions, split before `axis`."""
    cut = axis if axis >= 0 else axis + x.dim()
    rows = 1
    for dim in x.shape[:cut]:
        rows *= dim
    return x.reshape(rows, -1) if x.numel() else x.reshape(rows, x.shape[cut:].numel())


def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Squeeze the given axes, or all of size 1."""
    return x.squeeze() if axes is None else x.squeeze(tuple(axes_of(axes, x.dim())))


def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    """Unsqueeze; axes count in the result."""
    wanted = ints(axes)
    for axis in sorted(axis % (x.dim() + len(wanted)) for axis in wanted):
        x = x.unsqueeze(axis)
    return x


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Transpose; reverses the axes by default."""
    return x.permute(list(perm) if perm is not None else list(reversed(range(x.dim()))))


def expand(x: Tensor, shape: Ints) -> Tensor:
    """Expand: two-way broadcast with `shape`."""
    wanted = ints(shape)
    rank = max(x.dim(), len(wanted))
    have = [1] * (rank - x.dim()) + list(x.shape)
    ask = [1] * (rank - len(wanted)) + wanted
    return x.expand([h if a == 1 else a for h, a in zip(have, ask, strict=True)])


def tile(x: Tensor, repeats: Ints) -> Tensor:
    """Tile."""
    return x.repeat(ints(repeats))


def concat(*values: Tensor, axis: int) -> Tensor:
    """Concat."""
    return torch.cat(values, dim=axis)


def split(
    x: Tensor, sizes: Ints | None = None, *, axis: int = 0, num_outputs: int | None = None
) -> tuple[Tensor, ...]:
    """Split by sizes, or into `num_outputs` parts of equal size but for the last.

    Slices, not torch.split: an open batch becomes a fixed one in ExecuTorch 1.5's form of that.
    """
    whole = x.shape[axis]
    if sizes is None:
        assert num_outputs is not None
        each = -(-whole // num_outputs)
        if not isinstance(whole, int) or not whole:
            return torch.split(x, each, dim=axis)
        sizes = [min(each, whole - start) for start in range(0, whole, each)]
    lengths = ints(sizes)
    return tuple(x.narrow(axis, sum(lengths[:i]), each) for i, each in enumerate(lengths))


def slice_(
    x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Tensor:
    """Slice; bounds are clamped, negative steps walk backwards."""
    first, last = ints(starts), ints(ends)
    along = ints(axes) if axes is not None else list(range(len(first)))
    by = ints(steps) if steps is not None else [1] * len(first)
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        size = x.shape[axis]
        if step > 0:  # clamps by itself, symbols of torch.export included
            x = torch.ops.aten.slice.Tensor(x, axis, start, end, step)
        else:
            chosen = list(range(*slice(start, max(end, -size - 1), step).indices(size)))
            x = x.index_select(axis, torch.tensor(chosen, dtype=torch.int64))
    return x


def pad(
    x: Tensor,
    pads: Ints,
    value: Numbers | None = None,
    axes: Ints | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """Pad; negative pads crop. `reflect`, `edge` and `wrap` go axis by axis."""
    given = ints(pads)
    along = axes_of(axes, x.dim())
    count = len(along)
    around = [0] * 2 * x.dim()
    for place, axis in enumerate(along):
        around[axis], around[axis + x.dim()] = given[place], given[place + count]
    if mode == "constant":
        fill = 0.0 if value is None else number(value)
        return pad_constant(x, torch_pad(around), fill)
    for axis in range(x.dim()):
        begin, end = around[axis], around[axis + x.dim()]
        if begin or end:
            moved = x.movedim(axis, -1)
            flat = moved.reshape(1, -1, moved.shape[-1])
            grown = functional.pad(flat, (begin, end), mode=_PAD_MODES[mode])
            x = grown.reshape(*moved.shape[:-1], grown.shape[-1]).movedim(-1, axis)
    return x


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """DepthToSpace, depth-column-row or column-row-depth."""
    if mode == "CRD":
        return functional.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    blocks = x.reshape(n, blocksize, blocksize, c // blocksize**2, h, w)
    moved = blocks.permute(0, 3, 4, 1, 5, 2)
    return moved.reshape(n, c // blocksize**2, h * blocksize, w * blocksize)


def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """SpaceToDepth."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    moved = blocks.permute(0, 3, 5, 1, 2, 4)
    return moved.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Shape as int64[rank]; computed, not stored, when traced."""
    dims: Tensor = torch.ops.aten._shape_as_tensor.default(x)
    return dims[start:end]


def size(x: Tensor) -> Tensor:
    """Size: the number of elements as an int64 scalar."""
    return shape(x).prod()


def range_(start: Numbers, limit: Numbers, delta: Numbers, *, to: int) -> Tensor:
    """Range [start, limit) by delta, in the operands' type, which `to` tells of numbers."""
    kind = start.dtype if isinstance(start, Tensor) else torch_dtype(to)
    return torch.arange(number(start), number(limit), number(delta), dtype=kind)


def constant_of_shape(dims: Ints, *, value: float = 0.0, dtype: int) -> Tensor:
    """ConstantOfShape, its attribute's tensor taken apart into a number and a type."""
    return torch.full(ints(dims), value, dtype=torch_dtype(dtype))


def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """EyeLike: ones on the k-th diagonal."""
    made = torch.ones(x.shape[0], x.shape[1]).tril(k).triu(k)
    return made.to(x.dtype if dtype is None else torch_dtype(dtype))


def one_hot(indices: Tensor, depth: Numbers, values: Tensor, *, axis: int = -1) -> Tensor:
    """OneHot; indices in [-depth, depth), others give all `off`. All three may be floats."""
    (count,) = (int(each) for each in numbers(depth))
    index = indices.to(torch.int64)
    index = torch.where(index < 0, index + count, index)
    places = torch.arange(count)
    hot = index.unsqueeze(-1) == places
    chosen = torch.where(hot, values[1], values[0])
    return chosen.movedim(-1, axis if axis >= 0 else chosen.dim() + axis)


def trilu(x: Tensor, k: Ints | None = None, *, upper: int = 1) -> Tensor:
    """Trilu: the upper or lower triangle."""
    diagonal = 0 if k is None else integer(k)
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


def reverse_sequence(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """ReverseSequence: the first `lengths[b]` steps of each batch row, reversed."""
    moved = x.movedim((batch_axis, time_axis), (0, 1))
    steps = torch.arange(moved.shape[1]).unsqueeze(0)
    ends = lengths.unsqueeze(1)
    order = torch.where(steps < ends, ends - 1 - steps, steps)
    rows = torch.arange(moved.shape[0]).unsqueeze(1)
    return moved[rows, order].movedim((0, 1), (batch_axis, time_axis))
