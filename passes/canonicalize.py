"""`canonicalize`: one spelling for everything that later passes look for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes
from qcompiler.passes.canonical import (
    clamps,
    folding,
    gates,
    gelu,
    gemm,
    identities,
    layer_norm,
    lookups,
    padding,
    pooling,
    recurrent,
    sequences,
    transposes,
)
from qcompiler.passes.canonical.duplicates import merge_duplicates
from qcompiler.passes.canonical.long_axis import lay_down
from qcompiler.passes.canonical.rule import Rule, sweep
from qcompiler.passes.canonical.shapes import refresh_shapes
from qcompiler.passes.canonical.signals import raise_signals
from qcompiler.passes.dead_code import remove_dead
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

SIMPLIFY: tuple[Rule, ...] = (
    folding.fold_constants,
    folding.fold_shapes,
    folding.reshape_to_constant,
    identities.identity,
    identities.dropout,
    identities.no_op_cast,
    identities.neutral_arithmetic,
    transposes.join_transposes,
    transposes.transposes,
    identities.reshapes,
    identities.no_op_movement,
    identities.square,
    identities.divide_by_constant,
    clamps.sum_to_add,
    clamps.min_max,
    clamps.clamp,
    padding.fold_pad,
    gemm.gemm_factors,
    gemm.gemm_bias,
    gemm.row_of_more_axes,
    gemm.gemm_of_activations,
    pooling.no_dilations,
    recurrent.recurrent_defaults,
    sequences.sequence_at,
    sequences.concat_from_sequence,
)
"""Rules that make the graph smaller or plainer; exact, but for the reciprocal (1.5 ulp)."""

RECOMPOSE: tuple[Rule, ...] = (
    gates.hard_sigmoid,
    gates.hard_swish,
    gelu.gelu,
    pooling.sum_to_mean,
    pooling.global_average_pool,
    layer_norm.layer_norm,
    lookups.one_hot_product,
    lookups.table_arithmetic,
)
"""Rules that put functions together again that an exporter took apart; exact within rounding."""


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Folds constants and shape arithmetic, drops no-ops, and recomposes what exporters took apart.

    Attributes:
        recompose: Whether HardSwish, HardSigmoid, GELU, LayerNormalization and global pooling are
            recognised in their parts, and signals (as images of width 1, or of rank 3) become
            images of height 1 around convolutions.
    """

    name: ClassVar[str] = "canonicalize"
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.CANONICAL})

    recompose: bool = True

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        remove_dead(program, rewriter)
        if any(v.dtype is None for node in all_nodes(program.model) for v in node.outputs):
            infer_types(program.model)
        fired = sweep(program, rewriter, SIMPLIFY)
        if fired:
            refresh_shapes(program)
            fired += sweep(program, rewriter, SIMPLIFY)
        merged = merge_duplicates(program, rewriter)
        rules = SIMPLIFY + RECOMPOSE if self.recompose else SIMPLIFY
        fired += sweep(program, rewriter, rules)
        if self.recompose:
            fired["lay-down"] += lay_down(program, rewriter)
            fired["raise-signals"] += raise_signals(program, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details=_details(fired, merged))


def _details(fired: Counter[str], merged: int) -> dict[str, int]:
    done = {name: count for name, count in sorted(fired.items()) if count}
    return done | ({"merge-duplicates": merged} if merged else {})
