"""`tie-embeddings`: a table that is looked up and multiplied with is stored once, in integers.

Language models use one table E [V, D] for Gather(E, ids) and for MatMul(h, transposed E). Where the
product's weight is int8 with one scale per row of E, the look-up takes the same integers: Gather of
the rows and of their scales, then Cast and Mul. It happens only where E is what the integers stand
for, to half a step in every element, so the look-up loses no more than the product does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class TieEmbeddings(Pass):
    """Lets look-ups read the int8 weights of products with the same table."""

    name: ClassVar[str] = "tie-embeddings"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        nodes = list(all_nodes(program.model))
        tables: dict[ir.Value, _Table] = {}
        tied = 0
        for node in nodes:
            if not _is_lookup(node):
                continue
            data = node.inputs[0]
            assert data is not None
            if data not in tables:
                found = next((t for t in _tables(nodes) if t.stands_for(data)), None)
                if found is None:
                    continue
                tables[data] = found
            look_up(node, tables[data].upright(rewriter), tables[data].scale, rewriter)
            tied += 1
        rewriter.drop_unused_constants()
        return Outcome(details={"tied": tied})


_HALF = 0.5 + 2.0**-16
"""Half a step, and room for ties: a float32 quotient of up to 128 steps is off by up to 2^-17."""


@dataclass(eq=False)
class _Table:
    """An int8 weight: [V, D], or [D, V] with `lies`; `scale` [V] holds one step per row of E."""

    data: ir.Value
    scale: ir.Value
    lies: bool

    def stands_for(self, table: ir.Value) -> bool:
        """Whether the integers are the table's, to half a step in every element."""
        wanted, integers, scale = constant(table), constant(self.data), constant(self.scale)
        assert wanted is not None
        assert integers is not None
        assert scale is not None
        rows = integers.T if self.lies else integers
        if wanted.shape != rows.shape or wanted.dtype != np.float32:
            return False
        steps = scale.reshape(-1, 1).astype(np.float64)
        apart = np.abs(wanted.astype(np.float64) - rows * steps)
        return bool(np.all(apart <= steps * _HALF))

    def upright(self, rewriter: Rewriter) -> ir.Value:
        """The integers as [V, D]; a product that needs [D, V] reads them through a Transpose."""
        if self.lies:
            lying, array = self.data, constant(self.data)
            assert array is not None
            name = lying.name or "table"
            self.data = rewriter.constant(np.ascontiguousarray(array.T), f"{name}_rows")
            turned = rewriter.insert(
                "Transpose",
                [self.data],
                graph=rewriter.program.graph,
                attributes={"perm": [1, 0]},
                outputs=[f"{name}_columns"],
                dtype=lying.dtype,
                shape=lying.shape,
            )
            rewriter.replace_uses(lying, turned.outputs[0])
            self.lies = False
        return self.data


def _is_lookup(node: ir.Node) -> bool:
    """Gather of rows of a constant float matrix."""
    if not is_op(node, "Gather") or node.attributes.get_int("axis", 0) != 0:
        return False
    data = node.inputs[0]
    if data is None or data.dtype is not ir.DataType.FLOAT or constant(data) is None:
        return False
    return data.shape is not None and len(data.shape) == 2


def _tables(nodes: list[ir.Node]) -> Iterator[_Table]:
    """Symmetric int8 matrices with one scale per row of the table they may stand for."""
    for node in nodes:
        if is_op(node, "DequantizeLinear"):
            yield from _checked(node.inputs[0], node.inputs[1], node.attributes.get_int("axis", 1))
        elif is_op(node, "MatMulInteger"):
            yield from _checked(node.inputs[1], _dynamic_scale(node), 1)


def _checked(data: ir.Value | None, scale: ir.Value | None, axis: int) -> Iterator[_Table]:
    if data is None or scale is None or data.dtype is not ir.DataType.INT8:
        return
    integers, steps = constant(data), constant(scale)
    if integers is None or steps is None or integers.ndim != 2 or steps.ndim != 1:
        return
    if steps.size == integers.shape[axis]:
        yield _Table(data, scale, lies=axis == 1)


def _dynamic_scale(product: ir.Node) -> ir.Value | None:
    """The constant factor in MatMulInteger → Cast → Mul(sum, Mul(activation scale, constant))."""
    node = product
    for op in ("Cast", "Mul"):
        readers = [use.node for use in node.outputs[0].uses()]
        if len(readers) != 1 or not is_op(readers[0], op):
            return None
        node = readers[0]
    for factor in node.inputs:
        scales = None if factor is None else factor.producer()
        if scales is not None and is_op(scales, "Mul"):
            return next((v for v in scales.inputs if constant(v) is not None), None)
    return None


def look_up(gather: ir.Node, rows: ir.Value, scale: ir.Value, rewriter: Rewriter) -> None:
    """Gather(E, ids) → Cast(Gather(rows, ids)) * Gather(scale, ids)[..., None]."""
    stem = gather.outputs[0].name or "embedding"
    ids, output = gather.inputs[1], gather.outputs[0]

    def add(
        op: str, inputs: list[ir.Value | None], part: str, dtype: ir.DataType, **attributes: int
    ) -> ir.Value:
        return rewriter.insert(
            op,
            inputs,
            before=gather,
            attributes=attributes,
            outputs=[f"{stem}_{part}"],
            origin=[gather],
            dtype=dtype,
        ).outputs[0]

    taken = add("Gather", [rows, ids], "int8", ir.DataType.INT8, axis=0)
    real = add("Cast", [taken], "steps", ir.DataType.FLOAT, to=int(ir.DataType.FLOAT))
    step = add("Gather", [scale, ids], "step", ir.DataType.FLOAT, axis=0)
    last = rewriter.constant(np.asarray([-1], np.int64), f"{stem}_last")
    column = add("Unsqueeze", [step, last], "step_column", ir.DataType.FLOAT)
    result = add("Mul", [real, column], "looked_up", ir.DataType.FLOAT)
    result.shape = output.shape
    rewriter.replace_uses(output, result)
    rewriter.erase_dead(gather)
