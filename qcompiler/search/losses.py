"""What every quantization loses by itself, measured once in a switchable model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from qcompiler.choices.prediction import LossModel
from qcompiler.choices.sensitivity import FLOOR, LEAST, measure_sensitivity
from qcompiler.errors import QCompilerError
from qcompiler.measurement.candidates import failure
from qcompiler.measurement.gate import Gate, GateModel
from qcompiler.measurement.probing import Prober
from qcompiler.measurement.views import informative
from qcompiler.search.attempts import Attempts

PROBE_FEEDS = 3
"""Samples of a probe; more rank regions no better."""


def measured_losses(
    attempts: Attempts, gates: Callable[[], GateModel], executor: Executor | None
) -> LossModel | None:
    """Sensitivities of all gates; None when there are none to be had.

    Args:
        attempts: What was tried so far; told how it went.
        gates: Makes the switchable model.
        executor: Workers for probes.
    """
    judge = attempts.workshop.judge
    if not attempts.limits.probes or judge is None or attempts.limits.over:
        return None
    try:
        model = gates()
    except QCompilerError as error:
        attempts.note(f"no sensitivities: {failure(error)}")
        return None
    now = attempts.limits.now
    end = now() + 0.5 * attempts.limits.left  # the rest is for using what was found
    told = informative(judge.slices, judge.reference, PROBE_FEEDS)
    probed = [judge.feeds[each] for each in told]
    slices = [each.at(told) for each in judge.slices]
    with Prober(model, probed, executor, slices, judge.taken.at(told)) as prober:
        found = measure_sensitivity(
            model.gates,
            _told(attempts, prober.losses),
            FLOOR * attempts.limits.max_nsr,
            attempts.limits.probes,
            lambda: now() > end,
            0 if attempts.limits.strict else LEAST,
        )
    attempts.note(
        f"sensitivity: {found.probes} probes for {len(model.gates)} quantizations"
        + ("" if found.complete else ", ended early")
    )
    return LossModel(model.losses(found.losses), model.terms)


def _told(
    attempts: Attempts, measure: Callable[[Sequence[Sequence[Gate]]], list[float]]
) -> Callable[[Sequence[Sequence[Gate]]], list[float]]:
    def told(groups: Sequence[Sequence[Gate]]) -> list[float]:
        attempts.progress.advance(0, f"sensitivity of {len(groups)} sets{attempts.best_note()}")
        return measure(groups)

    return told
