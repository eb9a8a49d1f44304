"""`CostModel`: what each region costs in each precision, learned from profiles on the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import onnx_ir as ir

from qcompiler.choices.assignment import Costs
from qcompiler.choices.objective import ENERGY, LATENCY, SIZE, Footprint, Objective
from qcompiler.choices.prediction import LossModel
from qcompiler.decisions.options import Options
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Candidate
from qcompiler.target.artifact import ConversionCost, CostSample

Offers = Sequence[tuple[str, str]]
"""Choices: (region key, precision)."""
_NOTICEABLE = 0.02
"""Share of the run time below which no further forms are tried."""


class KnownTimes(Protocol):
    """Times of earlier compilations: `qcompiler.search.cache.CostCache`."""

    def get(self, signature: str, precision: str) -> float | None: ...

    def update(self, measured: Mapping[tuple[str, str], float]) -> None: ...


@dataclass
class CostModel:
    """Seconds by (region key, precision), from the latest profile that ran the region so.

    Attributes:
        elements: Elements of a value per run, by name.
        conversion: Cost of entering and leaving integers; None counts as nothing.
        regions: The measurements.
        other: Seconds of float's nodes that belong to no region.
    """

    elements: Mapping[str, float]
    conversion: ConversionCost | None
    regions: dict[tuple[str, str], float] = field(default_factory=dict)
    other: float = 0.0

    def learn(self, candidate: Candidate, only_new: bool = False) -> None:
        """Takes over what a profiled candidate shows.

        A region that the engine merged into its neighbour cost nothing of its own.

        Args:
            candidate: With a sample.
            only_new: Leave alone what is known already.
        """
        if candidate.sample is None:
            return
        for key, choice in candidate.plan.choices.items():
            seconds = candidate.sample.regions.get(key, 0.0)
            if only_new:
                self.regions.setdefault((key, choice.precision), seconds)
            else:
                self.regions[key, choice.precision] = seconds
        if not candidate.quantized:
            self.other = candidate.sample.other + candidate.sample.conversions

    def expected(self, precisions: Mapping[str, str]) -> float | None:
        """Seconds of the regions by what is known; None while something is not."""
        known = [self.regions.get(choice) for choice in precisions.items()]
        if not known or any(each is None for each in known):
            return None
        return sum(each for each in known if each is not None)

    def may_pay(self, wanted: Mapping[str, str]) -> bool:
        """Whether another form of these regions could save a noticeable part of the whole."""
        whole = sum(spent for (_, precision), spent in self.regions.items() if precision == FLOAT)
        lowest: dict[str, float] = {}
        for (key, _), spent in self.regions.items():
            lowest[key] = min(spent, lowest.get(key, spent))
        at_stake = sum(lowest.get(key, 0.0) for key in wanted)
        return at_stake >= _NOTICEABLE * (whole + self.other)

    def recall(self, cache: KnownTimes, signatures: Mapping[str, str], offered: Offers) -> int:
        """Takes over cached times of what was not measured yet, scaled to today's speed of float.

        Args:
            cache: Times of earlier compilations.
            signatures: Signature by region key; none without a cache.
            offered: Choices that may be asked for.

        Returns:
            How many times were taken over.
        """
        before = len(self.regions)
        pairs = [
            (self.regions[key, FLOAT], cache.get(signature, FLOAT))
            for key, signature in signatures.items()
            if (key, FLOAT) in self.regions
        ]
        then = sum(old for _, old in pairs if old is not None)
        now = sum(new for new, old in pairs if old is not None)
        for key, precision in offered if then > 0 else ():
            seconds = cache.get(signatures[key], precision)
            if seconds is not None:
                self.regions.setdefault((key, precision), seconds * now / then)
        return len(self.regions) - before

    def remember(
        self, cache: KnownTimes, signatures: Mapping[str, str], shown: Sequence[Candidate]
    ) -> None:
        """Adds what the profiles of float (first) and of the uniform plans show to the cache."""
        times: dict[tuple[str, str], float] = {}
        for candidate in shown if signatures else ():
            own: dict[tuple[str, str], float] = {}
            for key, precision in candidate.plan.precisions.items():
                if candidate.sample is not None:
                    choice = signatures[key], precision
                    seconds = candidate.sample.regions.get(key, 0.0)
                    own[choice] = max(seconds, own.get(choice, 0.0))
            times = own | times  # float counts as the float program shows it
        cache.update(times)

    def costs(
        self,
        losses: LossModel | None = None,
        objective: Objective | None = None,
        prints: Footprint | None = None,
        alias: Mapping[str, str] | None = None,
    ) -> Costs:
        """The solver's input: every part of the objective relative to float, in thousandths."""
        seconds = self._unit(objective, LATENCY, self.regions)
        regions = {choice: seconds * spent for choice, spent in self.regions.items()}
        if objective is not None and prints is not None:
            for name, table in ((SIZE, prints.size), (ENERGY, prints.energy)):
                unit = self._unit(objective, name, table)
                for choice in regions:
                    regions[choice] += unit * table.get(choice, 0.0)
        conversion = self.conversion or ConversionCost(0.0, 0.0, 0.0)
        return Costs(
            regions=regions,
            quantize=self._conversions(seconds, conversion.fixed, conversion.quantize),
            dequantize=self._conversions(seconds, conversion.fixed, conversion.dequantize),
            value_loss=losses.values() if losses else {},
            weight_loss=losses.own() if losses else {},
            alias=dict(alias or {}),
        )

    def _conversions(self, unit: float, fixed: float, slope: float) -> dict[str, float]:
        return {name: unit * (fixed + slope * count) for name, count in self.elements.items()}

    def _unit(
        self, objective: Objective | None, name: str, table: Mapping[tuple[str, str], float]
    ) -> float:
        """Cost of one second, byte or operation, so that all of float costs 1000 x weight."""
        if objective is None:
            return 1.0
        whole = sum(each for (_, precision), each in table.items() if precision == FLOAT)
        if name == LATENCY:
            whole += self.other
        # A little latency always counts, so that ties go to the faster form.
        weight = objective.weight(name) or (1e-3 if name == LATENCY else 0.0)
        return 1000.0 * weight / whole if whole > 0 else 0.0


