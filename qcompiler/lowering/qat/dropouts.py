"""Where a source drops values in training, which nothing of the float program shows any more."""

from __future__ import annotations

import numpy as np
import torch

from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op, uses


def dropouts(source: Program, program: Program) -> tuple[dict[str, float], tuple[str, ...]]:
    """The share that is dropped by value, behind values that nothing else reads; what is lost.

    Args:
        source: As it came.
        program: The same after the float passes.
    """
    names = {out.name for node in all_nodes(program.model) for out in node.outputs}
    names |= {value.name for value in program.graph.inputs}
    found, lost = {}, []
    for node in all_nodes(source.model):
        if not is_op(node, "Dropout") or node.inputs[0] is None:
            continue
        ratio = constant(node.inputs[1]) if len(node.inputs) > 1 else np.asarray(0.5)
        value = node.inputs[0]
        alone = len(uses(value)) == 1 and not value.is_graph_output()
        if ratio is None or not alone or value.name not in names:
            lost.append(node.name or "Dropout")
        elif float(ratio) > 0:
            found[value.name or ""] = float(ratio)
    notes = tuple(f"'{name}' does not drop in training: its place is gone" for name in lost)
    return found, notes


def other_dropouts(model: object) -> tuple[str, ...]:
    """Said of modules that drop whole channels, or to another value than 0."""
    parts = model.named_modules() if isinstance(model, torch.nn.Module) else ()
    kinds = (
        torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d,
        torch.nn.AlphaDropout, torch.nn.FeatureAlphaDropout,
    )  # fmt: skip
    return tuple(
        f"'{path}' does not drop in training: {type(part).__name__} is not kept"
        for path, part in parts
        if isinstance(part, kinds)
    )
