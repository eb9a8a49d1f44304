"""`insert-integer-lookups`: rows of a stored matrix, kept in int8 with one scale per row.

Gather takes the integers of a row and its scale, and Cast and Mul make floats of them: only what is
looked up is dequantized, where DequantizeLinear in front of the Gather would do the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.placement.quantize_weights import WeightStore
from qcompiler.passes.placement.tie_embeddings import look_up
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.target.capability import Kernel


@dataclass(frozen=True)
class InsertIntegerLookups(Pass):
    """Rewrites every Gather that the plan runs on a stored table of integers."""

    name: ClassVar[str] = "insert-integer-lookups"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        store = WeightStore(rewriter)
        placed = bound_regions(program, Kernel.WEIGHT_ONLY)
        found = [each for each in placed if each.region.kind == "Gather" and not _has_levels(each)]
        for each in found:
            rows, scale = _table(each, store)
            look_up(each.region.anchor, rows, scale, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"look-ups": len(found), "tables": store.stored})


def _has_levels(placed: Placed) -> bool:
    """Whether its integers are indices into a table of levels, which another pass writes."""
    rounding = placed.decided.rounding
    return rounding is not None and rounding.params.space.is_table


def _table(placed: Placed, store: WeightStore) -> tuple[ir.Value, ir.Value]:
    """Initializers of the integers [V, D] and the scales [V], once for every table."""
    weight, rounding = placed.region.weight, placed.decided.rounding
    assert weight is not None
    assert rounding is not None
    rows, scale, _ = store.parts(weight.value, rounding)
    return rows, scale
