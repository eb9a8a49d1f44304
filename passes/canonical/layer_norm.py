"""LayerNormalization taken apart → the op (ONNX operator LayerNormalization, opset 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, sole_user
from qcompiler.passes.canonical.algebra import is_closed, operand_and_scalar
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.pooling import reduced_axes
from qcompiler.passes.canonical.rule import rule

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Normalized:
    """(x - mean(x)) / sqrt(var(x) + epsilon) over the axes from `axis` on, and its nodes."""

    source: ir.Value
    axis: int
    epsilon: float
    nodes: frozenset[ir.Node]


@rule("layer-norm", "Div", "Mul")
def layer_norm(node: ir.Node, rewriter: Rewriter) -> bool:
    """Centre, divide by the deviation, then scale and shift if both are constant vectors.

    The variance is the mean of the squared difference; the scale and shift stay separate nodes
    unless they have exactly the shape of the normalized axis.
    """
    found = _normalized(node)
    if found is None or not is_closed(found.nodes, node):
        return False
    dims = partial_dims(found.source)
    count = dims[found.axis] if dims is not None else None
    if dims is None or found.axis != len(dims) - 1 or count is None:
        return False
    last, scale = _step(node, "Mul", count, len(dims))
    last, bias = _step(last, "Add", count, len(dims)) if scale is not None else (last, None)
    dtype = (found.source.dtype or ir.DataType.FLOAT).numpy()
    stem = last.outputs[0].name
    weights = np.ones(count, dtype) if scale is None else scale.reshape(-1)
    operands = [found.source, rewriter.constant(weights, f"{stem}_scale")]
    if bias is not None:
        operands.append(rewriter.constant(bias.reshape(-1), f"{stem}_bias"))
    attributes = {"axis": -1, "epsilon": found.epsilon}
    rewriter.recompose(last.outputs[0], "LayerNormalization", operands, attributes=attributes)
    return True


def _step(node: ir.Node, op: str, count: int, dims: int) -> tuple[ir.Node, Array | None]:
    """The only user, if it is `op` with a constant vector of `count` along the last axis."""
    user = sole_user(node.outputs[0])
    if user is None or not is_op(user, op) or user.graph is not node.graph:
        return node, None
    for operand in user.inputs:
        array = constant(operand)
        fits = array is not None and array.size == count and array.ndim <= dims
        if fits and array is not None and array.ndim and array.shape[-1] == count:
            return user, array
    return node, None


def _normalized(node: ir.Node) -> _Normalized | None:
    if is_op(node, "Div"):
        pairs = [(node.inputs[0], node.inputs[1])]
    else:
        pairs = [(a, _behind(b, "Reciprocal")) for a, b in _orders(node)]
    for centred, deviation in pairs:
        sub = _producer(centred, "Sub")
        variance = _behind(deviation, "Sqrt")
        if sub is None or deviation is None or variance is None:
            continue
        found = _from_variance(node, sub, variance, deviation)
        if found is not None:
            return found
    return None


def _from_variance(
    node: ir.Node, sub: ir.Node, variance: ir.Value, deviation: ir.Value
) -> _Normalized | None:
    add = _producer(variance, "Add")
    shifted = operand_and_scalar(add)
    mean_square = None if shifted is None else _producer(shifted[0], "ReduceMean")
    mean = _producer(sub.inputs[1], "ReduceMean")
    source = sub.inputs[0]
    if add is None or shifted is None or mean_square is None or mean is None or source is None:
        return None
    square = _producer(mean_square.inputs[0], "Mul")
    centred = sub.outputs[0]
    if square is None or any(operand is not centred for operand in square.inputs):
        return None
    axes = reduced_axes(mean)
    kept = all(each.attributes.get_int("keepdims", 1) for each in (mean, mean_square))
    if axes is None or len(axes) != 1 or reduced_axes(mean_square) != axes or not kept:
        return None
    if mean.inputs[0] is not source or shifted[1] <= 0:
        return None
    root = deviation.producer()
    outer = [operand.producer() for operand in node.inputs if operand is not None]
    nodes = {sub, add, mean_square, mean, square, root, *outer} - {None}
    return _Normalized(source, axes[0], shifted[1], frozenset(n for n in nodes if n is not None))


def _orders(node: ir.Node) -> list[tuple[ir.Value | None, ir.Value | None]]:
    left, right = node.inputs
    return [(left, right), (right, left)]


def _producer(value: ir.Value | None, op: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if is_op(node, op) else None


def _behind(value: ir.Value | None, op: str) -> ir.Value | None:
    """The operand of the `op` node that produces the value."""
    node = _producer(value, op)
    return None if node is None else node.inputs[0]
