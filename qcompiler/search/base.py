"""The base of a search: the float program and its ranges, with the variants that they gain by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from qcompiler.choices.cost import uniform_trials
from qcompiler.decisions.concat_loss import drowns
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.execution.stopwatch import Stopwatch
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.judge import Judge, Judgement
from qcompiler.measurement.trying import FAR, Allowance, Tried
from qcompiler.measurement.unchanged import Glimpse
from qcompiler.measurement.variants import Variant, with_base
from qcompiler.search.asked import asked_plan
from qcompiler.search.goal import Goal, Samples
from qcompiler.search.replanning import with_changes
from qcompiler.search.state import Clock


@dataclass(frozen=True, eq=False)
class Base:
    """What candidates are made of.

    Attributes:
        workshop: Builds candidates of the program with its variants; the one that variants were
            tried on is built.
        variants: What the program was made with.
        tried: What trying variants came to.
        build_seconds: What building and judging a candidate took; 0 if none was.
        asked: The plan that was asked for, where it is known to be built with this workshop.
    """

    workshop: Workshop
    variants: tuple[Variant, ...] = ()
    tried: tuple[Tried, ...] = ()
    build_seconds: float = 0.0
    asked: Plan | None = None

    @cached_property
    def glimpse(self) -> Glimpse:
        """What variants of the program are compared with."""
        return Glimpse(self.program)

    @property
    def program(self) -> Program:
        """Canonical and calibrated."""
        return self.workshop.program

    @property
    def options(self) -> Sequence[Options]:
        """Legal forms of its regions."""
        return self.workshop.options

    @property
    def log(self) -> tuple[str, ...]:
        """What was tried, a line each."""
        return tuple(each.told for each in self.tried)

    def to_refine(self, allowance: Allowance, clock: Clock) -> Allowance:
        """What variants of the placement may cost, of candidates that may be returned."""
        judge = self.workshop.judge
        return replace(
            allowance,
            left=clock.left_to_refine,
            build_seconds=self.build_seconds,
            enough=allowance.enough * (0.0 if judge is None else judge.limit),
            limit=math.inf if judge is None else judge.limit,
            program=self.program,
        )


def allowance_of(
    clock: Clock, judge: Judge | None, samples: Samples, goal: Goal, searching: bool
) -> Allowance:
    """What variants of the base may cost: the recipe's share, half of it where a search follows.

    Where decisions or noise are all that counts, a search gains nothing by less loss than a part
    of what is allowed; a plan that was asked for is made as accurate as it gets. `enough` is a
    share of the limit here, which follows from the first candidate.
    """
    scored = goal.evaluate is not None or judge is None or judge.has_functions
    return Allowance(
        clock.left_to_try(searching),
        len(samples.fitting or samples.feeds),
        0.0 if judge is None else judge.run_seconds,
        enough=FAR if searching and not scored else 0.0,
    )


@dataclass(eq=False)
class Yardstick:
    """What variants of a base are tried on: one plan, of every region or as asked.

    Attributes:
        goal: What is asked for.
        searching: Whether a search follows, which starts with every region quantized.
        seconds: What building and judging took the first time.
        changed: What variants of the plan chose otherwise than the scheme, by region.
    """

    goal: Goal
    searching: bool
    seconds: float = 0.0
    changed: Mapping[str, Choice] = field(default_factory=dict)

    def plan(self, workshop: Workshop) -> Plan | None:
        """The plan; None where a search finds no region to quantize."""
        if not self.searching:
            return with_changes(workshop, asked_plan(workshop, self.goal), self.changed)
        trials = uniform_trials(workshop.options)
        return workshop.plan(_undrowned(workshop, trials[0])) if trials else None

    def built(self, workshop: Workshop) -> Candidate | None:
        """It, built and judged; None where there is none or it fails."""
        watch = Stopwatch()
        try:
            plan = self.plan(workshop)
            if plan is None or workshop.judge is None:
                return None
            found = workshop.build(plan)
            workshop.settle(found)
        except Exception:  # noqa: BLE001 - whoever builds it for good says why it fails
            return None
        self.seconds = watch()
        return found

    def judged(self, workshop: Workshop) -> Judgement:
        """What it loses in another base."""
        plan = self.plan(workshop)
        assert plan is not None
        return judged_plan(workshop, plan)


def judged_plan(workshop: Workshop, plan: Plan) -> Judgement:
    """What a plan loses; its artifact is let go."""
    candidate = workshop.build(plan)
    judged = workshop.judgement(candidate)
    candidate.artifact.release()
    return judged


def _undrowned(workshop: Workshop, precisions: Mapping[str, str]) -> dict[str, str]:
    """Without the Concats that lose an operand: beside that, nothing else is seen."""
    lost = drowns(workshop.program.observations, workshop.options, precisions)
    return {key: each for key, each in precisions.items() if key not in lost}


def kept_feeds(samples: Samples) -> list[Feed]:
    """All that was kept from calibration, each feed once."""
    return list({id(each): each for each in (*samples.fitting, *samples.feeds)}.values())


def extended(base: Base, variant: Variant, samples: Samples, goal: Goal) -> Base | None:
    """The base with one more variant of the float program or of ranges; None if it changes nothing.

    Raises:
        QCompilerError: See `with_base`.
    """
    target, feeds = base.workshop.target, kept_feeds(samples)
    changed = with_base(
        base.program,
        target,
        variant,
        feeds,
        goal.variants,
        samples.fitting,
        goal.overrides,
        base.glimpse,
    )
    if changed is base.program:
        return None
    forms = region_options(changed, target, target.regions(changed), goal.overrides)
    made = Workshop(changed, target, forms, base.workshop.judge)
    return replace(base, workshop=made, variants=(*base.variants, variant), asked=None)


def named(base: Base, variant: Variant) -> Base:
    """The base where a variant changes nothing, under its name: a plan is told as it was given."""
    return replace(base, variants=(*base.variants, variant))
