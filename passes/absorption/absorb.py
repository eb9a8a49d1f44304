"""`absorb-quantization`: a quantized graph becomes a float one that remembers its integers.

Operators on integers are written as the float operator between Q and DQ; integers that only move
are dequantized first; then stored integers become float constants and Q/DQ pairs go. What they
said is kept in `program.absorbed`, and placement for any target starts from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.decisions.absorbed import NOTHING, Grid
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes
from qcompiler.passes.absorption.integer_operators import LOWERED, write_in_float
from qcompiler.passes.absorption.pairs import absorb_pairs
from qcompiler.passes.absorption.products import PRODUCTS, absorb_product
from qcompiler.passes.absorption.stored import absorb_constants
from qcompiler.passes.dead_code import remove_dead
from qcompiler.passes.placement.float_movers import float_movers
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

_QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", *LOWERED, *PRODUCTS}
)


@dataclass(frozen=True)
class AbsorbQuantization(Pass):
    """Takes Q/DQ and operators on integers out of the graph and fills `program.absorbed`.

    The float graph computes what the file means but for the rounding and the saturation of its
    integers. A graph without either is left as it is.
    """

    name: ClassVar[str] = "absorb-quantization"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if not any(node.op_type in _QUANTIZED for node in all_nodes(program.model)):
            return Outcome()
        remove_dead(program, rewriter)
        operators, products, refused = _write_operators(program, rewriter)
        float_movers(program, rewriter, outputs=True)
        grids, unread = absorb_constants(rewriter)
        values = absorb_pairs(rewriter)
        grids += [grid for each in products for grid in each]
        remove_dead(program, rewriter)
        program.absorbed = (program.absorbed or NOTHING).joined(values.named(), grids)
        if rewriter.counts.total:
            infer_types(program.model)
        left = [node for node in (*refused, *unread, *values.left) if node.graph is not None]
        details = {
            "operators": operators + len(products), "values": len(values.params),
            "weights": len(grids), "activations": values.restored, "left": len(left),
        }  # fmt: skip
        found = [*map(_left, left), *_differing(values.differing)]
        return Outcome(tuple(found), {name: count for name, count in details.items() if count})


def _write_operators(
    program: Program, rewriter: Rewriter
) -> tuple[int, list[list[Grid]], list[ir.Node]]:
    """Operators on integers as float ones: how many, grids of the products, what stays."""
    written, products, refused = 0, list[list[Grid]](), list[ir.Node]()
    for node in list(all_nodes(program.model)):
        if node.graph is None:
            continue
        if node.op_type in PRODUCTS:
            grids = absorb_product(node, rewriter)
            if grids is None:
                refused.append(node)
            else:
                products.append(grids)
        elif node.op_type in LOWERED:
            if write_in_float(node, rewriter):
                written += 1
            else:
                refused.append(node)
    return written, products, refused


def _left(node: ir.Node) -> Diagnostic:
    return Diagnostic(
        Severity.INFO,
        "ABSORB01",
        f"{node.op_type} is left as it is: its parameters are computed, per channel, or read by "
        "operators on integers that are not known",
        node=node.name,
        source=source_line(node),
    )


def _differing(values: list[ir.Value]) -> list[Diagnostic]:
    return [
        Diagnostic(
            Severity.INFO,
            "ABSORB02",
            f"'{value.name}' is quantized with several parameters in the source; the first are "
            "kept",
        )
        for value in dict.fromkeys(values)
    ]