def fastest(a: CostSample, b: CostSample) -> CostSample:
    """The lower of two measurements of one artifact, part by part: noise only ever adds time."""
    regions = {key: min(a.regions.get(key, seconds), seconds) for key, seconds in b.regions.items()}
    return CostSample(
        {**a.regions, **regions}, min(a.conversions, b.conversions), min(a.other, b.other)
    )


def elements_per_run(
    program: Program, options: Sequence[Options], samples: int
) -> dict[str, float]:
    """Elements of each value at a region's edge, as calibration saw them or as shapes say."""
    found = {}
    for each in options:
        for value in [operand.value for operand in each.region.activations] + [each.region.output]:
            name = value.name or ""
            seen = program.observations.get(name)
            if seen is not None and seen.count and samples:
                found[name] = seen.count / samples
            else:
                found[name] = _static_size(value)
    return found


def _static_size(value: ir.Value) -> float:
    """Elements by shape; symbolic dimensions count as 1."""
    if value.shape is None:
        return 1.0
    size = 1.0
    for dim in value.shape:
        size *= dim if isinstance(dim, int) else 1
    return size


def uniform_trials(options: Sequence[Options]) -> list[dict[str, str]]:
    """Plans that together run every region in each of its forms once, preferred forms first.

    The n-th plan gives every region its n-th form, so their number is that of the forms of the
    region with the most, not that of all precisions.
    """
    most = max((len(each.implementations) for each in options), default=0)
    return [
        {
            each.region.key: each.implementations[number].precision
            for each in options
            if number < len(each.implementations)
        }
        for number in range(most)
    ]
