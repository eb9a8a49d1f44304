"""`spare-products`: the few regions that ruin the outputs of a fixed scheme stay float.

A fixed scheme puts in integers all that has a form in them. One layer may need more than 8 bits: a
recurrent one that reads powers over five decades by one scale loses all quiet features, whatever
is done to its ranges. Nobody wants a network that is broken by one layer of fifty. Which regions
ruin it is measured in a float model with a switch in front of every quantization, products
included; those that cost most stay float, as few as make the result one that is of use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

from qcompiler.calibration.dividing import spread
from qcompiler.choices.sensitivity import FLOOR, in_groups, measure_each, split_groups
from qcompiler.decisions.options import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.sparing import with_float
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.measurement.gate import VALUE, Gate
from qcompiler.measurement.gates import gates_of_plan, together
from qcompiler.measurement.judge import BROKEN
from qcompiler.measurement.probing import SLOWER, Prober
from qcompiler.measurement.scored import referred, scored_program
from qcompiler.passes.accuracy.spare_regions import computes_products
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.pipeline.options_of import options_of
from qcompiler.quantization.chosen import is_users

REASON = "by itself it makes the outputs useless"
_SAMPLES = 3
_GROUPS = 8
_FEW = 8
"""One product in so many may be given back, two at least (what writes a value and what reads it);
with more the scheme itself is wrong."""
_MOST = 6
"""Regions that are given back at most."""
_LOOKS = 8
"""Regions that are looked at together: those that cost most by themselves."""
_ALIKE = 1.25
"""Losses that are the same, but for chance."""
_USEFUL = BROKEN / 2
"""Loss that is aimed at where the bound is out of reach (18 dB)."""


@dataclass(frozen=True)
class SpareProducts(Pass):
    """Gives back to float the few regions without which the outputs are of use.

    Works on `program.plan`; overrides stay, and so does what has a range by hand. Fitted to a few
    of `context.samples`; without samples nothing is done, nor where many regions would have to go.
    Options of the context: `overrides`, as for `compile`, and `limit`, the loss that is allowed (0
    if absent).

    Attributes:
        probes: Most sets of quantizations whose loss is measured to rank the regions.
    """

    name: ClassVar[str] = "spare-products"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.LAST

    probes: int = 40

    def price(self, samples: int) -> str:
        shown = min(samples, _SAMPLES)
        return f"at most {self.probes + _MOST * _LOOKS} runs of a float model over {shown} samples"

    def runs(self, samples: int, program: Program | None) -> float:
        probes = self.probes if program is None else min(self.probes, len(program.graph))
        return SLOWER * (probes + _MOST * _LOOKS) * min(samples, _SAMPLES)

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        target, plan = context.target, program.plan
        if target is None or plan is None or not context.samples:
            return Outcome(details={"regions": 0})
        options = options_of(program, target, context)
        scored = scored_program(program)
        known = referred(scored, spread(context.samples, _SAMPLES))
        running = [found for each in options if (found := each.running(plan)) is not None]
        values = resolve(program.observations, options, plan, program.absorbed).values
        model, gates = gates_of_plan(scored, running, values)
        with Prober(model, known.feeds, context.executor, known.slices) as prober:
            keys = [each.region.key for each in running]
            terms = dict(zip(keys, gates, strict=True))
            search = _Search(program, plan, options, terms, prober)
            limit = float(context.options.get("limit", 0.0))
            spared = search.fewest(self.probes, (limit, max(limit, _USEFUL)))
        program.plan = with_float(program, plan, options, spared, REASON)
        return Outcome(details={"regions": len(spared), "probes": prober.count})


@dataclass(frozen=True, eq=False)
class _Search:
    """What plans with regions in float lose.

    Attributes:
        program: Calibrated.
        plan: All that was asked for.
        options: Of all regions.
        terms: What each region that runs in integers rounds, by key.
        prober: Measures sets of them.
    """

    program: Program
    plan: Plan
    options: Sequence[Options]
    terms: dict[str, tuple[Gate, ...]]
    prober: Prober

    def fewest(self, probes: int, bounds: Sequence[float]) -> set[str]:
        """The fewest regions without which the first of the bounds that can be met is met."""
        steps = list(self._steps(self._ranked(probes)[:_LOOKS]))
        for bound in bounds:
            for keys, loss in steps:
                if loss <= bound:
                    return self._needed(keys, bound)
        return set()

    def _steps(self, ranked: Sequence[str]) -> Iterator[tuple[set[str], float]]:
        """One region more at a time, the one without which the least is lost, and what is left.

        Where several are as good, say what writes a value and what reads it, the worst by itself.
        """
        chosen: set[str] = set()
        for _ in range(min(self._most, len(ranked))):
            open_ = [key for key in ranked if key not in chosen]
            left = self._losses([chosen | {key} for key in open_])
            best = next(i for i, loss in enumerate(left) if loss <= _ALIKE * min(left))
            chosen = chosen | {open_[best]}
            yield chosen, left[best]

    @property
    def _most(self) -> int:
        running = (each for each in self.options if each.region.key in self.terms)
        products = sum(computes_products(each.region) for each in running)
        return min(_MOST, max(2, products // _FEW), products - 1)

    def _ranked(self, probes: int) -> list[str]:
        """Regions that are free, the one that costs most by itself first."""
        kept = {each.region.key for each in self.options if self._is_asked_for(each)}
        keys = [key for key, gates in self.terms.items() if gates and key not in kept]

        def losses(groups: Sequence[Sequence[str]]) -> list[float]:
            return self.prober.losses(
                [together(self.terms[key] for key in each) for each in groups]
            )

        if len(keys) <= probes:
            alone = measure_each(keys, losses).losses
        else:
            groups = in_groups(keys, -(-len(keys) // _GROUPS))
            alone = split_groups(groups, losses, FLOOR * BROKEN, probes).losses
        return sorted(keys, key=lambda key: -alone[key])

    def _is_asked_for(self, options: Options) -> bool:
        """Whether the user said how it runs: by an override, or by the range of a value."""
        values = (*(each.value for each in options.region.activations), options.region.output)
        seen = (self.program.observations.get(each.name or "") for each in values)
        return options.pinned is not None or any(each and is_users(each) for each in seen)

    def _needed(self, keys: set[str], bound: float) -> set[str]:
        """Without those that are not needed beside the others.

        What writes a value and what reads it both round it, and one of them may be enough.
        """
        for key in sorted(keys):
            fewer = keys - {key}
            if fewer and self._losses([fewer])[0] <= bound:
                keys = fewer
        return keys

    def _losses(self, spared: Sequence[Set[str]]) -> list[float]:
        return self.prober.losses([self._rounded(keys) for keys in spared])

    def _rounded(self, spared: Set[str]) -> tuple[Gate, ...]:
        """What is rounded with these regions in float, and what follows for their neighbours."""
        plan = with_float(self.program, self.plan, self.options, spared, REASON)
        found = []
        for each in self.options:
            key, precision = each.region.key, plan.precision(each.region.key)
            form = None if precision == FLOAT else each.named(precision)
            if form is not None and key in self.terms:
                name = each.region.output.name if form.output is None else None
                found.append([gate for gate in self.terms[key] if not _writes(gate, name)])
        return together(found)


def _writes(gate: Gate, name: str | None) -> bool:
    return gate.kind == VALUE and gate.name == name
