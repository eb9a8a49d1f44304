"""`choose-ranges`: the range of every value by the method that loses least at the outputs.

Neither the local error nor one method for all values tells what the outputs lose (measured: one
network scores 0.890 by `mse` and 0.940 by `minmax`). So every group of values that share a scale
tries each method's range in a float model with the quantizations of all regions, where ranges are
inputs (`RangeModel`): a choice is one run over the samples. Groups are tried in blocks that are
halved as long as they move the loss (`Descent`).

Few samples tell little of values that they do not hold. So a narrower range has to save more than
chance does, on most of the samples; of methods that are about as good the widest is taken; and with
few samples extremes are read as those of four times as many (`RowExtremes.beyond`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from qcompiler.calibration.dividing import spread
from qcompiler.choices.cost import uniform_trials
from qcompiler.choices.descent import Choice, Descent
from qcompiler.decisions.placement import Placement
from qcompiler.decisions.resolve import resolve
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.measurement.gain import Look, Margin
from qcompiler.measurement.range_model import range_model
from qcompiler.measurement.range_probing import RangeProber, Ranges
from qcompiler.measurement.scored import MOST, referred, scored_program, stressed, unclipped
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.pipeline.options_of import options_of
from qcompiler.quantization.chosen import Chosen, Given, histogram_of, is_users
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.observers import HistogramObserver, reinterpreted
from qcompiler.quantization.qspace import U8_AFFINE, QParams, Range

FEW = 64
"""Samples below which extremes are read as those of more."""
_TIMES = 4.0
_LOOKS, _LEAST_SAMPLES = 24, 4
"""Fewest looks, and fewest samples that are looked at."""
_ROUNDING, _LOOKS_OF_A_VALUE = 2.5, 1
"""How much longer a run takes with every region rounded than in float, and how many looks are usual
of a value."""
_SAME = 0.02
"""Ranges whose scales differ by less are one alternative."""
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "minmax": ("minmax", {}),
        "moving-average": ("moving-average", {}),
        "percentile 99.999": ("percentile", {"percentile": 99.999}),
        "percentile 99.99": ("percentile", {"percentile": 99.99}),
        "mse": ("mse", {}),
        "entropy": ("entropy", {}),
    }
)
"""What a histogram can be read as, wide ones first."""


@dataclass(frozen=True)
class ChooseRanges(Pass):
    """Gives every observed value that holds a histogram the method that suits the outputs.

    Fitted to `context.samples`; without samples, or where nothing is static, nothing is done.
    Ranges that the user gave stay. Options of the context: `overrides`, as for `compile`.

    Attributes:
        looks: Most choices that are measured.
        elements: Activations that all of them may compute together.
    """

    name: ClassVar[str] = "choose-ranges"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.RANGES

    looks: int = 240
    elements: float = 1e9

    def price(self, samples: int) -> str:
        return f"at most {self.looks} runs of a float model over {samples} samples"

    def runs(self, samples: int, program: Program | None) -> float:
        if program is None:
            return float(self.looks * samples)
        most, count = self._effort(program, samples)
        values = sum(histogram_of(seen) is not None for seen in program.observations.values())
        looks = min(most, len(METHODS) + _LOOKS_OF_A_VALUE * values)  # most move nothing
        return _ROUNDING * looks * (count + -(-count // 2)) / (os.cpu_count() or 1)

    def _effort(self, program: Program, samples: int) -> tuple[int, int]:
        """How many looks at how many samples `elements` pay for; fewer samples before few looks."""
        one = _elements(program, 1)
        count = min(samples, MOST, max(_LEAST_SAMPLES, int(self.elements / (one * _LOOKS * 1.5))))
        looks = int(self.elements / (one * (count + -(-count // 2))))
        return min(self.looks, max(_LOOKS, looks)), count

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        readings = _readings(program.observations)
        if not context.samples or context.target is None or not any(readings.values()):
            return Outcome(details={"values": 0})
        decided = [_decided(program, context, readings, number) for number in range(len(METHODS))]
        scored = scored_program(program)
        model = range_model(scored, decided[0])
        if not model.groups:
            return Outcome(details={"values": 0})
        ranges = [model.parameters(each.values) for each in decided]
        whole = unclipped(scored)
        kept = [any(name in whole for name, _ in group) for group in model.groups]
        widest = ranges[0]
        ranges = [
            tuple(w if k else r for w, r, k in zip(widest, each, kept, strict=True))
            for each in ranges
        ]
        limit, count = self._effort(program, len(context.samples))
        samples = spread(context.samples, count)
        known = referred(scored, [*samples, *stressed(samples[::2])])
        with RangeProber(
            model, known.feeds, known.reference, known.slices, context.executor
        ) as prober:
            choice, found = _searched(ranges, prober, limit)
        choice = tuple(0 if k else number for k, number in zip(kept, choice, strict=True))
        for group, number in zip(model.groups, choice, strict=True):
            for name in dict.fromkeys(name for name, _ in group if readings[name]):
                seen, picks = program.observations[name], readings[name][number]
                program.observations[name] = Chosen.of(seen, picks, self.name)
        counts = {method: choice.count(i) for i, method in enumerate(METHODS)}
        return Outcome(details={"groups": counts, "looks": prober.count, "loss": found.loss})


def _readings(observations: Mapping[str, Observer]) -> dict[str, tuple[Observer, ...]]:
    """What every value can be read as, in the order of `METHODS`; empty for those that stay."""
    return {name: _of_value(seen) for name, seen in observations.items()}


def _of_value(seen: Observer) -> tuple[Observer, ...]:
    histogram = histogram_of(seen)
    if histogram is None or histogram.count == 0 or is_users(seen):
        return ()
    return tuple(
        _extended(histogram) if method == "minmax" else reinterpreted(histogram, method, **options)
        for method, options in METHODS.values()
    )


def _extended(seen: HistogramObserver) -> Observer:
    """The extremes as `minmax` reads them, and those to expect of more samples if that is wider."""
    wide = reinterpreted(seen, "minmax").range_for(U8_AFFINE)
    low = seen.low_without_sentinel if seen.bounds.has_sentinel else wide.low
    high = wide.high
    if seen.extremes.rows < FEW:
        beyond = seen.extremes.beyond(seen.low_without_sentinel, seen.high, _TIMES)
        low, high = min(beyond.low, low), max(beyond.high, high)
    return Given(bounds=seen.bounds, given=Range(low, high))


def _decided(
    program: Program,
    context: PassContext,
    readings: Mapping[str, tuple[Observer, ...]],
    number: int,
) -> Placement:
    """What follows when every value is read by one method, every region quantized."""
    assert context.target is not None
    observations = {
        name: readings[name][number] if readings[name] else seen
        for name, seen in program.observations.items()
    }
    options = options_of(program, context.target, context)
    trials = uniform_trials(options)
    wanted = trials[0] if trials else {}
    chosen = {
        each.region.key: each.chosen(each.pinned or wanted.get(each.region.key, FLOAT), "")
        for each in options
    }
    plan = Plan(context.target.name, chosen)
    return resolve(observations, options, plan, program.absorbed)


def _elements(program: Program, samples: int) -> float:
    """Activations that one choice computes over some samples, as calibration counted them."""
    rows = [
        each.extremes.rows
        for seen in program.observations.values()
        if (each := histogram_of(seen)) is not None
    ]
    total = sum(seen.count for seen in program.observations.values())
    usual = sorted(rows)[len(rows) // 2] if rows else 1  # some values have time in front
    return max(1.0, total / max(usual, 1) * samples)


def _searched(ranges: Sequence[Ranges], prober: RangeProber, limit: int) -> tuple[Choice, Look]:
    """The choice of methods: the best one for all, then by blocks."""
    groups = len(ranges[0])
    whole = prober.measure(ranges)
    margin = Margin()
    start = 0
    for number, look in enumerate(whole):
        if margin.better(look, whole[start]):
            start = number
    alternatives = [_different(ranges, group, start) for group in range(groups)]

    def measured(choices: Sequence[Choice]) -> list[Look]:
        return prober.measure([_mixed(ranges, choice) for choice in choices])

    descent = Descent(alternatives, measured, limit - len(ranges), margin)
    return descent.run((start,) * groups, whole[start])


def _mixed(ranges: Sequence[Ranges], choice: Choice) -> Ranges:
    return tuple(ranges[number][group] for group, number in enumerate(choice))


def _different(ranges: Sequence[Ranges], group: int, start: int) -> tuple[int, ...]:
    """Methods whose parameters of a group differ from each other's, beginning with `start`."""
    kept = [start]
    for number in range(len(ranges)):
        own = ranges[number][group]
        if all(not _alike(own, ranges[each][group]) for each in kept):
            kept.append(number)
    return tuple(kept)


def _alike(one: QParams, two: QParams) -> bool:
    near = abs(float(one.scale) / float(two.scale) - 1) < _SAME
    return near and int(one.zero_point) == int(two.zero_point)
