"""Which calibration method suits a network: tried on the engine, from one set of statistics.

A histogram observer holds what every method needs, so trying another method costs a placement and
a few runs, and no pass over the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.decisions.forms import Options
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.observers import HistogramObserver, reinterpreted
from qcompiler.search.loss import Judge
from qcompiler.search.placing import place
from qcompiler.target.contract import Target

METHODS = ("mse", "minmax")
"""Methods tried. Percentile is left out on purpose: it clips what calibration saw seldom, which
looks good on samples like those and cost up to 14 dB on others.
"""


def with_best_ranges(
    program: Program,
    target: Target,
    options: Sequence[Options],
    plan: Plan,
    judge: Judge,
) -> tuple[Program, Mapping[str, float]]:
    """The program under the method whose plan loses least, and the loss of every method tried.

    Args:
        program: Calibrated; it comes back as it is if its statistics allow one method only.
        target: Where the plan runs.
        options: Legal forms of the program's regions.
        plan: A plan with static forms, such as every region in int8.
        judge: Measures the loss.
    """
    if not all(isinstance(seen, HistogramObserver) for seen in program.observations.values()):
        return program, {}
    tried: dict[str, tuple[float, Program]] = {}
    for method in METHODS:
        variant = program.clone()
        variant.observations = _under(program.observations, method)
        try:
            placed, _ = place(variant, target, options, plan)
            tried[method] = (judge.loss(target.lower(placed).run), variant)
        except Exception:  # noqa: BLE001, S112 - this plan fails; the search tries others and logs why
            continue
    if not tried:
        return program, {}
    best = min(tried, key=lambda method: tried[method][0])
    return tried[best][1], {method: loss for method, (loss, _) in tried.items()}


def _under(observations: Mapping[str, Observer], method: str) -> dict[str, Observer]:
    return {name: reinterpreted(seen, method) for name, seen in observations.items()}
