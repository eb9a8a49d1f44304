"""Counting what ONNX Runtime really runs in integers, region by region."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.walk import is_op, uses
from qcompiler.target.capability import Kernel
from qcompiler.target.contract import KernelCount, Target
from qcompiler.target.placement import Placed, placed_regions

_FLOAT_FORMS = {"Conv": ("FusedConv", "Conv", "NhwcFusedConv"), "Gemm": ("FusedGemm", "Gemm"),
                "MatMul": ("FusedMatMul", "MatMul")}  # fmt: skip


def count_kernels(program: Program, target: Target, optimized: ir.Model) -> KernelCount:
    """Finds every planned integer region in ONNX Runtime's optimized graph.

    ONNX Runtime keeps the anchor's node name when it replaces a Q/DQ group by an integer kernel
    (with a suffix after layout changes); a float kernel under that name is a miss.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(optimized.graph))
    by_name = {node.name or "": node for node in nodes}
    integer, missed = [], {}
    if program.plan is not None:
        for placed in placed_regions(program, target) :
            reason = _miss(placed, by_name)
            if reason is None:
                integer.append(placed.region.key)
            else:
                missed[placed.region.key] = reason
    return KernelCount(tuple(integer), missed, dict(Counter(node.op_type for node in nodes)))


def _miss(placed: Placed, by_name: dict[str, ir.Node]) -> str | None:
    found = by_name.get(placed.region.key)
    if found is None or found.op_type not in _FLOAT_FORMS.get(placed.region.kind, ()):
        return None
    return f"ONNX Runtime runs it as {found.op_type} in float"
