"""State that a call changes: the compiled program has no memory, so the user is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.export.graph_signature import OutputKind

from qcompiler.frontends.torch_call import Call

_UNNAMED = (
    "the source gives another result when it is called again with the same arguments: the compiled "
    "model is without memory; make what it remembers an argument and a result"
)


def memory_notes(call: Call, again: Sequence[Any], changed: Sequence[str]) -> list[str]:
    """A sentence on a module that gives another result for an equal call.

    Args:
        call: The example with its results.
        again: Leaves of what a second run from the same parameters, buffers and random state gave.
        changed: Names of attributes that runs change; without another result, those are caches.
    """
    if len(call.results) != len(again) or all(map(_is_same, call.results, again)):
        return []
    if changed:
        return [_told("attribute", changed[0])]
    return [_UNNAMED]


def _is_same(one: Any, other: Any) -> bool:
    """Whether two leaves of results are equal, as far as they are tensors or numbers."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if not (one.is_floating_point() or one.is_complex()):
            return torch.equal(one, other)
        return torch.allclose(one, other, equal_nan=True)
    return not isinstance(one, bool | int | float | str) or bool(one == other)


def _told(kind: str, name: str) -> str:
    return (
        f"{kind} '{name}' changes from call to call in the source: the compiled model is without "
        "memory and starts every call from the state it was compiled with; make the state an "
        "argument and a result of forward if it has to go on"
    )


def state_notes(exported: torch.export.ExportedProgram) -> list[str]:
    """One sentence per buffer or parameter that a call changes and that results depend on.

    Args:
        exported: After decomposition: its signature lists what is written to. Counters that no
            result depends on (`num_batches_tracked`) are nobody's concern.
    """
    signature = exported.graph_signature
    written = dict.fromkeys(signature.buffers_to_mutate.values(), "buffer")
    for each in signature.output_specs:
        if each.kind == OutputKind.PARAMETER_MUTATION and each.target is not None:
            written[each.target] = "parameter"
    if not written:
        return []
    results = set(signature.user_outputs)
    read = set(_behind(node for node in exported.graph.nodes if node.name in results))
    names = {node.name for node in read if node.op == "placeholder"}
    held = {**signature.inputs_to_buffers, **signature.inputs_to_parameters}
    matters = {held[name] for name in names if name in held}
    return [_told(kind, name) for name, kind in written.items() if name in matters]


def _behind(nodes: Iterator[torch.fx.Node]) -> Iterator[torch.fx.Node]:
    """The nodes and everything they are computed from."""
    pending, seen = list(nodes), set()
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += node.all_input_nodes
            yield node
