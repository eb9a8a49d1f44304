"""Walking a program: nodes of all subgraphs, real users of a value, constants.

Subgraphs (If, Loop, Scan bodies) are always included; a value of an outer scope that a body uses
counts that use like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.quantization.numerics import dequantize, quantize
from qcompiler.quantization.qspace import Granularity, QParams, QSpace

Array = npt.NDArray[Any]


class Usage(NamedTuple):
    """One reading of a value: operand `idx` of `node`."""

    node: ir.Node
    idx: int


_WITH_BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Ops of the ONNX domain that hold subgraphs."""


def all_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, then every nested one, outer before inner."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph:
            if node.op_type in _WITH_BODIES or node.domain:  # `bodies` of every node is slow
                pending.extend(bodies(node))


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node of every graph, in the order of `all_graphs`; each graph is walked once."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        for node in graph:
            yield node
            if (node.op_type in _WITH_BODIES or node.domain) and node.graph is graph:
                pending.extend(bodies(node))


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The subgraphs held by a node's attributes."""
    if node.domain == "" and node.op_type not in _WITH_BODIES:
        return
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def outer_values(node: ir.Node) -> list[ir.Value]:
    """Values of outer scopes that the bodies of a node read, each once."""
    inside: set[ir.Graph] = set()
    pending = list(bodies(node))
    read: list[ir.Value | None] = []
    outputs: list[ir.Value] = []
    while pending:
        body = pending.pop()
        inside.add(body)
        outputs.extend(body.outputs)
        for each in body:
            read.extend(each.inputs)
            pending.extend(bodies(each))
    found: dict[ir.Value, None] = {}
    for value in (*read, *outputs):
        if value is not None and value.graph not in inside:
            found.setdefault(value)
    return list(found)


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of these ops of the ONNX domain."""
    return node is not None and node.op_type in op_types and node.domain in ("", "ai.onnx")


def values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    """Inputs of graphs and results of nodes, subgraphs included."""
    found: dict[str, ir.Value] = {}
    for graph in all_graphs(model):
        found.update((value.name or "", value) for value in graph.inputs)
        found.update((value.name or "", value) for node in graph for value in node.outputs)
    return found


def uses(value: ir.Value) -> tuple[Usage, ...]:
    """Uses of the value by nodes."""
    return tuple(Usage(*use) for use in value.uses())


def is_read(value: ir.Value) -> bool:
    """Whether a node or the graph's caller reads it."""
    return bool(value.uses()) or value.is_graph_output()


def is_any_read(node: ir.Node) -> bool:
    """Whether a node or the graph's caller reads an output of the node."""
    for output in node.outputs:  # noqa: SIM110 - asked of all nodes, and twice as fast as any()
        if is_read(output):
            return True
    return False


def producer_of(value: ir.Value | None) -> ir.Node | None:
    """The node that computes a value; None for inputs, constants and omitted operands."""
    return None if value is None else value.producer()


def sole_user(value: ir.Value) -> ir.Node | None:
    """The only node that reads the value; None if there are others or it is a graph output."""
    found = uses(value)
    if len(found) != 1 or value.is_graph_output():
        return None
    return found[0].node


def constant(value: ir.Value | None) -> Array | None:
    """The value as numpy, if it is an initializer or the output of a Constant node.

    Large external tensors are memory-mapped, not read.
    """
    if value is None:
        return None
    if value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    """Whether `constant(value)` would give an array; does not touch the data."""
    if value is None or value.is_graph_input():
        return False
    return ir.convenience.get_const_tensor(value) is not None


_CONSTANT_KEEPERS = ("Transpose", "DequantizeLinear", "QuantizeLinear")


def stored_identity(value: ir.Value | None) -> tuple[object, ...] | None:
    """What `stored_array` is computed from: equal tuples mean equal arrays.

    Tensors are in it by identity and are kept alive by it. None for what is no constant.
    """
    if value is None or value.is_graph_input():
        return None
    node = value.producer()
    if node is None or not is_op(node, *_CONSTANT_KEEPERS):
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else (Identity(tensor),)
    operands = [stored_identity(operand) for operand in node.inputs if operand is not None]
    if any(each is None for each in operands):
        return None
    attributes = tuple(sorted((a.name, str(a.value)) for a in node.attributes.values()))
    return node.op_type, attributes, *(part for each in operands for part in each or ())


