"""What `dynamic` asked for, held against what the capture and its translation left open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export.graph_signature import InputKind, TensorArgument
from torch.utils import _pytree as pytree

from qcompiler.errors import ExportError
from qcompiler.frontends.torch_call import Call
from qcompiler.ir.signature import Signature

_DIM = torch.export.Dim


def check_open(
    exported: torch.export.ExportedProgram, call: Call, dynamic: Any, signature: Signature
) -> list[str]:
    """Notes on axes that were to stay open and are fixed.

    Args:
        exported: The capture.
        call: Its example.
        dynamic: As the user gave it.
        signature: Of the translated program.

    Raises:
        ExportError: The user declared such an axis as open.
    """
    if dynamic is False:
        return []
    declared = dict(_declared(call, dynamic))
    leaves = pytree.tree_leaves((call.args, call.kwargs))
    notes = []
    for spec, leaf, axis, size in _fixed(exported, leaves, signature):
        asked = declared.get((id(leaf), axis))
        if asked is None and not _was_open(exported, spec, axis):
            continue
        if asked is not None and asked is not _DIM.AUTO:
            raise ExportError(
                f"axis {axis} of input '{spec}' was declared open and is fixed to {size}",
                where=f"dynamic: input '{spec}', axis {axis}",
                why="PyTorch's capture or its ONNX translation is good for this size only",
                fix="leave the axis out of `dynamic`, or write the module without what fixes it "
                "(loops over the axis, reshapes to numbers)",
            )
        notes.append(f"axis {axis} of input '{spec}' is fixed to {size}: it could not be kept open")
    return notes


def _fixed(
    exported: torch.export.ExportedProgram, leaves: Sequence[Any], signature: Signature
) -> Iterator[tuple[str, Any, int, int]]:
    """(input, leaf, axis, size) of every fixed axis of a tensor input."""
    specs = [e for e in exported.graph_signature.input_specs if e.kind == InputKind.USER_INPUT]
    fed = [
        (each.arg.name, leaf)
        for each, leaf in zip(specs, leaves, strict=False)
        if isinstance(each.arg, TensorArgument)
    ]
    for (name, leaf), spec in zip(fed, signature.inputs, strict=False):
        for axis, size in enumerate(spec.shape or ()):
            if isinstance(size, int):
                yield name, leaf, axis, size


def _was_open(exported: torch.export.ExportedProgram, name: str, axis: int) -> bool:
    """Whether the capture had a symbol there, which its translation lost."""
    for node in exported.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name == name and isinstance(value, torch.Tensor):
            return not str(value.shape[axis]).isdigit()
    return False


def _declared(call: Call, dynamic: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    """((identity of a leaf, axis), dimension) of everything that the user declared as open."""
    if call.signature is None or not isinstance(dynamic, Mapping | tuple | list):
        return
    bound = call.signature.bind(*call.args, **call.kwargs).arguments
    for name, parameter in call.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and name in bound:
            bound.update(bound.pop(name))
    by_name = dynamic if isinstance(dynamic, Mapping) else dict(zip(bound, dynamic, strict=False))
    for name, value in bound.items():
        yield from _walked(value, by_name.get(name))


def _walked(value: Any, dims: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    if dims is None:
        return
    if isinstance(value, torch.Tensor):
        items = dims.items() if isinstance(dims, Mapping) else enumerate(dims)
        for axis, dim in items:
            if dim is not None and dim is not _DIM.STATIC and not isinstance(dim, int):
                yield (id(value), axis % value.ndim), dim
        return
    parts, spec = pytree.tree_flatten(value, is_leaf=lambda each: each is not value)
    if spec.is_leaf():
        return
    inner = list(dims.values()) if isinstance(dims, Mapping) else list(dims)
    if isinstance(value, Mapping) and isinstance(dims, Mapping):
        inner = [dims.get(key) for key in value]
    for part, dim in zip(parts, inner, strict=False):
        yield from _walked(part, dim)
