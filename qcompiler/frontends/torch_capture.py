"""Capturing a torch module as an `ExportedProgram`: dynamic dimensions, retries, clear failures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.export.graph_signature import InputKind
from torch.fx.experimental import _config
from torch.utils import _pytree as pytree

from qcompiler.frontends.torch_attributes import left_as_it_was
from qcompiler.frontends.torch_batch import resized
from qcompiler.frontends.torch_call import Call
from qcompiler.frontends.torch_failures import capture_error
from qcompiler.frontends.torch_packed import packing_padded
from qcompiler.frontends.torch_sizes import breaks_at
from qcompiler.frontends.torch_training import evaluating
from qcompiler.frontends.torch_whole import kept_whole

Exported = torch.export.ExportedProgram

_FIXED = "the batch dimension is fixed: torch.export could not keep it symbolic"


def captures(
    module: torch.nn.Module,
    call: Call,
    dynamic: Any,
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[tuple[Exported, list[str]]]:
    """Ways to capture the module that work, each with notes for the user; the best one first.

    In turn: `torch.export` with symbolic batch (a batch of one is doubled for it), with fixed
    shapes, and of the module's `torch.fx` symbolic trace. `around` is entered for each.

    Raises:
        ExportError: None works; tells about the first failure, the user's file and line.
    """
    module = evaluating(module)
    first: Exception | None = None
    works = False
    for attempt in _attempts(module, call, dynamic):
        try:
            with around(), left_as_it_was(module):
                exported = attempt.run()
        except Exception as error:  # noqa: BLE001 - torch.export raises what user code raises
            first = error if first is None and attempt.is_told else first
            continue
        works = True
        notes = [attempt.note] if attempt.note else []
        if dynamic is None and _FIXED not in notes and _fixed_inputs(exported, call):
            notes.append(_FIXED)
        yield exported, notes
    if not works:
        assert first is not None
        raise capture_error(module, first, dynamic) from first


@dataclass(frozen=True)
class _Attempt:
    """One way to capture; `note` tells the user what it costs, `is_told` if its failure counts."""

    run: Callable[[], Exported]
    note: str = ""
    is_told: bool = True


def _attempts(module: torch.nn.Module, call: Call, dynamic: Any) -> list[_Attempt]:
    if dynamic is False:
        shapes: Any = None
    elif dynamic is None or dynamic is True:
        shapes = _batch_shapes(call, insist=dynamic is True)
    else:
        shapes = _named(dynamic)
    declared = isinstance(dynamic, Mapping | tuple | list)
    plain = _export_refined if declared else _export
    attempts = [_Attempt(lambda: plain(module, call, shapes))]
    if dynamic in (None, True) and _is_single(call):
        doubled = _Attempt(lambda: _export_doubled(module, call, shapes), is_told=False)
        attempts = [doubled] if dynamic is None else [doubled, *attempts]
    if dynamic is None:
        attempts.append(_Attempt(lambda: _export(module, call, None), _FIXED))
    if not isinstance(module, torch.fx.GraphModule):
        traced = "captured with torch.fx: torch.export failed on the module itself"
        attempts.append(
            _Attempt(lambda: _export(torch.fx.symbolic_trace(module), call, shapes), traced)
        )
    return attempts


def _named(dynamic: Any) -> Any:
    """Dimensions by name, as `dynamic_axes` of torch.onnx.export has them: equal names are one."""
    dims: dict[str, Any] = {}

    def of(leaf: Any) -> Any:
        if not isinstance(leaf, str) or not leaf.isidentifier():
            return leaf
        return dims.setdefault(leaf, torch.export.Dim(leaf))

    return pytree.tree_map(of, dynamic)


def _export(module: torch.nn.Module, call: Call, shapes: Any) -> Exported:
    # torch.export marks symbolic dimensions on the tensors it is given, and heeds old marks: every
    # attempt gets tensor objects of its own, and the user's stay unmarked.
    args, kwargs = pytree.tree_map(_unmarked, (call.args, call.kwargs))
    with symbolic_ones(), packing_padded(), kept_whole():
        return torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)


def _export_refined(module: torch.nn.Module, call: Call, shapes: Any) -> Exported:
    """With the limits of sizes that torch.export finds missing: a kernel of 3 takes no fewer."""
    try:
        return _export(module, call, shapes)
    except torch._dynamo.exc.UserError as error:
        _, found, told = str(error).partition("Suggested fixes:")
        fixes = told.strip().partition("\n\n")[0]  # behind it, how to see more
        if not found or not all(" = Dim(" in line for line in fixes.splitlines()):
            raise  # an axis can have one size only
        refine = torch.export.dynamic_shapes.refine_dynamic_shapes_from_suggested_fixes
        return _export(module, call, refine(found + fixes, shapes))


def _unmarked(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, torch.Tensor) else leaf


class _SpecialisedError(Exception):
    """The batch of a doubled example came out as a number."""


def _tensors_of(call: Call) -> list[torch.Tensor]:
    leaves = pytree.tree_leaves((call.args, call.kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim]


def _is_single(call: Call) -> bool:
    """Whether the example is a batch of one."""
    tensors, axes = _tensors_of(call), call.batch_axes
    if axes is not None:
        return any(t.shape[axes[id(t)]] == 1 for t in tensors if id(t) in axes)
    return bool(tensors) and all(len(tensor) == 1 for tensor in tensors)


def _export_doubled(module: torch.nn.Module, call: Call, shapes: Any) -> Exported:
    """Captures with the example twice in the batch.

    torch takes a size-1 dimension for a broadcast one here and there (layer_norm gives [1, ...] for
    a symbolic batch), so shapes behind it would be wrong.

    Raises:
        _SpecialisedError: The module insists on one size, which is now the wrong one, or takes
            another branch for a batch of one.
    """
    axes = call.batch_axes
    doubled = resized(call, {id(t): 0 for t in _tensors_of(call)} if axes is None else axes)
    exported = _export(module, doubled, shapes)
    fixed = _fixed_inputs(exported, call)
    if fixed or breaks_at(exported, _sizes_of(exported, call)):
        raise _SpecialisedError(", ".join(fixed))
    return exported


def _fixed_inputs(exported: Exported, call: Call) -> list[str]:
    """Names of the tensor inputs whose batch dimension is a number."""
    axes, found = call.batch_axes, []
    for name, value, leaf in _captured_inputs(exported, call):
        axis = 0 if axes is None else axes.get(id(leaf))
        if axis is not None and value.ndim and str(value.shape[axis]).isdigit():
            found.append(name)
    return found


def _sizes_of(exported: Exported, call: Call) -> dict[str, int]:
    """The example's own size for every symbol in the shapes of the capture's inputs."""
    return {
        str(dim): size
        for _, value, leaf in _captured_inputs(exported, call)
        for dim, size in zip(value.shape, leaf.shape, strict=True)
    }


def _captured_inputs(
    exported: Exported, call: Call
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Of each tensor input its name, the capture's value with symbolic sizes, and the example."""
    specs = [e for e in exported.graph_signature.input_specs if e.kind == InputKind.USER_INPUT]
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    leaves = pytree.tree_leaves((call.args, call.kwargs))
    for spec, leaf in zip(specs, leaves, strict=False):
        name = getattr(spec.arg, "name", "")
        value = nodes[name].meta.get("val") if name in nodes else None
        if isinstance(value, torch.Tensor) and isinstance(leaf, torch.Tensor):
            yield name, value, leaf


