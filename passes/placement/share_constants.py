"""`share-constants`: equal constants of a graph are stored once.

Zero points and scales are written for every value and weight, and two weights of a source may be
rounded to the same integers. What is decided does not depend on it, so it comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.ir.content import tensor_digest
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, is_op, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_LEAST_BYTES = 64
"""Smaller ones take fewer bytes than their names."""


@dataclass(frozen=True)
class ShareConstants(Pass):
    """Makes readers of equal initializers of one graph read the first of them.

    Weights in blocks behind DequantizeLinear stay apart: ONNX Runtime's fusion to MatMulNBits
    wants constants of its own for every product (1.31.1, docs/onnxruntime.md).
    """

    name: ClassVar[str] = "share-constants"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        saved = 0
        for graph in all_graphs(program.model):
            if isinstance(graph, ir.Graph):
                for equal in _equal(graph.initializers.values()):
                    saved += sum(_bytes(each) for each in equal[1:])
                    for each in equal[1:]:
                        rewriter.replace_uses(each, equal[0])
        rewriter.drop_unused_constants()
        return Outcome(details={"bytes": saved})


def _equal(values: Iterable[ir.Value]) -> Iterator[list[ir.Value]]:
    """Two or more constants each that hold the same; contents of one size are looked at only."""
    for alike in _grouped((_form(each), each) for each in values if _may_be_shared(each)):
        yield from _grouped((_content(each), each) for each in alike)


def _grouped(keyed: Iterable[tuple[object, ir.Value]]) -> list[list[ir.Value]]:
    found: dict[object, list[ir.Value]] = {}
    for key, value in keyed:
        found.setdefault(key, []).append(value)
    return [each for each in found.values() if len(each) > 1]


def _form(value: ir.Value) -> tuple[object, ...]:
    assert value.const_value is not None
    return value.const_value.dtype, tuple(value.const_value.shape.numpy())


def _content(value: ir.Value) -> bytes:
    assert value.const_value is not None
    return tensor_digest(value.const_value)


def _bytes(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.nbytes


def _may_be_shared(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.dtype is ir.DataType.STRING or tensor.nbytes < _LEAST_BYTES:
        return False
    if value.is_graph_input() or value.is_graph_output():
        return False
    readers = (use.node for use in uses(value))
    return not any(
        is_op(each, "DequantizeLinear") and each.attributes.get_int("block_size", 0)
        for each in readers
    )
