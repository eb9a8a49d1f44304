"""Arguments that torch.export does not take: dataclasses nobody registered, dtypes, devices, enums.

Dataclasses are registered as torch.export.register_dataclass does it. What is a constant by its
kind (a dtype, an enum's member) stays out of the capture and is put back when `forward` runs; a
call has to bring the same one, like every number that a capture freezes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from qcompiler.errors import FeedError
from qcompiler.frontends.torch_call import Call
from qcompiler.frontends.torch_frozen import Constant

_TAKEN = (torch.Tensor, bool, int, float, str, type(None), torch.ScriptObject)
"""Kinds of leaves that torch.export takes."""


def register_dataclasses(value: Any) -> bool:
    """Registers the classes of dataclasses among the leaves; whether there were any."""
    found = False
    for leaf in pytree.tree_leaves(value):
        kind = type(leaf)
        if dataclasses.is_dataclass(kind) and _is_plain(kind):
            torch.export.register_dataclass(kind)
            register_dataclasses(leaf)
            found = True
    return found


def _is_plain(kind: type) -> bool:
    """Whether its fields make it: others would not come back as they were."""
    fields = dataclasses.fields(kind)
    return kind not in pytree.SUPPORTED_NODES and all(each.init for each in fields)


def without_opaque(call: Call) -> Call:
    """The call with None in the place of constants that torch.export does not take.

    Raises:
        FeedError: A leaf is neither a tensor nor a constant.
    """
    found = {}
    leaves, spec = pytree.tree_flatten_with_path((call.args, call.kwargs))
    for number, (path, leaf) in enumerate(leaves):
        if Constant.fits(leaf):
            found[number] = leaf
        elif not isinstance(leaf, _TAKEN):
            raise _unknown(call, path, leaf)
    if not found:
        return call
    left = [None if number in found else leaf for number, (_, leaf) in enumerate(leaves)]
    args, kwargs = pytree.tree_unflatten(left, spec)
    return dataclasses.replace(call, args=args, kwargs=kwargs, opaque=found)


def require_dense(call: Call) -> None:
    """Every tensor of a call has numbers in a grid of memory.

    Raises:
        FeedError: One is nested, sparse, quantized or without data.
    """
    leaves, _ = pytree.tree_flatten_with_path((call.args, call.kwargs))
    for path, leaf in leaves:
        found = _other_kind(leaf) if isinstance(leaf, torch.Tensor) else None
        if found is not None:
            kind, cure = found
            raise FeedError(
                f"argument '{_written(call, path)}' is a {kind} tensor",
                where=f"argument '{_written(call, path)}'",
                why="compiled programs take arrays: shapes and numbers in memory",
                fix=f"give {cure}, and let forward start from that",
            )


def _other_kind(tensor: torch.Tensor) -> tuple[str, str] | None:
    """What a tensor is that is no plain one, and what to give in its place."""
    if tensor.is_nested:
        return "nested", "x.to_padded_tensor(0.0) and the lengths"
    if tensor.layout is not torch.strided:
        return "sparse", "x.to_dense()"
    if tensor.is_quantized:
        return "quantized", "x.dequantize()"
    return ("meta", "a tensor with data") if tensor.is_meta else None


def _unknown(call: Call, path: tuple[Any, ...], leaf: Any) -> FeedError:
    kind = type(leaf)
    return FeedError(
        f"an argument of type {kind.__module__}.{kind.__qualname__} cannot be captured",
        where=f"argument '{_written(call, path)}'",
        why="torch.export takes tensors, numbers, strings and containers of them",
        fix="give a tuple, a dict or a dataclass of tensors, or register the class with "
        "torch.utils._pytree.register_pytree_node",
    )


def _written(call: Call, path: tuple[Any, ...]) -> str:
    """The name of the argument, and what leads on from there."""
    _, first, *rest = path
    name = str(getattr(first, "key", ""))
    if isinstance(first, pytree.SequenceKey):
        names = list(call.signature.parameters) if call.signature is not None else []
        name = names[first.idx] if first.idx < len(names) else f"argument {first.idx}"
    return name + pytree.keystr(tuple(rest))


@contextlib.contextmanager
def put_back(module: torch.nn.Module, opaque: Mapping[int, Any]) -> Iterator[None]:
    """Where `forward` finds them in the place of None."""
    if not opaque:
        yield
        return
    forward = module.forward

    @functools.wraps(forward)
    def filled(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        leaves = [opaque.get(number, leaf) for number, leaf in enumerate(leaves)]
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return forward(*args, **kwargs)

    own = "forward" in vars(module)
    vars(module)["forward"] = filled
    try:
        yield
    finally:
        if own:
            vars(module)["forward"] = forward
        else:
            del vars(module)["forward"]