def symbolic_ones() -> contextlib.AbstractContextManager[object]:
    """Keeps dimensions of size 1 symbolic, as torch.onnx.export does.

    Without it torch.export fixes them, so no batch-1 example could give a symbolic batch.
    """
    if not hasattr(_config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    name = "patch"  # installed at run time, so no attribute that a type checker could know
    patch: Callable[..., contextlib.AbstractContextManager[object]] = getattr(_config, name)
    return patch(backed_size_oblivious=True)


def _batch_shapes(call: Call, insist: bool) -> dict[str, Any]:
    """The batch dimension of every tensor that has one, by argument name."""
    assert call.signature is not None
    kind = torch.export.Dim.DYNAMIC if insist else torch.export.Dim.AUTO
    bound = call.signature.bind(*call.args, **call.kwargs).arguments
    for name, parameter in call.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and name in bound:
            bound.update(bound.pop(name))

    single = _is_single(call)

    def dims(leaf: Any) -> Any:
        # One row beside tensors of several is a parameter such as a scale, not a batch.
        is_batch = isinstance(leaf, torch.Tensor) and leaf.ndim and (single or len(leaf) > 1)
        batch = {0: kind} if is_batch else {}
        if call.batch_axes is not None:
            axis = call.batch_axes.get(id(leaf))
            batch = {} if axis is None else {axis: kind}
        axes = call.open_axes.get(id(leaf), ())
        return batch | dict.fromkeys(axes, kind) or None

    return {name: _dims_of(value, dims) for name, value in bound.items()}


def _dims_of(value: Any, dims: Callable[[Any], Any]) -> Any:
    """As torch.export wants them: the leaves of a registered dataclass in a list, else the nest."""
    leaves, spec = pytree.tree_flatten(value, is_leaf=lambda each: each is not value)
    if spec.is_leaf():
        return dims(value)
    parts = [_dims_of(leaf, dims) for leaf in leaves]
    if dataclasses.is_dataclass(value):
        return parts
    return pytree.tree_unflatten(parts, spec)
