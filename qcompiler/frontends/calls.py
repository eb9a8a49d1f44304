"""How many nodes the functions of a model become once they are inlined, known before it is done."""

from __future__ import annotations

import graphlib

import onnx_ir as ir

from qcompiler.errors import UnreadableModelError
from qcompiler.ir.walk import all_nodes

MOST_NODES = 500_000
"""Functions that call twice what calls twice grow as 2^depth: 24 of them would fill the memory."""


def check_calls(model: ir.Model) -> None:
    """Functions do not call in a circle, and inlined they stay below `MOST_NODES`. O(nodes).

    Raises:
        UnreadableModelError: They do not.
    """
    calls = {
        name: [n.op_identifier() for n in function.all_nodes()]
        for name, function in model.functions.items()
    }
    inner = {name: {c for c in called if c in calls} for name, called in calls.items()}
    try:
        order = list(graphlib.TopologicalSorter(inner).static_order())
    except graphlib.CycleError as error:
        raise UnreadableModelError(
            "the functions of this model cannot be inlined",
            why=f"they call each other in a circle: {' -> '.join(n[1] for n in error.args[1])}",
            fix="remove circular calls",
        ) from error
    sizes: dict[ir.OperatorIdentifier, int] = {}
    for name in order:
        sizes[name] = sum(sizes.get(each, 1) for each in calls[name])
    total = sum(sizes.get(node.op_identifier(), 1) for node in all_nodes(model))
    if total > MOST_NODES:
        raise UnreadableModelError(
            "the functions of this model become too many nodes",
            where=f"function '{max(sizes, key=lambda name: sizes[name])[1]}'",
            why=f"{total} nodes once inlined, {MOST_NODES} are taken",
            fix="inline the functions and simplify the model with another tool first",
        )


def drop_uncalled(model: ir.Model) -> None:
    """Takes away functions that no node reaches: inlining takes a time of their number squared."""
    called: set[ir.OperatorIdentifier] = set()
    pending = [node.op_identifier() for node in all_nodes(model)]
    while pending:
        name = pending.pop()
        if name in model.functions and name not in called:
            called.add(name)
            pending += [node.op_identifier() for node in model.functions[name].all_nodes()]
    for name in set(model.functions) - called:
        del model.functions[name]
