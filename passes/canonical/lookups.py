"""Looking up where an exporter multiplies: one-hot products, and arithmetic behind a table.

`one_hot(i) @ W` is row i of W, and what is done to every row is done to the table once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, sole_user, uses
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.folding import evaluate
from qcompiler.passes.canonical.rule import rule

Array = npt.NDArray[Any]
_INDICES = frozenset({ir.DataType.INT32, ir.DataType.INT64})
_MOST_ELEMENTS = 1 << 18
"""Of a table that is copied, or that arithmetic is folded into: larger ones take space and time."""


@dataclass(frozen=True)
class _OneHot:
    """What a one-hot value of `count` columns is made of.

    Attributes:
        indices: Integers, one for each row.
        trailing: Whether they have a last axis of 1.
        wraps: Whether -count..-1 mean 0..count-1.
    """

    indices: ir.Value
    trailing: bool
    wraps: bool


@rule("one-hot-product", "MatMul")
def one_hot_product(node: ir.Node, rewriter: Rewriter) -> bool:
    """MatMul(one-hot i, W [K, N]) → Gather(W, i), the one-hot by Equal and Cast or by OneHot.

    An index out of range has a row of zeros: the table gets one at either end, and indices are cut
    to those. Exact, unless W holds what 0 times is not 0. A large table is left where it would be
    stored twice: other nodes read it, or indices wrap.
    """
    matrix = constant(node.inputs[1])
    if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32:
        return False
    if not np.isfinite(matrix).all():
        return False
    found = _one_hot(node.inputs[0], matrix.shape[0])
    if found is None or not _stays_once(node.inputs[1], matrix, found):
        return False
    output, stem = node.outputs[0], node.outputs[0].name
    kind, index = found.indices.dtype or ir.DataType.INT64, found.indices
    rows = np.pad(np.tile(matrix, (1 + found.wraps, 1)), ((1, 1), (0, 0)))
    lowest = -1 - found.wraps * len(matrix)
    shape = None if index.shape is None else list(index.shape)

    def step(op: str, operands: list[ir.Value], what: str) -> ir.Value:
        return rewriter.insert(
            op, operands, before=node, outputs=(f"{stem}_{what}",), origin=(node,),
            dtype=kind, shape=None if shape is None else ir.Shape(shape),
        ).outputs[0]  # fmt: skip

    def number(of: int, what: str) -> ir.Value:
        return rewriter.constant(np.array(of, kind.numpy()), f"{stem}_{what}")

    if found.trailing:
        shape = None if shape is None else shape[:-1]
        last = rewriter.constant(np.array([-1], np.int64), f"{stem}_last")
        index = step("Squeeze", [index, last], "index")
    cut = step("Clip", [index, number(lowest, "lowest"), number(len(matrix), "highest")], "cut")
    row = step("Add", [cut, number(-lowest, "offset")], "row")
    rewriter.recompose(output, "Gather", [rewriter.constant(rows, f"{stem}_rows"), row])
    return True


def _stays_once(stored: ir.Value | None, matrix: Array, found: _OneHot) -> bool:
    alone = stored is not None and len(uses(stored)) == 1
    return matrix.size <= _MOST_ELEMENTS or (alone and not found.wraps)


def _one_hot(value: ir.Value | None, count: int) -> _OneHot | None:
    """How the value [..., count] is made, if it is one-hot along its last axis."""
    node = None if value is None else value.producer()
    if node is not None and is_op(node, "OneHot"):
        return _by_operator(node, count)
    equal = None
    if node is not None and is_op(node, "Cast") and node.inputs[0] is not None:
        equal = node.inputs[0].producer()
    if equal is None or not is_op(equal, "Equal"):
        return None
    for indices, numbers in (equal.inputs, equal.inputs[::-1]):
        counted, dims = constant(numbers), partial_dims(indices)
        if indices is None or counted is None or dims is None or indices.dtype not in _INDICES:
            continue
        fits = counted.ndim <= len(dims) and counted.shape[-1:] == (count,) == (counted.size,)
        if fits and dims[-1] == 1 and np.array_equal(counted.reshape(-1), np.arange(count)):
            return _OneHot(indices, trailing=True, wraps=False)
    return None


def _by_operator(node: ir.Node, count: int) -> _OneHot | None:
    """OneHot along the last axis, with the numbers 0 and 1."""
    indices, depth, numbers = node.inputs[0], constant(node.inputs[1]), constant(node.inputs[2])
    if indices is None or depth is None or numbers is None or indices.dtype not in _INDICES:
        return None
    dims, axis = rank(indices), node.attributes.get_int("axis", -1)
    if dims is None or axis not in (-1, dims) or int(depth.reshape(-1)[0]) != count:
        return None
    if numbers.dtype != np.float32 or numbers.tolist() != [0.0, 1.0]:
        return None
    return _OneHot(indices, trailing=False, wraps=True)


@rule(
    "table-arithmetic", "Add", "Sub", "Mul", "Div", "Relu", "Gelu", "Tanh", "Sigmoid", "HardSwish",
    "HardSigmoid", "LeakyRelu", "Elu", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Clip",
)  # fmt: skip
def table_arithmetic(node: ir.Node, rewriter: Rewriter) -> bool:
    """op(Gather(table, i)) → Gather(op(table), i), where every row is treated alike.

    The other operand of a binary op has one number per column at most. A table with other readers
    is left: it would be stored twice.
    """
    found = _table_operand(node)
    if found is None or not traits(node).elementwise:
        return False
    position, gather, table = found
    operands: list[Array | None] = []
    for index, value in enumerate(node.inputs):
        if index == position:
            operands.append(table)
            continue
        other = constant(value)
        if value is not None and (other is None or not _is_row(other, table, gather)):
            return False
        operands.append(None if other is None else other.reshape(other.shape[-1:]))
    result = evaluate(node, operands)
    if result.shape != table.shape or result.dtype != table.dtype:
        return False
    output = node.outputs[0]
    changed = rewriter.constant(np.ascontiguousarray(result), f"{output.name}_table")
    rewriter.recompose(output, "Gather", [changed, gather.inputs[1]], attributes={"axis": 0})
    return True


def _table_operand(node: ir.Node) -> tuple[int, ir.Node, Array] | None:
    """Position of the operand that is looked up in a table [V, D] for this node only."""
    for position, value in enumerate(node.inputs[:2]):
        gather = None if value is None else value.producer()
        if value is None or gather is None or not is_op(gather, "Gather"):
            continue
        stored, table = gather.inputs[0], constant(gather.inputs[0])
        if stored is None or table is None or table.ndim != 2 or table.dtype != np.float32:
            continue
        if gather.attributes.get_int("axis", 0) != 0 or sole_user(value) is not node:
            continue
        if table.size <= _MOST_ELEMENTS and len(uses(stored)) == 1:
            return position, gather, table
    return None


def _is_row(array: Array, table: Array, gather: ir.Node) -> bool:
    """Whether it is one number, or one for each column, and makes the result no larger."""
    dims = rank(gather.outputs[0])
    alone = array.size == 1 or array.shape[-1:] == (table.shape[1],) == (array.size,)
    return dims is not None and array.ndim <= dims and alone
