"""Types and shapes of inner values, where ONNX's inference can tell: a convenience, no need."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from qcompiler.ir.views import with_initializers
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
        inferred = _inferred(model)
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


def recompute_shapes(model: ir.Model) -> bool:
    """Infers the shapes of inner values from the inputs; says whether the written ones were wrong.

    A file's `value_info` may be that of another batch or size. If one written shape contradicts
    what is inferred, none is believed; else they fill the gaps. That of a stored weight counts for
    nothing.
    """
    for graph in all_graphs(model):
        for stored in graph.initializers.values():
            if stored.const_value is not None and not stored.is_graph_input():
                stored.shape = ir.Shape(stored.const_value.shape.numpy())
    written = {
        value: value.shape
        for node in all_nodes(model)
        for value in node.outputs
        if value.name and value.shape is not None and not value.is_graph_output()
    }
    if len(written) > _LARGEST_MODEL:
        return False
    for value in written:
        value.shape = None
    infer_types(model)
    symbols = {str(dim) for v in model.graph.inputs for dim in v.shape or () if not _is_int(dim)}
    stale = any(_contradicts(value.shape, shape, symbols) for value, shape in written.items())
    if not stale:
        for value, shape in written.items():
            value.shape = _merged(value.shape, shape)
    return stale


def _is_int(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, int)


def _contradicts(inferred: ir.Shape | None, written: ir.Shape, symbols: set[str]) -> bool:
    """Another rank, another number, or a number where the input's own symbol belongs."""
    if inferred is None:
        return False
    if len(inferred) != len(written):
        return True
    return any(
        isinstance(w, int) and (w != i if isinstance(i, int) else i.value in symbols)
        for i, w in zip(inferred, written, strict=True)
    )


def _merged(inferred: ir.Shape | None, written: ir.Shape) -> ir.Shape:
    """What was inferred, and what was written where nothing was."""
    if inferred is None:
        return written
    return ir.Shape(
        [
            w if not isinstance(i, int) and (isinstance(w, int) or w.value is not None) else i
            for i, w in zip(inferred, written, strict=True)
        ]
    )


def _inferred(model: ir.Model) -> onnx.ModelProto:
    """With what is computed of constants, as far as that is small.

    A Tile, Range or Pad of constants may make 2^40 of them, which propagation would write down.
    """
    skeleton = ir.serde.serialize_model(_without_weights(model))
    if _propagated(model) > _MOST_PROPAGATED:
        return onnx.shape_inference.infer_shapes(skeleton)
    grown = _grown(model)
    if grown:
        plain = onnx.shape_inference.infer_shapes(skeleton)
        infos = (each for each in _value_infos(plain.graph) if each.name in grown)
        if any(_elements(each) > _MOST_PROPAGATED for each in infos):
            return plain
    return onnx.shape_inference.infer_shapes(skeleton, data_prop=True)


def _grown(model: ir.Model) -> set[str]:
    """Values that are computed from constants alone, if some op among them can make more of few."""
    known = {value for graph in all_graphs(model) for value in graph.initializers.values()}
    grows = False
    for node in all_nodes(model):
        if all(value is None or value in known for value in node.inputs):
            known.update(node.outputs)
            grows = grows or is_op(node, *_GROWING)
    return {value.name for value in known if value.name} if grows else set()


_GROWING = ("Tile", "Range", "Pad", "Expand", "ConstantOfShape", "OneHot", "Resize", "Upsample")


def _elements(info: onnx.ValueInfoProto) -> int:
    return math.prod(dim.dim_value for dim in info.type.tensor_type.shape.dim)


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
        count = stored_elements(value)
        return count if count <= _KEPT_ELEMENTS else 1
    return known.get(value, 1)


def _without_weights(model: ir.Model) -> ir.Model:
    """The nodes in front of which every large initializer is a typed input."""
    kept, inputs = [], []
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or stored_elements(value) <= _KEPT_ELEMENTS:
            kept.append(value)
            continue
        shape = value.shape or ir.Shape(tensor.shape.numpy())
        kind = value.type or ir.TensorType(tensor.dtype)
        if not value.is_graph_input():
            inputs.append(ir.Value(name=value.name, shape=shape, type=kind))
    return with_initializers(model, kept, inputs)


def stored_elements(value: ir.Value) -> int:
    """Of a constant; 0 without one."""
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
