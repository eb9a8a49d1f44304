"""Why every region has its precision: cost, loss or legality, with what the others would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.choices.cost import CostModel
from qcompiler.choices.prediction import LossModel
from qcompiler.decisions.forms import Options
from qcompiler.ir.plan import FLOAT, Plan


def explained(
    plan: Plan,
    options: Sequence[Options],
    costs: CostModel,
    losses: LossModel | None,
    time_model: str | None = None,
) -> Plan:
    """The plan with times, losses, alternatives and a reason for every region.

    Args:
        plan: Precision of every region.
        options: What each might have been.
        costs: Seconds by region and precision.
        losses: Sensitivities, if they were measured.
        time_model: The model that the seconds are of; None where they were measured.
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
        reason = _reason(each, precision, measured, lost) + (" (modelled)" if time_model else "")
        choices[key] = replace(
            each.chosen(precision, reason),
            seconds=measured.get(precision),
            loss=lost.get(precision),
            alternatives={n: seconds for n, seconds in measured.items() if n != precision},
        )
    return replace(plan, choices=choices)


def _reason(
    options: Options, precision: str, measured: dict[str, float], lost: dict[str, float]
) -> str:
    if options.pinned is not None:
        return "override"
    if not options.implementations:
        return "; ".join(options.reasons) or "no quantized form on this target"
    own, plain = measured.get(precision), measured.get(FLOAT)
    others = {name: seconds for name, seconds in measured.items() if name != precision}
    if own is None or not others:
        return "as in the best plan that was measured; its own time is not known"
    fastest = min(others, key=lambda name: others[name])
    if precision != FLOAT and plain is not None and own <= plain:
        return f"{_micro(own)} against {_micro(plain)} in float"
    if precision != FLOAT:
        return "its neighbours are integers, so conversions are saved"
    if others[fastest] >= own:
        return f"float is faster: {_micro(own)} against {_micro(others[fastest])} as {fastest}"
    loss = lost.get(fastest)
    if loss:
        return f"{fastest} would save {_micro(own - others[fastest])} but lose {loss:.1e} of signal"
    return f"{fastest} would save {_micro(own - others[fastest])}, less than its conversions cost"


def _micro(seconds: float) -> str:
    number = 1e6 * seconds
    return f"{number:.0f} µs" if abs(number) >= 100 else f"{number:.3g} µs"
