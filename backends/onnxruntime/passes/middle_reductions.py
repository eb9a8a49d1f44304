"""`reduce-by-product`: sums and means along leading axes, as a product with a row of ones.

ONNX Runtime adds such axes up one column after the other, with strides, unless a batch stands in
front. Microseconds with one thread, of ReduceMean and of the product with a row of 1/rows (ONNX
Runtime 1.31.1; with two threads the gains are alike):

    [1, 64, 64]   4.6 and 3.9      [1, 197, 768]   121 and 9.5     [8, 512, 256]   42 and 41
    [1, 128, 128] 9.5 and 4.3      [1, 512, 1024] 1091 and 28      [32, 197, 768] 253 and 248

So only what has nothing but ones in front gains. Behind a free batch, which may be 1, the rows have
to be wide: with two threads, [512, 64, 64] takes 75 µs and 97 µs, wider ones 0.97 to 1.08 times the
product's time. The same sum in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.pooling import reduced_axes
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_LEAST_ELEMENTS = 4096
"""Rows times columns; below, the two take the same."""
_LEAST_COLUMNS = 16
"""Narrower columns are added up as fast as they are multiplied."""
_LEAST_COLUMNS_OF_FREE_BATCH = 256


@dataclass(frozen=True)
class ReduceByProduct(Pass):
    """ReduceMean and ReduceSum of float32 along leading axes of known length become MatMul."""

    name: ClassVar[str] = "reduce-by-product"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        nodes = [n for n in all_nodes(program.model) if is_op(n, "ReduceMean", "ReduceSum")]
        found = sum(_rewrite(node, rewriter) for node in nodes)
        rewriter.drop_unused_constants()
        return Outcome(details={"products": found})


@dataclass(frozen=True)
class _Sum:
    """What is added up: [*before, *rows, *columns] over the rows.

    Attributes:
        before: Dimensions in front; ones, or one that is free.
        rows: Lengths of the axes that are summed.
        columns: Lengths behind them.
    """

    before: tuple[int | None, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def pays(self) -> bool:
        """Whether the product is faster, by the measures above."""
        columns = prod(self.columns)
        least = _LEAST_COLUMNS_OF_FREE_BATCH if None in self.before else _LEAST_COLUMNS
        return columns >= least and prod(self.rows) * columns >= _LEAST_ELEMENTS

    @property
    def is_plain(self) -> bool:
        """Whether it is a product without Reshape."""
        return len(self.rows) == len(self.columns) == 1


def _rewrite(node: ir.Node, rewriter: Rewriter) -> bool:
    x, found = node.inputs[0], _sum(node)
    if x is None or found is None or not found.pays:
        return False
    output, keeps = node.outputs[0], bool(node.attributes.get_int("keepdims", 1))
    length = prod(found.rows)
    share = 1.0 / length if node.op_type == "ReduceMean" else 1.0
    ones = rewriter.constant(np.full((1, length), share, np.float32), f"{output.name}_ones")
    if found.is_plain and keeps:
        rewriter.recompose(output, "MatMul", [ones, x])
        return True
    kept = [0] * len(found.before)  # which Reshape copies
    if not found.is_plain:
        matrix = [*kept, length, prod(found.columns)]
        x = _insert(node, rewriter, "Reshape", [x, _shape(rewriter, output, matrix)], "matrix")
    product = _insert(node, rewriter, "MatMul", [ones, x], "product")
    if found.is_plain:
        axis = rewriter.constant(np.array([-2], np.int64), f"{output.name}_axis")
        rewriter.recompose(output, "Squeeze", [product, axis])
        return True
    shape = [*kept, *([1] * len(found.rows) if keeps else []), *found.columns]
    rewriter.recompose(output, "Reshape", [product, _shape(rewriter, output, shape)])
    return True


def _sum(node: ir.Node) -> _Sum | None:
    """What the node adds up, if it is one product; in front, ones or a free batch."""
    x, axes = node.inputs[0], reduced_axes(node)
    dims = partial_dims(x)
    if x is None or x.dtype is not ir.DataType.FLOAT or dims is None or not axes:
        return None
    first, last = axes[0], axes[-1]
    before = dims[:first]
    rows, columns = (
        [each for each in part if each is not None]
        for part in (dims[first : last + 1], dims[last + 1 :])
    )
    if axes != tuple(range(first, last + 1)) or not columns:
        return None
    if len(before) + len(rows) + len(columns) < len(dims):  # a free one
        return None
    if before.count(None) > 1 or any(each not in (1, None) for each in before):
        return None
    return _Sum(tuple(before), tuple(rows), tuple(columns))


def _shape(rewriter: Rewriter, output: ir.Value, dims: Sequence[int]) -> ir.Value:
    return rewriter.constant(np.array(dims, np.int64), f"{output.name}_shape")


def _insert(
    node: ir.Node, rewriter: Rewriter, op: str, operands: Sequence[ir.Value], stem: str
) -> ir.Value:
    """A new float value in front of the node."""
    made = rewriter.insert(
        op,
        operands,
        before=node,
        outputs=(f"{node.outputs[0].name}_{stem}",),
        origin=(node,),
        dtype=ir.DataType.FLOAT,
    )
    return made.outputs[0]
