"""After Ctrl-C: a short timing if the model is quick, what profiles say of its times if it is not.

Whoever interrupts a search waits for the run that is under way, and then for a second at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qcompiler.execution.timing import Latency
from qcompiler.measurement.candidates import Candidate
from qcompiler.search.proof import Proof, untimed

_SECONDS = 0.5
"""Of timing."""
_ROUNDS = 3
"""Least rounds of it."""
_RUNS = 2 + 3 + 2 * _ROUNDS
"""Runs of each contender in the least rounds: to see what is affordable, to warm up, the rounds."""
_MOST = 1.0
"""Seconds that these may take."""


def hurried(
    proof: Proof, finalists: Mapping[str, Candidate], frontier: Sequence[Candidate]
) -> dict[str, Latency]:
    """Times by contender, `float` is the baseline; empty where there is none to choose.

    Args:
        proof: What would be done with more time.
        finalists: By name.
        frontier: Every measured candidate; the first one is float rewritten.
    """
    if not finalists:
        return {}
    known = by_profile(finalists, frontier)
    if proof.workshop.target.evidence.timed and least_seconds(known) > _MOST:
        return known
    short = replace(proof, seconds=min(_SECONDS, proof.seconds), rounds=_ROUNDS)
    return short.timed({name: each.artifact for name, each in finalists.items()})


def by_profile(
    finalists: Mapping[str, Candidate], frontier: Sequence[Candidate]
) -> dict[str, Latency]:
    """Times as profiles have them, of one thread; empty unless all are known."""
    plain = next((each.seconds for each in frontier if not each.quantized), None)
    found = {name: each.seconds for name, each in finalists.items()}
    if not plain or not all(found.values()):
        return {}
    return untimed({"float": plain, **{name: each or 0.0 for name, each in found.items()}})


def least_seconds(latencies: Mapping[str, Latency]) -> float:
    """What timing them takes at least."""
    return _RUNS * sum(each.seconds for each in latencies.values())
