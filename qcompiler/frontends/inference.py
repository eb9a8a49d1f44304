"""Types and shapes of inner values, where ONNX's inference can tell: a convenience, no need."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from qcompiler.ir.walk import all_graphs, all_nodes, is_op

_LOG = logging.getLogger(__name__)
_LARGEST_MODEL = 50_000
"""Nodes; above it inference costs more than anybody gains from it."""
_KEPT_ELEMENTS = 1024
"""Constants up to this size stay in the skeleton: shapes are computed from them."""
_MOST_PROPAGATED = 1 << 20
"""Elements of one value; with more, inference runs without propagating data."""


def infer_types(model: ir.Model) -> None:
    """Fills in missing dtypes and shapes in place; known ones stay.

    Weights are neither serialised nor read. A failure leaves the model as it is (a warning is
    logged): Paddle, BERT and Swin exports break symbolic inference (onnxruntime issue 12178).
    """
    known = [value for node in all_nodes(model) for value in node.outputs if value.name]
    if len(known) > _LARGEST_MODEL or all(v.dtype is not None and v.shape for v in known):
        return
    try:
        skeleton = ir.serde.serialize_model(_without_weights(model))
        propagate = _propagated(model) <= _MOST_PROPAGATED
        inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=propagate)
    except (
        onnx.shape_inference.InferenceError,
        ValueError,
        RuntimeError,
        TypeError,
        MemoryError,
    ) as error:
        _LOG.warning("shape inference failed, shapes stay unknown: %s", error)
        return
    found = {info.name: info for info in _value_infos(inferred.graph)}
    for value in known:
        info = found.get(value.name or "")
        if info is not None:
            _fill(value, info.type)


def _propagated(model: ir.Model) -> int:
    """Most elements that data propagation may hold in one value: Concat is what makes them more.

    A chain of Concats that each read the last one twice has 2^length.
    """
    known: dict[ir.Value, int] = {}
    largest = 0
    for node in all_nodes(model):
        counts = [_known(value, known) for value in node.inputs if value is not None]
        total = sum(counts) if is_op(node, "Concat") else max(counts, default=0)
        largest = max(largest, total)
        for value in node.outputs:
            known[value] = total
    return largest


def _known(value: ir.Value, known: dict[ir.Value, int]) -> int:
    if value.const_value is not None:
        count = _elements(value)
        return count if count <= _KEPT_ELEMENTS else 1
    return known.get(value, 1)


def _without_weights(model: ir.Model) -> ir.Model:
    """A clone in which every large initializer is a typed input."""
    skeleton = model.clone()
    for graph in all_graphs(skeleton):
        if graph is not skeleton.graph:
            continue
        large = [v for v in graph.initializers.values() if _elements(v) > _KEPT_ELEMENTS]
        for value in large:
            assert value.name is not None
            assert value.const_value is not None
            value.shape = value.shape or ir.Shape(value.const_value.shape.numpy())
            value.type = value.type or ir.TensorType(value.const_value.dtype)
            del graph.initializers[value.name]
            value.const_value = None
            graph.inputs.append(value)
    return skeleton


def _elements(value: ir.Value) -> int:
    return 0 if value.const_value is None else int(value.const_value.size)


def _value_infos(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.value_info
    yield from graph.output
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _value_infos(attribute.g)


def _fill(value: ir.Value, proto: onnx.TypeProto) -> None:
    if value.type is None:
        value.type = ir.serde.deserialize_type_proto_for_type(proto)
    if value.shape is None:
        value.shape = ir.serde.deserialize_type_proto_for_shape(proto)
