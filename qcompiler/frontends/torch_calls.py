"""The module's calling convention: nested arguments to flat inputs, flat outputs to the nest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from qcompiler.errors import FeedError
from qcompiler.frontends.torch_capture import Call

Flatten = Callable[[Sequence[Any], Mapping[str, Any]], Sequence[Any]]
Unflatten = Callable[[Sequence[Any]], Any]


def calling_convention(
    exported: torch.export.ExportedProgram, call: Call
) -> tuple[Flatten, Unflatten]:
    """`Signature.flatten` and `.unflatten` of a captured module.

    Arguments that torch.export froze (None, numbers, strings) are left out of the feed and put
    back into the outputs.
    """
    return _flatten(exported, call), _unflatten(exported)


def _flatten(exported: torch.export.ExportedProgram, call: Call) -> Flatten:
    spec = exported.call_spec.in_spec
    assert spec is not None
    kept = [
        not isinstance(entry.arg, ConstantArgument)
        for entry in exported.graph_signature.input_specs
        if entry.kind == InputKind.USER_INPUT
    ]

    def flatten(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        given = _as_captured(args, kwargs, call)
        leaves, found = pytree.tree_flatten(given)
        if len(leaves) != len(kept) or found != spec:
            raise FeedError(
                "the arguments are not nested like the example inputs",
                why=f"expected {spec}, got {found}",
            )
        return [leaf for leaf, keep in zip(leaves, kept, strict=True) if keep]

    return flatten


def _as_captured(
    args: Sequence[Any], kwargs: Mapping[str, Any], call: Call
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments, split into positional and named like the call of the capture.

    Raises:
        FeedError: They do not fit the signature of `forward`.
    """
    same = len(args) == len(call.args) and set(kwargs) == set(call.kwargs)
    if same or call.signature is None:
        return tuple(args), {name: kwargs[name] for name in call.kwargs if name in kwargs}
    try:
        bound = call.signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise FeedError("the arguments do not fit the module", why=str(error)) from error
    named = list(bound)[: len(call.args)]
    rest = {name: bound[name] for name in call.kwargs if name in bound}
    return tuple(bound[name] for name in named), rest


def _unflatten(exported: torch.export.ExportedProgram) -> Unflatten:
    spec = exported.call_spec.out_spec
    assert spec is not None
    entries = [
        entry.arg
        for entry in exported.graph_signature.output_specs
        if entry.kind == OutputKind.USER_OUTPUT
    ]

    def unflatten(arrays: Sequence[Any]) -> Any:
        remaining = iter(arrays)
        leaves = [
            entry.value if isinstance(entry, ConstantArgument) else next(remaining)
            for entry in entries
        ]
        return pytree.tree_unflatten(leaves, spec)

    return unflatten
