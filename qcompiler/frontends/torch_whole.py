"""What a capture keeps whole, where torch.export would fix a size: recurrent layers, splits.

Recurrent layers: torch finds their shapes by unrolling them over time, which fixes its length
(torch/_decomp/decompositions.py, lstm_impl). Splits: the translation of a split into a known count
of parts of unknown size is a sequence, which it then cannot read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._decomp import decomposition_table
from torch.overrides import TorchFunctionMode

_ATEN = torch.ops.aten
_KEYS = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd, DispatchKey.Meta)


def _lstm(x: Tensor, hx: list[Tensor], *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    both = options[5]
    return _rows(x, hx[0], both), torch.empty_like(hx[0]), torch.empty_like(hx[1])


def _plain(x: Tensor, hx: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    return _rows(x, hx, options[5]), torch.empty_like(hx)


def _rows(x: Tensor, state: Tensor, both: bool) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], state.shape[-1] * (2 if both else 1))


_LAYERS: Mapping[Any, Callable[..., Any]] = {
    _ATEN.lstm.input: _lstm,
    _ATEN.gru.input: _plain,
    _ATEN.rnn_tanh.input: _plain,
    _ATEN.rnn_relu.input: _plain,
}
"""Shapes of results only: nothing else is asked of an operator during a capture."""


@contextlib.contextmanager
def kept_whole() -> Iterator[None]:
    """Where recurrent layers and splits leave every size open."""
    with contextlib.ExitStack() as stack:
        for op, shapes in _LAYERS.items():
            stack.enter_context(_only_shapes(op, shapes))
        stack.enter_context(_OpenSizes())
        yield


@contextlib.contextmanager
def _only_shapes(op: Any, shapes: Callable[..., Any]) -> Iterator[None]:
    """Where torch asks `shapes` for the results of an operator."""
    tables = [(op.py_kernels, key) for key in _KEYS] + [(decomposition_table, op)]
    kept = [(table, key, table[key]) for table, key in tables if key in table]
    for table, key, _ in kept:
        table[key] = shapes
    op._dispatch_cache.clear()
    try:
        yield
    finally:
        for table, key, own in kept:
            table[key] = own
        op._dispatch_cache.clear()


class _OpenSizes(TorchFunctionMode):
    """Takes what goes by the size of an open axis as it is for the example: splits, squeezing."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        form = _BY_SIZE.get(func)
        found = None if form is None else form(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found


def _chunk(input: Tensor, chunks: int, dim: int = 0) -> Any:  # noqa: A002 - torch's name
    size = input.shape[dim]
    if isinstance(size, int) or not isinstance(chunks, int):
        return None
    return _parts(input, dim, (size + chunks - 1) // chunks)


def _split(tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, **named: Any) -> Any:
    step = named.get("split_size", split_size_or_sections)
    if isinstance(tensor.shape[dim], int) or not isinstance(step, torch.SymInt):
        return None
    return _parts(tensor, dim, step)


def _parts(x: Tensor, dim: int, step: Any) -> tuple[Tensor, ...]:
    """Parts of one size, the last one shorter: as many as the example has."""
    size = x.shape[dim]
    count = -(-_hint(size) // max(_hint(step), 1))
    starts = [step * index for index in range(count)]
    lengths = [*([step] * (count - 1)), size - step * (count - 1)]
    return tuple(x.narrow(dim, a, n) for a, n in zip(starts, lengths, strict=True))


def _hint(size: Any) -> int:
    """The example's size."""
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)


def _tensor_split(
    input: Tensor,  # noqa: A002 - torch's name
    indices_or_sections: Any = None,
    dim: int = 0,
    **named: Any,
) -> Any:
    count = named.get("sections", indices_or_sections)
    size = input.shape[dim]
    if isinstance(size, int) or not isinstance(count, int):
        return None
    ends = [index * (size // count) + torch.sym_min(size % count, index) for index in range(count)]
    stops = [*ends[1:], size]
    return tuple(input.narrow(dim, a, b - a) for a, b in zip(ends, stops, strict=True))


def _squeeze(input: Tensor, dim: Any = None) -> Any:  # noqa: A002 - torch's name
    """Asks open sizes whether they are one, so that the answer is held against every call."""
    named = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [axis % max(input.ndim, 1) for axis in named]
    if not any(isinstance(input.shape[axis], torch.SymInt) for axis in axes):
        return None
    return input.squeeze(tuple(axis for axis in axes if input.shape[axis] == 1))


_BY_SIZE: Mapping[Any, Callable[..., Any]] = {
    torch.chunk: _chunk,
    torch.Tensor.chunk: _chunk,
    torch.unsafe_chunk: _chunk,
    torch.Tensor.unsafe_chunk: _chunk,
    torch.split: _split,
    torch.Tensor.split: _split,
    torch.tensor_split: _tensor_split,
    torch.Tensor.tensor_split: _tensor_split,
    torch.squeeze: _squeeze,
    torch.Tensor.squeeze: _squeeze,
}
