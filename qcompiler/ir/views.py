"""Models over the nodes of another one: to be run or written, never changed; nothing is cloned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import onnx_ir as ir

from qcompiler.ir.walk import outer_values


def with_metadata(model: ir.Model, props: dict[str, str]) -> ir.Model:
    """The same graph under other metadata."""
    return _model(model, model.graph, props)


def with_initializers(
    model: ir.Model, initializers: Iterable[ir.Value], more_inputs: Iterable[ir.Value] = ()
) -> ir.Model:
    """The same nodes with stand-ins, which take the places of initializers by their names."""
    graph = model.graph
    return _view(model, [*graph.inputs, *more_inputs], graph.outputs, graph, initializers)


def cut(model: ir.Model, outputs: Sequence[ir.Value]) -> ir.Model:
    """What computes these values of the main graph, each once, and nothing else."""
    needed: set[ir.Node] = set()
    read: set[ir.Value] = set()
    pending = list(outputs)
    while pending:
        value = pending.pop()
        read.add(value)
        node = value.producer()
        if node is not None and node not in needed:
            needed.add(node)
            pending += [each for each in (*node.inputs, *outer_values(node)) if each is not None]
    graph = model.graph
    weights = [each for each in graph.initializers.values() if each in read]
    nodes = [node for node in graph if node in needed]
    return _view(model, graph.inputs, outputs, nodes, weights)


def _view(
    model: ir.Model,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Iterable[ir.Node],
    initializers: Iterable[ir.Value],
) -> ir.Model:
    graph = model.graph
    view = ir.GraphView(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(initializers),
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        name=graph.name,
        metadata_props=graph.metadata_props,
    )
    return _model(model, cast(ir.Graph, view), model.metadata_props)


def _model(model: ir.Model, graph: ir.Graph, props: dict[str, str]) -> ir.Model:
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=tuple(model.functions.values()),
        metadata_props=dict(props),
    )
