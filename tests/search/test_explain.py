"""Reasons of float regions: what they say of loss is of the plan that the region would be in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.choices.cost import CostModel
from qcompiler.choices.prediction import LossModel
from qcompiler.decisions.forms import region_options
from qcompiler.ir.text import from_text
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.gate import VALUE, Gate
from qcompiler.measurement.judge import Judgement
from qcompiler.outputs.tolerance import Verdict
from qcompiler.search.explain import explained, tried

TEXT = """
g (float[4,8] x) => (float[4,8] y) <float[8,8] v, float[8,8] w> {
  [first] a = MatMul (x, v)
  [second] y = MatMul (a, w) }"""
GATES = {key: Gate(VALUE, key) for key in ("first", "second")}


def _reasons(losses: dict[str, float] | None, limit: float, own: float = 4e-4) -> str:
    """Of the second product, in float beside a first one in integers, which would save 300 µs."""
    program, target = from_text(TEXT), OnnxRuntime(1)
    options = region_options(program, target, target.regions(program), {})
    times = {(key, p): s for key in GATES for p, s in (("float32", own), ("int8-dynamic", 1e-4))}
    model = losses and LossModel(
        {GATES[key]: loss for key, loss in losses.items()},
        {(key, "int8-dynamic"): (GATES[key],) for key in GATES},
    )
    plan = Workshop(program, target, options, None).plan({"first": "int8-dynamic"})
    costs = CostModel({}, None, times)
    told = explained(plan, options, costs, model or None, limit=limit)
    return told.choices["second"].reason


def test_a_loss_over_the_bound_is_told_with_that_of_the_others() -> None:
    told = _reasons({"first": 6e-3, "second": 2e-3}, 7.5e-3)
    assert told == (
        "int8-dynamic would save 300 µs, but it adds 2.0e-03 of noise to signal and the other "
        "regions 6.0e-03, where 7.5e-03 is allowed"
    )


def test_a_loss_within_the_bound_is_no_reason() -> None:
    """What was allowed and fast alone, but not in any plan that was measured, is said to be so."""
    told = _reasons({"first": 1e-3, "second": 1.4e-4}, 7.5e-3)
    assert (
        told == "int8-dynamic would save 300 µs, but no plan with it that was measured was better"
    )


@pytest.mark.parametrize("losses", [None, {"first": 1e-3, "second": 0.0}])
def test_without_a_loss_it_is_the_conversions(losses: dict[str, float] | None) -> None:
    assert (
        _reasons(losses, 7.5e-3) == "int8-dynamic would save 300 µs, less than its conversions cost"
    )


@dataclass
class _Measured:
    """What is asked of a candidate."""

    quantized: int
    loss: float
    seconds: float | None
    judgement: Any = None

    @property
    def noise(self) -> float:
        return self.loss


@pytest.mark.parametrize(
    ("candidates", "told"),
    [
        ([(0, 0.0, 8e-3)], "none with integers was measured"),
        (
            [(0, 0.0, 8e-3), (5, 1e-1, 4e-3), (3, 1e-2, 6e-3)],
            "of 2 with integers none was within it, the nearest has 20.0 dB",
        ),
        (
            [(0, 0.0, 8e-3), (5, 1e-1, 4e-3), (3, 1e-4, 9e-3)],
            "of 2 with integers the quickest within it takes 9 ms where float takes 8 ms",
        ),
    ],
)
def test_float_that_is_returned_says_what_was_measured(
    candidates: list[tuple[int, float, float]], told: str
) -> None:
    given: Any = [_Measured(*each) for each in candidates]
    assert tried(given, 1e-3) == told


def test_a_profile_that_the_timing_did_not_bear_out_is_told_with_it() -> None:
    """It said that nothing was better, and of 10 ms where float takes 17, on a busy machine."""
    given: Any = [_Measured(0, 0.0, 17e-3), _Measured(5, 1e-4, 10e-3)]
    assert tried(given, 1e-3, timed="machine busy: 0.73x to 1.99x") == (
        "of 1 with integers the quickest within it takes 10 ms where float takes 17 ms"
        " by their profiles; timed in turns, the best has machine busy: 0.73x to 1.99x"
    )


@pytest.mark.parametrize("over", [False, True])
def test_decisions_that_flip_and_time_that_is_up_are_told(over: bool) -> None:
    """It said that one within the loss was twice as fast as the float that is returned."""
    flipped = Verdict(flipped=2, decisions=16, share=0.125, cost=0.1, good=False)
    found = Judgement(1e-4, (1e-4,), (flipped,))
    given: Any = [_Measured(0, 0.0, 8e-3), _Measured(5, 1e-4, 4e-3, found)]
    told = "of 1 with integers 1 were within it, but more decisions flipped than are allowed"
    assert tried(given, 1e-3, over) == told + ("; the time of the search was up" if over else "")


def test_what_runs_inside_its_neighbour_takes_no_time_of_its_own() -> None:
    """`0 µs against 100 µs` read as a fault of the measurement."""
    told = _reasons(None, 1.0, own=0.0)
    assert told == "float is faster: no time of its own against 100 µs as int8-dynamic"
