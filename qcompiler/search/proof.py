"""The proof: contenders timed against float as they will be deployed, and the choice among them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from qcompiler.choices.objective import ENERGY, LATENCY, SIZE, Footprint, Objective
from qcompiler.execution.timing import TURN, Latency, compare_latency
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.target.artifact import Artifact

REWRITTEN = "rewritten float"
"""Name of the contender that is float after the float rewrites."""
PROFILE_FEEDS = 4
_LEAST_ROUNDS = 7
REST = 0.002
"""Seconds between turns of different engines."""


@dataclass(frozen=True, eq=False)
class Proof:
    """Times contenders against the baseline.

    Attributes:
        baseline: The source in float on the same engine.
        workshop: Where contenders come from.
        feeds: Samples to run.
        seconds: How long to time.
        rounds: Least rounds of it, however long they take.
    """

    baseline: Artifact
    workshop: Workshop
    feeds: Sequence[Feed]
    seconds: float
    rounds: int = _LEAST_ROUNDS

    def timed(self, contenders: Mapping[str, Artifact]) -> dict[str, Latency]:
        """Times by contender, `float` is the baseline; empty where nothing can be said."""
        if not self.feeds:
            return {}
        feeds = list(self.feeds[:PROFILE_FEEDS])
        if not self.workshop.target.evidence.timed:
            return self._modelled(contenders, feeds)
        return timed_beside(self.baseline, contenders, feeds, self.seconds, self.rounds)

    def _modelled(
        self, contenders: Mapping[str, Artifact], feeds: Sequence[Feed]
    ) -> dict[str, Latency]:
        """Times by the target's model, relative to float as it is rewritten; none without one."""
        if self.workshop.target.evidence.model is None:
            return {}
        plain = self.workshop.build(self.workshop.plan({})).artifact
        samples = {
            name: each.profile(feeds) for name, each in {"float": plain, **contenders}.items()
        }
        seconds = {name: sample.total for name, sample in samples.items() if sample is not None}
        if "float" not in seconds:
            return {}
        return untimed(seconds)


def untimed(seconds: Mapping[str, float]) -> dict[str, Latency]:
    """Times that no round has measured; `float` is the baseline."""
    ratios = {name: each / seconds["float"] for name, each in seconds.items()}
    return {name: Latency(seconds[name], ratio, ratio, ratio, 0) for name, ratio in ratios.items()}


def timed_beside(
    baseline: Artifact,
    contenders: Mapping[str, Artifact],
    feeds: Sequence[Feed],
    seconds: float,
    rounds: int = _LEAST_ROUNDS,
    rest: float = 0.0,
) -> dict[str, Latency]:
    """Times contenders against a baseline, called `float`, in turns.

    Args:
        baseline: What ratios refer to.
        contenders: By name.
        feeds: What each of them runs in a round, or as many of these as the time allows.
        seconds: How long to time.
        rounds: Least rounds, however long they take.
        rest: See `compare_latency`.

    Returns:
        Seconds of one feed, and the ratio to the baseline's.
    """
    artifacts = {"float": baseline, **contenders}
    feeds = feeds[: _affordable(baseline, feeds[0], len(artifacts), seconds / rounds)]
    runs = {name: [partial(each.run, feed) for feed in feeds] for name, each in artifacts.items()}
    timed = compare_latency(runs, seconds, rounds, rest=rest)
    return {name: replace(each, seconds=each.seconds / len(feeds)) for name, each in timed.items()}


def _affordable(baseline: Artifact, feed: Feed, contenders: int, seconds: float) -> int:
    """Feeds of a round that takes so many seconds."""
    if seconds < 2 * contenders * TURN:
        return 1  # whatever a run takes
    baseline.run(feed)
    started = time.perf_counter()
    baseline.run(feed)
    turn = max(2 * (time.perf_counter() - started), TURN)  # each runs twice at least
    round_trip = contenders * turn
    return max(1, int(seconds / round_trip))


