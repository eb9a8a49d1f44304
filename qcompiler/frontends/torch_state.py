"""Buffers that a call changes: the compiled program has no memory, so the user is told."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def state_notes(exported: torch.export.ExportedProgram) -> list[str]:
    """One sentence per buffer that a call changes and that results depend on.

    Args:
        exported: After decomposition: its signature lists what is written to. Counters that no
            result depends on (`num_batches_tracked`) are nobody's concern.
    """
    signature = exported.graph_signature
    changed = dict(signature.buffers_to_mutate)
    if not changed:
        return []
    results = set(signature.user_outputs)
    read = set(_behind(node for node in exported.graph.nodes if node.name in results))
    names = {node.name for node in read if node.op == "placeholder"}
    matters = {buffer for name, buffer in signature.inputs_to_buffers.items() if name in names}
    return [
        f"buffer '{buffer}' changes from call to call in the source: the compiled model is without "
        "memory and starts every call from the state it was compiled with; make the state an "
        "argument and a result of forward if it has to go on"
        for buffer in dict.fromkeys(changed.values())
        if buffer in matters
    ]


def _behind(nodes: Iterator[torch.fx.Node]) -> Iterator[torch.fx.Node]:
    """The nodes and everything they are computed from."""
    pending, seen = list(nodes), set()
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += node.all_input_nodes
            yield node
