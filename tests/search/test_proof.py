"""What is made of timings: the choice among contenders, and profiles as a check of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from qcompiler.choices.objective import Footprint, Objective
from qcompiler.execution.timing import TURN, Latency
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Candidate
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.search.proof import REWRITTEN, _affordable, choose, cross_checked
from qcompiler.target.artifact import Artifact

FASTEST = Objective.of("latency")
PRINTS = Footprint({}, {("conv", FLOAT): 1.0})
QUICK = "candidate 0"


def priced(precision: str, seconds: float | None) -> Candidate:
    """A candidate of which only the plan and the profile are asked."""
    plan = Plan("onnxruntime", {"conv": Choice(precision)})
    unused = cast(Program, None), cast(Artifact, None), cast(PipelineReport, None)
    return Candidate(plan, *unused, seconds=seconds)


def contenders(own: float | None) -> dict[str, Candidate]:
    return {QUICK: priced("int8", own), REWRITTEN: priced(FLOAT, 1.0)}


def timed(ratio: float, low: float, high: float, waiting: float = 0.0) -> dict[str, Latency]:
    return {
        "float": Latency(1.0, 1.0, 1.0, 1.0, 20),
        REWRITTEN: Latency(1.0, 1.0, 0.98, 1.02, 20),
        QUICK: Latency(ratio, ratio, low, high, 20, 0.9, waiting),
    }


def test_a_profile_widens_what_was_never_timed_in_quiet() -> None:
    found = cross_checked(timed(0.05, 0.045, 0.055, waiting=0.4), contenders(0.4), 2)
    assert (found[QUICK].low, found[QUICK].high) == (0.045, 0.4)
    assert found[QUICK].speed == "machine busy: 2.50x to 22.22x"
    assert found["float"].ratio == 1.0


@pytest.mark.parametrize(("waiting", "profile"), [(0.0, 0.4), (0.4, None)])
def test_quiet_and_unknown_profiles_leave_a_timing_alone(
    waiting: float, profile: float | None
) -> None:
    before = timed(0.05, 0.045, 0.055, waiting)
    assert cross_checked(before, contenders(profile), 2) == before


@pytest.mark.parametrize(("threads", "slowest"), [(1, 0.055), (2, 0.1), (4, 0.2)])
def test_on_a_busy_machine_a_timing_like_the_profile_may_be_of_one_thread(
    threads: int, slowest: float
) -> None:
    """Float may gain by every other thread, the contender by none."""
    before = timed(0.05, 0.045, 0.055, waiting=0.4)
    found = cross_checked(before, contenders(0.05), threads)[QUICK]
    assert (found.low, found.high) == (0.045, slowest)


@pytest.mark.parametrize(
    ("interval", "profile", "chosen"),
    [
        ((0.9, 0.8, 0.95), 1.05, QUICK),  # the interval is enough, if both together gain
        ((0.9, 0.6, 1.4), 0.6, QUICK),  # unsure, and the profile says the same
        ((0.9, 0.6, 1.4), 1.2, "float"),  # unsure, and the profile says otherwise
        ((0.9, 0.6, 1.4), None, QUICK),  # unsure, and nothing else is known
        ((1.1, 0.9, 1.3), 0.5, "float"),
    ],
)
def test_not_slower_than_float_takes_an_interval_or_two_witnesses(
    interval: tuple[float, float, float], profile: float | None, chosen: str
) -> None:
    found, latencies = contenders(profile), timed(*interval)
    assert choose(FASTEST, found, latencies, PRINTS, 1) == chosen


def test_feeds_of_a_round_are_as_many_as_turns_fit() -> None:
    """A quick model takes a turn for each feed, however quick it is."""
    quick = SimpleNamespace(run=lambda _: None)
    assert _affordable(cast("Artifact", quick), {}, 3, 0.9) == int(0.9 / (3 * TURN))
    assert _affordable(cast("Artifact", quick), {}, 3, 0.0) == 1
