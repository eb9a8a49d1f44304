"""Sizes that exporters write down but do not know: `-1` and `?` become nameless dimensions."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.ir.walk import all_graphs


def forget_unknown_sizes(model: ir.Model) -> None:
    """Makes negative sizes and the symbol `?` unknown (Paddle's exporter writes both).

    Two dimensions named `?` are not equal, though equal symbols would say so (ONNX IR
    specification, "Static tensor shapes").
    """
    for value in _values(model):
        if value.shape is None or not any(_is_placeholder(dim) for dim in value.shape):
            continue
        # A new shape object: the user's model may share the old one.
        value.shape = ir.Shape([None if _is_placeholder(d) else d for d in value.shape])


def _is_placeholder(dim: int | ir.SymbolicDim) -> bool:
    return dim < 0 if isinstance(dim, int) else dim.value in ("?", "")


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in all_graphs(model):
        yield from graph.inputs
        for node in graph:
            yield from node.outputs
