"""Patterns other than DQ → op → Q: dynamic linear layers, recurrent layers, look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from torch import fx

from qcompiler.backends.torch_engines import adapter, dynamic_rnn, look_up
from qcompiler.backends.torch_engines.faults import Site, objections
from qcompiler.backends.torch_engines.kernels.island import Setting, Writer
from qcompiler.backends.torch_engines.kernels.linear import with_leading_axes
from qcompiler.backends.torch_engines.recurrent_weights import recurrent_objection
from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx.dynamic_product import dynamic_product


@dataclass(frozen=True, eq=False)
class Special:
    """A pattern that becomes one call.

    Attributes:
        nodes: What the call replaces.
        last: The node whose output it writes.
        emit: Writes the call.
    """

    nodes: tuple[ir.Node, ...]
    last: ir.Node
    emit: Callable[[Writer], fx.Node]


def find_specials(graph: ir.Graph, setting: Setting) -> Iterator[Special]:
    """All special patterns of a graph."""
    for node in graph:
        found: Special | None = None
        if is_op(node, "MatMulInteger"):
            found = _dynamic_linear(node, setting)
        elif is_op(node, "LSTM", "GRU"):
            found = _dynamic_recurrent(node)
        elif is_op(node, "Gather"):
            emit = look_up.emitter(node)
            found = Special((node,), node, emit) if emit is not None else None
        if found is not None:
            yield found


def _dynamic_recurrent(node: ir.Node) -> Special | None:
    if recurrent_objection(node) or dynamic_rnn.integer_weights(node) is None:
        return None
    return Special((node,), node, partial(dynamic_rnn.emit, node))


def _dynamic_linear(product: ir.Node, setting: Setting) -> Special | None:
    found = dynamic_product(product)
    if found is None:
        return None
    site = Site("linear", setting.engine, found.weight.T, vnni=setting.vnni)
    if objections(site, setting.faults):
        return None

    def emit(writer: Writer) -> fx.Node:
        columns = np.ascontiguousarray(found.weight.T)
        packed = adapter.pack_linear(columns, found.scale, found.zero_point, found.bias)
        held = writer.attribute("packed", packed)
        x = writer.real(found.x)
        result = writer.call(adapter.op("linear_dynamic"), x, held)
        return with_leading_axes(writer, result, x, found.x, setting)

    return Special(found.nodes, found.last, emit)