GAIN = 0.99
"""Time of float that quantization has to stay below: for nothing, no accuracy is given away."""
_APART = 1.1
"""Factor between a profile's ratio and the timing's interval from which the two disagree."""


def cross_checked(
    latencies: Mapping[str, Latency], finalists: Mapping[str, Candidate], threads: int
) -> dict[str, Latency]:
    """Timings with what profiles say beside them, where no round was quiet.

    A profile is of one thread, which needs one quiet core only. While the timing had its cores to
    itself, a difference is what the other threads bring, and true. On a busy machine, a timing that
    agrees with the profile may be that of one thread, too: the workers wake, wait for their core,
    and find the work done. How float gains by them is not known then, but by no more than there are
    threads.

    Args:
        latencies: Timings by contender.
        finalists: Contenders with their profiles.
        threads: Of the engine.
    """
    found = dict(latencies)
    for name, each in latencies.items():
        other = _by_profile(name, finalists, latencies)
        if each.is_crowded and other is not None:
            apart = max(other / each.high, each.low / other)
            found[name] = each.including(other if apart > _APART else threads * each.ratio)
    return found


def choose(
    objective: Objective,
    finalists: Mapping[str, Candidate],
    latencies: Mapping[str, Latency],
    prints: Footprint,
    source_bytes: int,
    demanded: bool = False,
) -> str:
    """The contender with the lowest score; float if none has a lower one than float.

    None is slower than float, unless time is no part of the objective; where time is all of it,
    what loses something has to gain one percent. Size is that of the file.

    Args:
        objective: What is minimised.
        finalists: Contenders by name.
        latencies: Their times.
        prints: What regions weigh besides time.
        source_bytes: Size of the source in float.
        demanded: Whether overrides ask for what float has not: it is an answer only where there
            is no other then.
    """
    scores = {} if demanded and finalists else {"float": 1.0}
    for name, each in finalists.items():
        only_time = not (objective.weight(SIZE) or objective.weight(ENERGY))
        bar = GAIN if only_time and not each.is_exact else 1.0
        gains = demanded or _gains(name, finalists, latencies, bar)
        if objective.weight(LATENCY) and not gains:
            continue
        ratios = {ENERGY: prints.ratio(ENERGY, each.plan.precisions)}
        if objective.weight(SIZE):
            ratios[SIZE] = each.artifact.nbytes / source_bytes
        if objective.weight(LATENCY):
            ratios[LATENCY] = _merit(name, finalists, latencies)
        scores[name] = objective.score(ratios)
    return min(scores, key=lambda name: scores[name])


def _gains(
    name: str, finalists: Mapping[str, Candidate], latencies: Mapping[str, Latency], bar: float
) -> bool:
    """Whether it takes less than `bar` of float: by its interval, or by timing and profile both."""
    timed = latencies[name]
    if timed.ratio >= bar or timed.faster or not timed.rounds:
        return timed.ratio < bar
    other = _by_profile(name, finalists, latencies)
    return other is None or other < bar


def _by_profile(
    name: str, finalists: Mapping[str, Candidate], latencies: Mapping[str, Latency]
) -> float | None:
    """Time relative to float as its profile has it; None where nothing was profiled."""
    own, plain = finalists.get(name), finalists.get(REWRITTEN)
    if own is None or plain is None or not own.seconds or not plain.seconds:
        return None
    return latencies[REWRITTEN].ratio * own.seconds / plain.seconds


def _merit(
    name: str, finalists: Mapping[str, Candidate], latencies: Mapping[str, Latency]
) -> float:
    """Time relative to float: geometric mean of the timing as deployed and of the profile.

    The profile is of one thread, which tells what a plan saves when the other cores are busy, or
    are the second thread of the same one; then the timing alone would prefer what scales.
    """
    timed, other = latencies[name].ratio, _by_profile(name, finalists, latencies)
    return timed if other is None else math.sqrt(timed * other)
