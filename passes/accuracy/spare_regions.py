"""`spare-regions`: what computes no products and costs the outputs most of it all stays float.

A fixed scheme puts in integers all that has a form in them. Sums are the worst of it: a residual
stream with one channel a hundred times as wide as the others has one scale, in which the others
drown, and no scale of channels can pass a skip connection. Products keep their integers here, and
are not rounded behind the sum where the kernel can write float; they are what takes the time. By
which regions the outputs lose is measured: in a float model with a switch in front of every
quantization, sets of neighbours are switched on and halved as long as they matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import onnx_ir as ir

from qcompiler.calibration.dividing import spread
from qcompiler.choices.sensitivity import FLOOR, in_groups, measure_each, split_groups
from qcompiler.decisions.options import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.settling import without_output
from qcompiler.decisions.sparing import with_float
from qcompiler.ir.optraits import traits
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Region
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import uses
from qcompiler.measurement.gate import Gate, GateModel
from qcompiler.measurement.gates import gates_of_plan, together
from qcompiler.measurement.probing import SLOWER, Prober
from qcompiler.measurement.scored import referred, scored_program
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.pipeline.options_of import options_of
from qcompiler.target.capability import Kernel

REASON = "the outputs lose too much by its rounding"
_SAMPLES = 2
_GROUPS = 8
_REST = 0.5
"""What may be left of the loss by such regions, as a share of the bound: products need the rest."""


@dataclass(frozen=True)
class SpareRegions(Pass):
    """Gives back to float the fewest regions without products by which the outputs lose too much.

    Works on `program.plan`, of which overrides stay. Fitted to a few of `context.samples`; without
    samples nothing is done. Options of the context: `overrides`, as for `compile`, and `limit`,
    the loss that is allowed (0 if absent).

    Attributes:
        probes: Most sets of quantizations whose loss is measured.
    """

    name: ClassVar[str] = "spare-regions"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.PLAN

    probes: int = 40

    def price(self, samples: int) -> str:
        return f"at most {self.probes} runs of a float model over {min(samples, _SAMPLES)} samples"

    def runs(self, samples: int, program: Program | None) -> float:
        return SLOWER * (self.probes + 1) * min(samples, _SAMPLES)

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        target, plan = context.target, program.plan
        if target is None or plan is None or not context.samples:
            return Outcome(details={"regions": 0})
        options = options_of(program, target, context)
        scored = scored_program(program)
        terms = _terms(program, scored, options, plan)
        if not terms.own:
            return Outcome(details={"regions": 0})
        known = referred(scored, spread(context.samples, _SAMPLES))
        with Prober(terms.model, known.feeds, context.executor, known.slices) as prober:
            limit = float(context.options.get("limit", 0.0))
            keys = _worst(terms, prober, limit, self.probes)
        program.plan = with_float(program, plan, options, keys, REASON)
        return Outcome(details={"regions": len(keys), "probes": prober.count})


@dataclass(frozen=True, eq=False)
class _Terms:
    """What regions without products round.

    Attributes:
        model: With a switch for each.
        own: What each of them rounds that would not be rounded without it, by key.
    """

    model: GateModel
    own: Mapping[str, tuple[Gate, ...]]


def _terms(program: Program, scored: Program, options: Sequence[Options], plan: Plan) -> _Terms:
    """Products are in float in this model, so what they read is rounded for others alone."""
    every = {each.region.key: each for each in options}
    running = [found for each in options if (found := each.running(plan)) is not None]
    products = [each for each in running if computes_products(each.region)]
    others = [each for each in running if not computes_products(each.region)]
    values = resolve(program.observations, options, plan, program.absorbed).values
    model, gates = gates_of_plan(scored, others, values)
    rounded = {
        each.region.output.name
        for each in products
        if without_output(every[each.region.key], each.implementations[0]) is None
    }
    computing = {node for each in products for node in each.region.nodes}
    own = {
        each.region.key: tuple(
            gate
            for gate in found
            if gate.name not in rounded
            and not (gate.name == each.region.output.name and _all_in(each.region, computing))
        )
        for each, found in zip(others, gates, strict=True)
        if _is_free(each, every[each.region.key])
    }
    return _Terms(model, {key: gates for key, gates in own.items() if gates})


def _all_in(region: Region, computing: Set[ir.Node]) -> bool:
    """Whether products alone read the result, and round it whoever writes it."""
    value = region.output
    return not value.is_graph_output() and all(use.node in computing for use in uses(value))


def computes_products(region: Region) -> bool:
    """Whether a region is one of those that take a network's time."""
    return traits(region.anchor).linear or region.weight is not None


def _is_free(running: Options, every: Options) -> bool:
    """Whether a region may go back to float: not pinned, and no mover, which follows."""
    static = running.implementations[0].kernel is Kernel.STATIC
    return static and every.pinned is None and not traits(running.region.anchor).shares_scale


def _worst(terms: _Terms, prober: Prober, limit: float, probes: int) -> set[str]:
    """The fewest regions without which the others lose no more than their share of the bound."""
    keys = list(terms.own)

    def losses(groups: Sequence[Sequence[str]]) -> list[float]:
        return prober.losses([together(terms.own[key] for key in group) for group in groups])

    if len(keys) <= probes:
        alone = measure_each(keys, losses).losses
    else:
        groups = in_groups(keys, -(-len(keys) // _GROUPS))
        alone = split_groups(groups, losses, FLOOR * limit, probes).losses
    ranked = sorted(keys, key=lambda each: -alone[each])
    lost = accumulate(alone[each] for each in reversed(ranked))
    staying = sum(each <= _REST * limit for each in lost)
    return set(ranked[: len(ranked) - staying])
