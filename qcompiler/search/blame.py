"""Which regions a plan that was asked for loses by, and the overrides that would keep them float.

A fixed scheme puts in integers all that has a form in them, whatever is lost. Where little is left
of an output the user has to hear by what: regions are switched on in sets that are halved as long
as they matter, in a float model with a switch in front of every quantization.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcompiler.choices.sensitivity import FLOOR, in_groups, split_groups
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import FLOAT
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.gates import gates_of_plan, together
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.probing import SLOWER, Prober

_PROBES = 28
_GROUPS = 8
_MOST = 6
"""Regions that are named."""
_SHARE = 0.9
"""Share of what is lost that they stand for together, if so few do."""
_WORTH = 0.5
"""Share of the loss that has to be left out by them, or they are none to blame."""
_ELSEWHERE = (
    "scheme='auto' keeps float what this scheme cannot hold, recipe='best' fits roundings and "
    "ranges, and calibration samples like the inputs in use make better scales"
)
"""What to try where single regions kept float would not help."""
_SECONDS = 20.0
"""Time for it, in runs of float; larger networks get the hint alone."""


def blamed(workshop: Workshop, candidate: Candidate) -> str:
    """The regions to blame in a sentence, with what is kept if they stay float."""
    judge, placement = workshop.judge, candidate.program.placement
    hint = "compiled.debug(feeds) tells what every region loses"
    if judge is None or placement is None:
        return hint
    if judge.run_seconds * SLOWER * (_PROBES + 3) > _SECONDS:
        return hint
    options = (each.running(candidate.plan) for each in workshop.options)
    chosen = [each for each in options if each is not None]
    model, terms = gates_of_plan(workshop.program, chosen, placement.values)
    each_loss = workshop.judgement(candidate).compared.each
    worst = int(np.argmax(each_loss)) if each_loss else 0
    feeds = [judge.feeds[worst]]
    plain = [OrtSession(workshop.program.model).run_checked(feed) for feed in feeds]
    slices = Slicer(workshop.program)(feeds, plain)
    with Prober(model, feeds, workshop.executor, slices) as prober:

        def losses(groups: Sequence[Sequence[int]]) -> list[float]:
            return prober.losses([together(terms[each] for each in group) for group in groups])

        everything = list(range(len(terms)))
        groups = in_groups(everything, -(-len(terms) // _GROUPS))
        whole = losses([everything])[0]
        alone = split_groups(groups, losses, FLOOR * whole, _PROBES).losses
        named = _worst(alone)
        rest = losses([[each for each in everything if each not in named]])[0]
    if not rest < _WORTH * whole:
        return f"no few regions are to blame: {_ELSEWHERE}; {hint}"
    told = ", ".join(f"'{chosen[each].region.key}'" for each in named)
    overrides = {chosen[each].region.key: FLOAT for each in named}
    return (
        f"the most is lost by {told}: overrides={overrides} keeps them float, "
        f"{sqnr_db(whole):.1f} dB become {sqnr_db(rest):.1f} dB on the worst sample"
    )


def _worst(losses: dict[int, float]) -> list[int]:
    """The fewest regions that stand for most of the loss, in graph order."""
    ranked = sorted(losses, key=lambda number: -losses[number])
    total, found = sum(losses.values()), []
    for number in ranked[:_MOST]:
        found.append(number)
        if sum(losses[each] for each in found) >= _SHARE * total:
            break
    return sorted(found)
