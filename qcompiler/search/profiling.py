"""Seconds of float and of every form of every region, in place, before anything is solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.choices.objective import ENERGY, SIZE
from qcompiler.search.attempts import Attempts
from qcompiler.search.cache import CostCache, signatures

_MOST_HALVINGS = 8
"""How often plans that fail are halved, to profile the regions that do not make them fail."""
_AHEAD = 0.5
"""Share of the time left that workers may take for losses; they may have to start first."""


def profile(attempts: Attempts, trials: Sequence[Mapping[str, str]], cache: CostCache) -> None:
    """Tries float, then every form of every region.

    Args:
        attempts: Tries them, and learns.
        trials: Precisions of regions, of one form each.
        cache: Times of earlier compilations; takes these.
    """
    attempts.attempt({}, "float")
    if attempts.is_hopeless:
        attempts.note("float values in the target's type lose more than is allowed by themselves")
        return
    known = signatures(attempts.workshop.options, attempts.costs.elements) if cache.path else {}
    offered = [each for trial in trials for each in trial.items()]
    recalled = attempts.costs.recall(cache, known, offered)
    if recalled:
        attempts.note(f"cost cache: {recalled} times known")
    foresee(attempts, trials)
    # Only time is known before a form was tried; size and energy may always be saved.
    other_goals = attempts.objective.weight(SIZE) or attempts.objective.weight(ENERGY)
    for number, wanted in enumerate(trials, 1):
        if attempts.limits.expired:
            break  # what was measured is remembered
        if number > 1 and not other_goals and not attempts.costs.may_pay(wanted):
            continue
        if all(choice in attempts.costs.regions for choice in wanted.items()):
            continue  # known from earlier compilations
        what = "every region" if number == 1 else f"form {number} of regions"
        if attempts.attempt(wanted, what, True) is None:
            _try_halves(attempts, wanted, what)
    attempts.costs.remember(cache, known, attempts.state.frontier)
    attempts.state.log.extend(cache.notes)
    cache.notes.clear()


def foresee(attempts: Attempts, trials: Sequence[Mapping[str, str]]) -> None:
    """Losses of the trials that are not known by cost, side by side on the executor."""
    new = [w for w in trials if not all(each in attempts.costs.regions for each in w.items())]
    plans = [attempts.workshop.plan(wanted) for wanted in new]
    note = attempts.workshop.foresee(plans, _AHEAD * attempts.limits.left)
    if note is not None:
        attempts.note(note)


def _try_halves(attempts: Attempts, wanted: Mapping[str, str], what: str) -> None:
    """Learns what it can of a plan that fails: halves of it, down to what fails alone."""
    pending = [list(wanted.items())]
    for _ in range(_MOST_HALVINGS):
        splittable = [each for each in pending if len(each) > 1]
        if not splittable or attempts.limits.expired:
            return
        whole = splittable[0]
        pending.remove(whole)
        middle = len(whole) // 2
        halves = (whole[:middle], whole[middle:])
        pending += [h for h in halves if attempts.attempt(dict(h), f"part of {what}", True) is None]
