"""A fixed scheme whose result is of no use: the few regions that ruin it stay float, and are named.

Behind all other variants, since those may be enough; with the ones of the placement that were kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.judge import Judgement
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.trying import keep_if_better
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import Stage
from qcompiler.search.goal import Goal, Samples
from qcompiler.search.replanning import changes, replanned

_NAMED = 6
"""Regions that a sentence names; the plan names all."""


def rescued(
    workshop: Workshop, candidate: Candidate, goal: Goal, samples: Samples
) -> tuple[Candidate, list[str]]:
    """The candidate with what the last variants give back to float, if it is of no use without.

    Args:
        workshop: That built it.
        candidate: What was asked for, with the variants that help.
        goal: What is asked for; a plan of the user's stays as it is.
        samples: What may be fitted to.

    Returns:
        The candidate, and what the user has to hear of it.
    """
    last = [each for each in goal.variants if each.stage is Stage.LAST]
    judge = workshop.judge
    if not last or goal.plan is not None or judge is None or not candidate.quantized:
        return candidate, []
    known = workshop.judgement(candidate)
    if not known.broken:
        return candidate, []

    def attempt(start: Candidate, variant: Variant) -> tuple[Candidate, Judgement] | None:
        fitting = samples.fitting or samples.feeds
        plan = replanned(workshop, start.plan, variant, goal, fitting)
        if plan is None:
            return None
        made = workshop.build(plan, start.variants)
        judged = workshop.judgement(made)
        made.artifact.release()
        return made, judged

    best, tried = keep_if_better(candidate, known, last, attempt, workshop.allowance)
    told = [] if best is candidate else [_told(candidate, best)]
    best.tried = (*candidate.tried, *tried)
    return best, told


def _told(asked: Candidate, made: Candidate) -> str:
    """Which regions stay float, what that gains, and how to have them in integers all the same."""
    spared = _spared(asked.plan, made.plan)
    named = ", ".join(f"'{key}'" for key in spared[:_NAMED])
    more = f" and {len(spared) - _NAMED} more" if len(spared) > _NAMED else ""
    forced = {key: asked.plan.precision(key) for key in spared[:_NAMED]}
    before, after = sqnr_db(asked.noise or 0.0), sqnr_db(made.noise or 0.0)
    return (
        f"{named}{more} stays float: with it in integers the outputs keep {before:.1f} dB instead "
        f"of {after:.1f} dB; overrides={forced} puts it in integers all the same"
    )


def _spared(asked: Plan, made: Plan) -> Sequence[str]:
    return [key for key, each in changes(asked, made).items() if each.precision == FLOAT]
