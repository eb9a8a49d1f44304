"""Modules that compute in bfloat16, in float64 or under autocast, captured as float32 ones.

No CPU runtime here has kernels for bfloat16, and quantization starts from float32. The types at the
module's boundary stay: what it takes may be given in its own type, what it returns comes back so.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from qcompiler.errors import ExportError
from qcompiler.frontends.torch_call import Call, result_of
from qcompiler.frontends.torch_opaque import register_dataclasses

Leaves = tuple[torch.dtype | None, ...]

_CONVERTERS: Mapping[Any, torch.dtype] = {
    torch.Tensor.bfloat16: torch.bfloat16,
    torch.Tensor.double: torch.float64,
    torch.Tensor.half: torch.float16,
}
"""Methods that convert to a type without naming it."""
_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Run:
    """What a run of a module showed.

    Attributes:
        held: Types of its arguments and weights.
        computed: Types of what it computes.
        results: Leaves of what it returns.
    """

    held: frozenset[torch.dtype]
    computed: frozenset[torch.dtype]
    results: tuple[Any, ...]


@dataclass(frozen=True)
class Boundary:
    """What a module computes in, where its capture computes in float32.

    Attributes:
        types: Floating types that the capture does without.
        taken: By leaf of the captured call: its own type, None where it is the captured one.
        given: The same by leaf of the result.
    """

    types: tuple[torch.dtype, ...] = ()
    taken: Leaves = ()
    given: Leaves = ()

    def capturing(self) -> contextlib.AbstractContextManager[object]:
        """Where the module's own conversions to those types give float32."""
        return _InFloat32(self.types) if self.types else contextlib.nullcontext()

    @property
    def notes(self) -> list[str]:
        """What the user is told."""
        if not self.types:
            return []
        note = f"the module computes in {_names(self.types)} and is compiled in float32; "
        return [note + "what it takes and returns keeps its types"]


def in_float32(
    module: torch.nn.Module, call: Call, run: Run
) -> tuple[torch.nn.Module, Call, Boundary]:
    """Module and example as they are, or in float32 where they need to be; `run` is of both.

    bfloat16 is replaced wherever it occurs; float64 if all weights have it, or an argument and no
    weight, since a step in double precision inside a float32 module is meant; float16 if only
    autocast makes it.

    Raises:
        ExportError: They need to be, and the module cannot be copied.
    """
    types = [torch.bfloat16] if torch.bfloat16 in run.held | run.computed else []
    types += [torch.float16] if torch.float16 in run.computed - run.held else []
    types += [torch.float64] if _is_double(module, call) else []
    if not types:
        return module, call, Boundary()
    try:
        copied = copy.deepcopy(module)
    except Exception as error:
        raise _uncopied(module, types, str(error)) from error

    def single(leaf: Any) -> Any:
        known = isinstance(leaf, torch.Tensor) and leaf.dtype in types
        return leaf.float() if known else leaf

    copied._apply(single)  # type: ignore[no-untyped-call]
    leaves = pytree.tree_leaves((call.args, call.kwargs))
    args, kwargs = pytree.tree_map(single, (call.args, call.kwargs))
    boundary = Boundary(tuple(types), _replaced(leaves, types), _replaced(run.results, types))
    return copied, replace(call, args=args, kwargs=kwargs), boundary


def _uncopied(module: torch.nn.Module, types: Sequence[torch.dtype], why: str) -> ExportError:
    return ExportError(
        f"{type(module).__name__} computes in {_names(types)} and cannot be brought to float32",
        where=type(module).__name__,
        why=why,
        fix="compile module.float(), without torch.autocast and .bfloat16(), with float32 feeds",
    )


def _replaced(leaves: Sequence[Any], types: Sequence[torch.dtype]) -> Leaves:
    found = (getattr(leaf, "dtype", None) for leaf in leaves)
    return tuple(each if each in types else None for each in found)


def _is_double(module: torch.nn.Module, call: Call) -> bool:
    kinds = {each.dtype for each in module.parameters() if each.dtype.is_floating_point}
    if kinds == {torch.float64}:
        return True
    leaves = pytree.tree_leaves((call.args, call.kwargs))
    given = {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor)}
    return torch.float64 in given - kinds


def _names(types: Sequence[torch.dtype]) -> str:
    return " and ".join(str(each).removeprefix("torch.") for each in types)


def observed(module: torch.nn.Module, call: Call) -> Run:
    """One run of the module."""
    spy = _Spy()
    results: list[Any] = []

    def keep(_module: Any, _args: Any, result: Any) -> None:
        register_dataclasses(result)
        results[:] = pytree.tree_leaves(result)

    handle = module.register_forward_hook(keep)
    try:
        with spy, contextlib.suppress(Exception):  # it ran; a float64 example may not
            result_of(module, call)
    finally:
        handle.remove()
    weights = [*module.parameters(), *module.buffers()]
    tensors = pytree.tree_leaves((call.args, call.kwargs, weights))
    held = {leaf.dtype for leaf in tensors if isinstance(leaf, torch.Tensor)}
    return Run(frozenset(held), frozenset(spy.seen), tuple(results))


class _Spy(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the types of results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        leaves = pytree.tree_leaves(made)
        self.seen |= {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return made


class _InFloat32(TorchFunctionMode):
    """Takes float32 for some types, whoever names them."""

    def __init__(self, types: Sequence[torch.dtype]) -> None:
        super().__init__()
        self._types = types

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call: Callable[..., Any] = func
        if _CONVERTERS.get(func) in self._types:
            call = torch.Tensor.float
        args, kwargs = pytree.tree_map(self._single, (tuple(args), dict(kwargs or {})))
        return call(*args, **kwargs)

    def _single(self, leaf: Any) -> Any:
        return torch.float32 if isinstance(leaf, torch.dtype) and leaf in self._types else leaf


def without_autocast(
    exported: torch.export.ExportedProgram,
) -> tuple[torch.export.ExportedProgram, list[str]]:
    """The program with regions of autocast in the types of their arguments, and notes.

    The translation would write casts to half types, which are slow or missing on a CPU.
    """
    # older releases register it with the first region that they capture
    autocast = getattr(torch.ops.higher_order, "wrap_with_autocast", None)
    regions = [node for node in _calls(exported) if autocast and node.target is autocast]
    active = any(node.args[0] == "cpu" and node.args[2] for node in regions)
    for node in regions:
        node.args = (*node.args[:2], False, *node.args[3:])
    if not regions:
        return exported, []
    for node in _calls(exported):
        if node.target is _ATEN._assert_tensor_metadata.default:
            node.graph.erase_node(node)
    for part in exported.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            part.recompile()
    retraced: torch.export.ExportedProgram = exported.run_decompositions({})
    note = "torch.autocast inside the module is left out: it is compiled in float32"
    return retraced, [note] if active else []


def _calls(exported: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    parts = [m for m in exported.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    return [node for part in parts for node in part.graph.nodes if node.op == "call_function"]
