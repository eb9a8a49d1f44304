"""`merge-products`: several products of one value → one product and its slices.

A small product is mostly overhead (dispatch, packing of rows, a quantization of its own where it is
dynamic); query, key and value of an attention layer are three of one input. Exact: columns of a
product do not depend on each other. The merged result has one scale where its parts had one each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, constant, is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MergeProducts(Pass):
    """Joins MatMul (or Gemm) nodes of one graph that read one value and have constant matrices.

    Gemm is joined without transA, with alpha and beta of 1 and a bias of one number per column.
    """

    name: ClassVar[str] = "merge-products"
    stage: ClassVar[Stage] = Stage.FLOAT
    gains: ClassVar[str] = "latency"

    def price(self, samples: int) -> str:
        return "a timing"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        merged = 0
        for graph in list(all_graphs(program.model)):
            for group in list(_groups(graph)):
                _merge(group, rewriter)
                merged += len(group)
        if merged:
            infer_types(program.model)
        return Outcome(details={"merged": merged})


@dataclass(frozen=True)
class _Factor:
    """A product that can be joined: its node, its matrix [K, N] and its bias [N]."""

    node: ir.Node
    matrix: Array
    bias: Array | None

    @property
    def columns(self) -> int:
        return int(self.matrix.shape[1])


def _groups(graph: ir.Graph) -> Iterator[list[_Factor]]:
    """Products to join, in graph order; a matrix that is used twice is not stored twice."""
    found: dict[tuple[int, str, int], list[_Factor]] = {}
    for node in graph:
        factor = _factor(node)
        if factor is not None:
            key = (id(node.inputs[0]), node.op_type, factor.matrix.shape[0])
            found.setdefault(key, []).append(factor)
    for group in found.values():
        stored = {id(each.node.inputs[1]) for each in group}
        shared = any(len(value.uses()) > 1 for each in group if (value := each.node.inputs[1]))
        if len(group) > 1 and len(stored) == len(group) and not shared:
            yield group


def _factor(node: ir.Node) -> _Factor | None:
    if not is_op(node, "MatMul", "Gemm") or node.inputs[0] is None:
        return None
    matrix = constant(node.inputs[1])
    if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32:
        return None
    if node.op_type == "MatMul":
        return _Factor(node, matrix, None)
    read = node.attributes
    if read.get_int("transA", 0) or (read.get_float("alpha", 1.0), read.get_float("beta", 1.0)) != (
        1.0,
        1.0,
    ):
        return None
    matrix = matrix.T if read.get_int("transB", 0) else matrix
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return _Factor(node, matrix, None)
    numbers = constant(bias)
    if numbers is None or numbers.shape != (matrix.shape[1],):
        return None
    return _Factor(node, matrix, numbers)


def _merge(group: Sequence[_Factor], rewriter: Rewriter) -> None:
    first = group[0].node
    stem = f"{first.outputs[0].name}_merged"
    joined = np.concatenate([each.matrix for each in group], axis=1)
    operands = [first.inputs[0], rewriter.constant(joined, f"{stem}_matrix")]
    if any(each.bias is not None for each in group):
        parts = [
            np.zeros(each.columns, joined.dtype) if each.bias is None else each.bias
            for each in group
        ]
        operands.append(rewriter.constant(np.concatenate(parts), f"{stem}_bias"))
    whole = rewriter.insert(
        first.op_type,
        operands,
        before=first,
        outputs=(stem,),
        origin=[each.node for each in group],
        dtype=ir.DataType.FLOAT,
    ).outputs[0]
    start = 0
    for each in group:
        bounds = ([start], [start + each.columns], [-1])
        numbers = [rewriter.constant(np.array(n, np.int64), f"{stem}_bounds") for n in bounds]
        output = each.node.outputs[0]
        part = rewriter.insert(
            "Slice",
            [whole, *numbers],
            before=each.node,
            outputs=(f"{output.name}_part",),
            origin=(each.node,),
            dtype=ir.DataType.FLOAT,
            shape=output.shape,
        ).outputs[0]
        rewriter.take_over(part, output)
        start += each.columns
