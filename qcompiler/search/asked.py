"""What a user asked for by name: one precision wherever it is legal, or a plan as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qcompiler.decisions.denials import broken_weights
from qcompiler.decisions.planning import planned, require_meant
from qcompiler.errors import LegalityError, LossError, LoweringError, QCompilerError
from qcompiler.ir.origin import describe
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.measurement.candidates import Candidate, Workshop, failure
from qcompiler.measurement.judge import Judgement
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.variants import Variant
from qcompiler.outputs.asked import FUNCTION
from qcompiler.outputs.tolerance import Tolerance
from qcompiler.search.blame import blamed
from qcompiler.search.goal import Goal


def asked_plan(workshop: Workshop, goal: Goal) -> Plan:
    """The plan of the goal, checked against the model, or its scheme for every region.

    Raises:
        ConfigurationError: The plan does not fit the model or the target.
        LegalityError: No region has the scheme's form.
    """
    if goal.plan is None and not goal.scheme.is_auto and goal.scheme.precision != FLOAT:
        _require_numbers(workshop)
    target = workshop.target
    name = target.preferred if goal.scheme.is_auto else goal.scheme.precision
    plan = planned(workshop.options, target, name, goal.plan, workshop.program.observations)
    if goal.plan is None and not goal.scheme.is_auto:
        require_meant(workshop.options, target, goal.scheme, plan)
    return plan


def built(workshop: Workshop, plan: Plan, variants: Sequence[Variant] = ()) -> Candidate:
    """The candidate of a plan that was asked for, its loss measured.

    Raises:
        QCompilerError: It cannot be built or does not run; names the region that it fails by.
    """
    try:
        return _run(workshop, plan, variants)
    except Exception as error:  # whatever an engine raises, the user is told by us
        if isinstance(error, QCompilerError) and error.where is not None:
            raise
        found = _culprit(workshop, plan)
        if isinstance(error, QCompilerError):
            error.where = found
            raise
        raise LoweringError(
            f"what was asked for does not run on {workshop.target.name}",
            where=found,
            why=failure(error),
            fix="keep the region float by an override, or take scheme='auto', and report the model",
        ) from error


def over_bound(workshop: Workshop, candidate: Candidate, goal: Goal) -> list[str]:
    """What a candidate that was asked for loses beyond the bound, in sentences.

    Raises:
        LossError: It loses more than a `max_loss` that was given.
    """
    judge = workshop.judge
    if goal.evaluate is not None or candidate.is_exact:
        return []
    if judge is None or candidate.loss is None:
        if goal.max_loss is None and goal.loss is None:
            return []
        return ["max_loss was not checked: there are no samples to measure the loss on"]
    over = list(lost_outputs(judge.tolerances, workshop.judgement(candidate)))
    if not over:
        return []
    told = f"this plan loses more than is allowed: {', '.join(over)}"
    told += "".join(f"; {each}" for each in _mixed(candidate, judge.limit))
    if goal.max_loss is None:
        found = [f"{told}; scheme='auto' keeps the bound"]
        broken = workshop.judgement(candidate).broken
        return [*found, blamed(workshop, candidate)] if broken else found
    raise LossError(
        "what was asked for loses more than max_loss allows",
        why=told,
        fix="take scheme='auto', which keeps the bound, or leave max_loss out to get this plan",
    )


def lost_outputs(tolerances: Sequence[Tolerance], judgement: Judgement) -> Iterator[str]:
    """What is lost beyond its bound, an output each."""
    known = zip(tolerances, judgement.losses, judgement.verdicts, strict=True)
    for tolerance, loss, verdict in known:
        name = f"'{tolerance.output}'"
        if tolerance.loss == FUNCTION and verdict is not None:
            if not verdict.good:
                assert tolerance.asked is not None
                yield f"{name} loses {verdict.cost:.4g}, {tolerance.asked.allowed:g} allowed"
        elif verdict is not None and tolerance.decides:
            if not verdict.good:
                flips = f"{verdict.flipped} of {verdict.decisions} decisions flip"
                yield f"{name}: {flips}, at {sqnr_db(loss):.1f} dB"
        elif loss > tolerance.bound:
            yield f"{name} keeps {sqnr_db(loss):.1f} dB of {sqnr_db(tolerance.bound):.1f} dB"


def over_score(scores: tuple[float, float], goal: Goal) -> list[str]:
    """The same of a user's score of (float, candidate).

    Raises:
        LossError: It loses more than a `max_loss` that was given.
    """
    plain, own = scores
    if plain - own <= goal.allowed + 1e-12:
        return []
    told = f"the score falls from {plain:.4g} to {own:.4g}, by more than {goal.allowed:g}"
    if goal.max_loss is None:
        return [f"this plan loses too much: {told}; scheme='auto' keeps the bound"]
    raise LossError(
        f"what was asked for loses more than max_loss={goal.max_loss:g} allows",
        why=told,
        fix="take scheme='auto', which keeps the bound, or leave max_loss out to get this plan",
    )


def _mixed(candidate: Candidate, bound: float) -> list[str]:
    """Concats whose operands differ so much in size that one scale drowns the smallest."""
    placement = candidate.program.placement
    predicted = {} if placement is None else placement.concat_losses
    keys = [key for key, loss in predicted.items() if loss.least > bound]
    return [
        f"the Concat '{key}' joins operands of very different size in one scale" for key in keys
    ]


def _require_numbers(workshop: Workshop) -> None:
    """Weights of NaN or infinity spoil what is computed behind them, in whatever precision.

    Raises:
        LegalityError: There are some in a region that no override keeps float.
    """
    open_ = [each for each in workshop.options if each.pinned != FLOAT]
    found = broken_weights(open_)
    if found:
        raise LegalityError(
            "the model cannot be quantized as asked: it has weights that are no numbers",
            found,
            where=found[0].message,
            fix="repair the checkpoint, keep the regions float by overrides, or take scheme='auto'",
        )


def _run(workshop: Workshop, plan: Plan, variants: Sequence[Variant] = ()) -> Candidate:
    candidate = workshop.build(plan, variants)
    if workshop.judge is not None and candidate.loss is None:
        workshop.judgement(candidate)
    return candidate


def _culprit(workshop: Workshop, plan: Plan) -> str | None:
    """The region by which a plan begins to fail, found by halving; None if float fails too."""
    quantized = [
        each.region for each in workshop.options if plan.precision(each.region.key) != FLOAT
    ]
    low, high = 0, len(quantized)
    while low < high:
        middle = (low + high) // 2
        keys = {region.key: plan.precision(region.key) for region in quantized[:middle]}
        if _works(workshop, workshop.plan(keys)):
            low = middle + 1
        else:
            high = middle
    return describe(quantized[low - 1].anchor) if 0 < low <= len(quantized) else None


def _works(workshop: Workshop, plan: Plan) -> bool:
    try:
        _run(workshop, plan)
    except Exception:  # noqa: BLE001 - the question is only whether it fails
        return False
    return True