class Identity:
    """A tensor (or whatever else is large) as part of a key: equal to itself only."""

    def __init__(self, tensor: object) -> None:
        self._tensor = tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._tensor is other._tensor

    def __hash__(self) -> int:
        return id(self._tensor)


def stored_array(value: ir.Value | None) -> Array | None:
    """The constant, as it is behind Transpose, QuantizeLinear and DequantizeLinear.

    None where the value, a scale or a zero point is computed at run time.
    """
    node = producer_of(value)
    if node is None or not is_op(node, *_CONSTANT_KEEPERS):
        return constant(value)
    array = stored_array(node.inputs[0])
    if array is None:
        return None
    if is_op(node, "Transpose"):
        return np.transpose(array, node.attributes.get_ints("perm", None))
    params = quantization_of(node)
    if params is None:
        return None
    return quantize(array, params) if is_op(node, "QuantizeLinear") else dequantize(array, params)


def quantization_of(node: ir.Node) -> QParams | None:
    """Parameters of a QuantizeLinear or DequantizeLinear; None where they are computed."""
    scale, zero_value = constant(node.inputs[1]), None
    if len(node.inputs) > 2:
        zero_value = node.inputs[2]
    zero = constant(zero_value)
    source = node.outputs[0] if is_op(node, "QuantizeLinear") else node.inputs[0]
    if scale is None or source is None or (zero is None and zero_value is not None):
        return None
    given = ir.DataType.UINT8 if zero is None else ir.DataType.from_numpy(zero.dtype)
    dtype = source.dtype or given  # where shape inference has not been yet
    points = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    scale = np.asarray(scale, np.float32)
    block, axis = node.attributes.get_int("block_size", 0), node.attributes.get_int("axis", 1)
    dims = rank(node.inputs[0]) or rank(node.outputs[0])
    axis = axis % dims if dims else axis
    symmetric = dtype.is_floating_point()  # float8 has no zero points
    if block:
        return QParams(scale, points, _space(dtype, symmetric, Granularity.GROUP, block), axis)
    if scale.size == 1 and scale.ndim <= 1:
        space = _space(dtype, symmetric, Granularity.TENSOR)
        return QParams(scale.reshape(()), points.reshape(()), space)
    return QParams(scale, points, _space(dtype, symmetric, Granularity.CHANNEL), axis)


@cache
def _space(
    dtype: ir.DataType, symmetric: bool, granularity: Granularity, group_size: int | None = None
) -> QSpace:
    """Made once: a graph has as many Q/DQ nodes of a space as it has values."""
    return QSpace(dtype, symmetric, granularity, group_size)


def is_stored(value: ir.Value | None) -> bool:
    """Whether the value is known at build time: a constant, or one behind Q, DQ or Transpose."""
    depth = 0
    while value is not None and depth < 3:
        if is_constant(value):
            return True
        node = value.producer()
        if not is_op(node, "DequantizeLinear", "QuantizeLinear", "Transpose"):
            return False
        assert node is not None
        value = node.inputs[0]
        depth += 1
    return False


DRAWING = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
     "Multinomial"}
)  # fmt: skip
"""Ops that draw random numbers."""
RANDOM = DRAWING | {"Dropout"}
"""Those, and what may draw when it trains."""


def values_of_constants(model: ir.Model) -> set[ir.Value]:
    """Results of nodes that read nothing but constants and such results. O(nodes)."""
    found: set[ir.Value] = set()
    for graph in all_graphs(model):
        for node in graph:
            operands = [value for value in node.inputs if value is not None]
            if not operands or node.op_type in RANDOM or any(True for _ in bodies(node)):
                continue
            if all(value in found or is_constant(value) for value in operands):
                found.update(node.outputs)
    return found


def scalar(value: ir.Value | None) -> float | None:
    """The number in a constant with one element, else None."""
    array = constant(value)
    if array is None or array.size != 1:
        return None
    return float(np.asarray(array, dtype=np.float64).reshape(()))


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions, if known."""
    return None if value is None or value.shape is None else len(value.shape)
