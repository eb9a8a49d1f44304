"""Why every region has its precision: cost, loss or legality, with what the others would cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from qcompiler.choices.cost import CostModel
from qcompiler.choices.prediction import LossModel
from qcompiler.decisions.options import Options
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.loss import sqnr_db


def explained(
    plan: Plan,
    options: Sequence[Options],
    costs: CostModel,
    losses: LossModel | None,
    time_model: str | None = None,
    limit: float = math.inf,
) -> Plan:
    """The plan with times, losses, alternatives and a reason for every region.

    Args:
        plan: Precision of every region.
        options: What each might have been.
        costs: Seconds by region and precision.
        losses: Sensitivities, if they were measured.
        time_model: The model that the seconds are of; None where they were measured.
        limit: Most loss that is allowed, of all regions together.
    """
    choices = {}
    for each in options:
        key = each.region.key
        precision = plan.precision(key)
        names = [FLOAT, *(form.precision for form in each.implementations)]
        measured = {
            name: costs.regions[key, name] for name in names if (key, name) in costs.regions
        }
        lost = {name: losses.of_choice(key, name) for name in names} if losses else {}
        over = _Over(plan.precisions, key, losses, limit)
        reason = _reason(each, precision, measured, over) + (" (modelled)" if time_model else "")
        choices[key] = replace(
            each.chosen(precision, reason),
            seconds=measured.get(precision),
            loss=lost.get(precision),
            alternatives={n: seconds for n, seconds in measured.items() if n != precision},
        )
    return replace(plan, choices=choices)


def tried(
    candidates: Iterable[Candidate], limit: float, late: bool = False, timed: str = ""
) -> str:
    """What became of the candidates with integers, where none of them is returned.

    Args:
        candidates: All that were measured, float among them.
        limit: Most loss that is allowed.
        late: Whether the time of the search was up, so that nothing more was tried.
        timed: How many times faster the best of them was beside float, where that was timed.
    """
    became = _became(candidates, limit, timed)
    return became + ("; the time of the search was up" if late else "")


def _became(candidates: Iterable[Candidate], limit: float, timed: str) -> str:
    measured = [each for each in candidates if each.loss is not None]
    known = [each for each in measured if each.quantized]
    if not known:
        return "none with integers was measured"
    near = [e for e in known if (e.loss or 0.0) <= limit and e.seconds is not None]
    head = f"of {len(known)} with integers"
    if not near:
        nearest = min(known, key=lambda each: each.loss or 0.0)
        return f"{head} none was within it, the nearest has {sqnr_db(nearest.noise or 0.0):.1f} dB"
    kept = [e for e in near if e.judgement is None or e.judgement.good]
    if not kept:
        return f"{head} {len(near)} were within it, but more decisions flipped than are allowed"
    within = [each.seconds for each in kept if each.seconds is not None]
    plain = [each.seconds for each in measured if not each.quantized and each.seconds is not None]
    beside = f" where float takes {_micro(min(plain))}" if plain else ""
    proof = f" by their profiles; timed in turns, the best has {timed}" if timed else ""
    return f"{head} the quickest within it takes {_micro(min(within))}{beside}{proof}"


_NOT_BETTER = "no plan with it that was measured was better"


@dataclass(frozen=True)
class _Over:
    """What a region in another precision would make of the loss of a plan."""

    precisions: Mapping[str, str]
    key: str
    losses: LossModel | None
    limit: float

    def lost(self, precision: str) -> float:
        """By this region alone; 0 where no losses were measured."""
        return 0.0 if self.losses is None else self.losses.of_choice(self.key, precision)

    def told(self, precision: str) -> str:
        """That it passes what is allowed, and by whose loss; nothing where it does not."""
        if self.losses is None:
            return ""
        changed = self.losses.of_plan({**self.precisions, self.key: precision})
        if changed <= self.limit:
            return ""
        own = self.lost(precision)
        others = self.losses.of_plan(self.precisions)
        beside = f" and the other regions {others:.1e}" if others > 0 else ""
        return f"it adds {own:.1e} of noise to signal{beside}, where {self.limit:.1e} is allowed"


def _reason(options: Options, precision: str, measured: dict[str, float], over: _Over) -> str:
    if options.pinned is not None:
        told = (
            f"no plan with {options.pinned} here, as an override asks, was within the loss allowed"
        )
        return "override" if options.pinned == precision else told
    if not options.implementations:
        return "; ".join(options.reasons) or "no quantized form on this target"
    own, plain = measured.get(precision), measured.get(FLOAT)
    others = {name: seconds for name, seconds in measured.items() if name != precision}
    if own is None or not others:
        return "as in the best plan that was measured; its own time is not known"
    fastest = min(others, key=lambda name: others[name])
    if precision != FLOAT and plain is not None and own <= plain:
        return f"{_spent(own)} against {_spent(plain)} in float"
    if precision != FLOAT:
        return "its neighbours are integers, so conversions are saved"
    if others[fastest] >= own:
        return f"float is faster: {_spent(own)} against {_spent(others[fastest])} as {fastest}"
    saved = f"{fastest} would save {_micro(own - others[fastest])}"
    if not over.lost(fastest):
        return f"{saved}, less than its conversions cost"
    return f"{saved}, but {over.told(fastest) or _NOT_BETTER}"


def _spent(seconds: float) -> str:
    """An engine that runs an operator inside its neighbour gives it no time."""
    return _micro(seconds) if seconds else "no time of its own"


def _micro(seconds: float) -> str:
    number = 1e6 * seconds
    if abs(number) >= 1000:
        return f"{number / 1000:.3g} ms"
    return f"{number:.0f} µs" if abs(number) >= 100 else f"{number:.3g} µs"
