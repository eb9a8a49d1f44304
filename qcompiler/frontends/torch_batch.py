"""Which axis of each argument is the batch: the module itself is asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from qcompiler.frontends.torch_call import Call, failure

_MOST = 32
"""Runs of the module that are spent on it."""


def with_batch_axes(module: torch.nn.Module, call: Call) -> Call:
    """The call with the batch axis of every tensor.

    Axis 0 of each, where one tensor comes alone or the module takes other sizes there. Otherwise,
    as with the states of recurrent layers ([layers, batch, features]), the first axes of equal size
    with which it runs. Where layers have the time first, axis 1 is tried before axis 0.
    """
    time_first = any(getattr(part, "batch_first", True) is False for part in module.modules())
    tensors = [each for each in pytree.tree_leaves((call.args, call.kwargs)) if _is_array(each)]
    if len(tensors) < 2 and not (tensors and time_first):
        return call
    sizes = {len(each) for each in tensors}
    first = {id(each): 0 for each in tensors if sizes == {1} or len(each) > 1}
    second = list(itertools.islice(_others(tensors, 1), _MOST))
    ordinary = [first, *itertools.islice(_others(tensors, 0), _MOST)]
    for axes in (*second, *ordinary) if time_first else (*ordinary, *second):
        if failure(module, resized(call, axes)) is None:
            return replace(call, batch_axes=axes)
    return call


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.ndim > 0


def _others(tensors: list[torch.Tensor], base: int) -> Iterator[dict[int, int]]:
    """Assignments by identity of the tensor: axes as long as axis `base` of the first one."""
    head, *rest = tensors
    if base >= head.ndim:
        return
    size = head.shape[base]
    options = [[axis for axis in range(t.ndim) if t.shape[axis] == size] or [-1] for t in rest]
    for chosen in itertools.product(*options):
        pairs = zip(rest, chosen, strict=True)
        yield {id(head): base} | {id(tensor): axis for tensor, axis in pairs if axis >= 0}


def resized(call: Call, axes: Mapping[int, int]) -> Call:
    """The call with these axes twice as long."""

    def longer(leaf: Any) -> Any:
        axis = axes.get(id(leaf))
        return leaf if axis is None else torch.cat([leaf, leaf], axis)

    args, kwargs = pytree.tree_map(longer, (call.args, call.kwargs))
    return replace(call, args=args, kwargs=kwargs)
