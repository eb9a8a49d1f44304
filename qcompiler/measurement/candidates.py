"""Building and measuring candidates: plan → placed program → artifact → loss and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property

from qcompiler.decisions.fingerprint import fingerprint
from qcompiler.decisions.options import Options
from qcompiler.errors import QCompilerError, first_line
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.evaluation import plan_losses, unshippable
from qcompiler.measurement.judge import Judge, Judgement
from qcompiler.measurement.pace import Pace
from qcompiler.measurement.placing import decide, improve, write
from qcompiler.measurement.trying import Allowance, Tried, keep_if_better
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.target.artifact import Artifact, CostSample
from qcompiler.target.contract import Target

_Key = tuple[tuple[tuple[str, str], ...], tuple[Variant, ...]]


def _key(plan: Plan, variants: Sequence[Variant] = ()) -> _Key:
    return tuple(sorted(plan.precisions.items())), tuple(variants)


@dataclass(eq=False)
class Candidate:
    """One configuration, built and measured on the engine.

    Attributes:
        plan: Precision of every region.
        program: The placed program.
        artifact: What the engine runs.
        report: What the accuracy passes and the placement passes did.
        improved: What the accuracy passes did.
        loss: Loss against float on the judge's samples; None until measured.
        judgement: The same by output, with decisions that flip; None until measured here.
        seconds: Time of one run, from a profile or a timing; None until measured.
        score: The user's `evaluate`, if there is one.
        sample: Where the time goes.
        predicted: Loss expected of it before it was built; None without sensitivities.
        variants: What it was built with, besides the plan.
        tried: What trying variants on it came to.
        coarse: Whether what is not quantized is computed in a coarser type than the source's.
    """

    plan: Plan
    program: Program
    artifact: Artifact
    report: PipelineReport
    improved: PipelineReport = field(default_factory=PipelineReport)
    loss: float | None = None
    judgement: Judgement | None = None
    seconds: float | None = None
    score: float | None = None
    sample: CostSample | None = None
    predicted: float | None = None
    variants: tuple[Variant, ...] = ()
    tried: tuple[Tried, ...] = ()
    coarse: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether it computes what float does, but for the rounding of float."""
        return not (self.quantized or self.coarse)

    @property
    def quantized(self) -> int:
        """How many regions are not float."""
        return sum(choice.precision != FLOAT for choice in self.plan.choices.values())

    @cached_property
    def content(self) -> str:
        """Equal for candidates of one plan that run the same."""
        assert self.program.placement is not None
        return fingerprint(self.program.placement)

    @property
    def noise(self) -> float | None:
        """Noise-to-signal ratio of the worst output, whatever its bound; None until measured."""
        if self.judgement is None:
            return self.loss
        return max(self.judgement.losses, default=self.judgement.loss)


@dataclass(eq=False)
class Workshop:
    """Builds candidates of one calibrated program for one target, and remembers them.

    Attributes:
        program: Canonical and calibrated; never changed.
        target: Where candidates run.
        options: Legal forms by region.
        judge: Samples with float outputs; None where candidates are not run.
        variants: Accuracy passes of the placement that `refined` tries.
        fitting: Samples that variants are fitted to; the judge's own if there are no others.
        executor: Workers that measure losses of several plans at once; None measures here.
        pace: The machine's speed, which profiles are scaled by.
        allowance: What trying variants on a candidate may cost.
    """

    program: Program
    target: Target
    options: Sequence[Options]
    judge: Judge | None = None
    variants: Sequence[Variant] = ()
    fitting: Sequence[Feed] = ()
    executor: Executor | None = None
    pace: Pace | None = None
    allowance: Allowance = field(default_factory=Allowance)
    _built: dict[_Key, Candidate] = field(default_factory=dict)
    _foreseen: dict[_Key, float] = field(default_factory=dict)
    _refused: dict[_Key, str] = field(default_factory=dict)
    _refined: dict[_Key, Candidate] = field(default_factory=dict)

    def plan(self, precisions: Mapping[str, str], reason: str = "") -> Plan:
        """A plan for all regions; those not named are float (or pinned)."""
        choices = {}
        for each in self.options:
            key = each.region.key
            wanted = each.pinned or precisions.get(key, FLOAT)
            choices[key] = each.chosen(wanted, "override" if each.pinned else reason)
        return Plan(self.target.name, choices)

    def build(
        self, plan: Plan, variants: Sequence[Variant] = (), start: Candidate | None = None
    ) -> Candidate:
        """Places and lowers a plan; one seen before with these variants comes from memory.

        What comes to the same integers, scales and biases as another candidate of the plan shares
        its artifact, and with that all that was measured of it.

        Args:
            plan: Precision of every region.
            variants: Accuracy passes of the placement, in order.
            start: The plan's candidate with all of them but the last; nothing of it is done again.

        Raises:
            QCompilerError: A pass fails, or the engine refuses the artifact.
        """
        key = _key(plan, variants)
        if key not in self._built:
            self._built[key] = self._made(plan, tuple(variants), start)
        return self._built[key]

    def _made(
        self, plan: Plan, variants: tuple[Variant, ...], start: Candidate | None
    ) -> Candidate:
        known = None if start is None else start.program.placement
        missing = variants if start is None else variants[len(start.variants) :]
        decided = decide(self.program, self.options, plan, known)
        decided, told = improve(decided, self.target, missing, self.samples)
        told = told if start is None else start.improved.then(told)
        twin = self._twin(plan, decided) if variants else None
        if twin is not None:
            report = told.then(twin.report)
            return replace(twin, report=report, improved=told, variants=variants, tried=())
        program, report = write(decided, self.target)
        artifact = self.target.lower(program)
        coarse = self.target.yardstick != self.target
        reports = (told.then(report), told)
        return Candidate(plan, program, artifact, *reports, variants=variants, coarse=coarse)

    def _twin(self, plan: Plan, decided: Program) -> Candidate | None:
        """A candidate of the plan that what was decided is the same as, whoever decided it."""
        assert decided.placement is not None
        precisions, content = _key(plan)[0], fingerprint(decided.placement)
        known = (each for (those, _), each in self._built.items() if those == precisions)
        return next((each for each in known if each.content == content), None)

    @property
    def samples(self) -> Sequence[Feed]:
        """What variants are fitted to."""
        return self.fitting or (self.judge.feeds if self.judge is not None else ())

    def foresee(self, plans: Sequence[Plan], seconds: float = math.inf) -> str | None:
        """Measures the losses of several plans on the executor, for `measured` to take.

        Args:
            plans: What is known to be built; a single plan is left to `measured`.
            seconds: How long to wait; what is not done by then is left to `measured`.

        Returns:
            Why they have to be measured here, if there are workers and the target keeps off them.
        """
        if self.executor is None or self.judge is None or len(plans) < 2:
            return None
        reason = unshippable(self.target)
        if reason is not None:
            return f"losses of candidates are measured here: {reason}"
        new = {_key(plan): plan for plan in plans if _key(plan) not in self._foreseen}
        wait = None if math.isinf(seconds) else seconds
        found = plan_losses(
            self.program, self.target, self.judge, list(new.values()), self.executor, wait
        )
        losses = zip(new, found, strict=True)
        self._foreseen |= {key: loss for key, loss in losses if loss is not None}
        return None

    def measured(self, plan: Plan, feeds: Sequence[Feed] = ()) -> Candidate | None:
        """Builds a plan and measures its loss, and its time over `feeds`; None if that fails.

        Whatever a pass or an engine raises on the way, this plan is none; `refusal` tells why.
        """
        try:
            return self._measured(plan, feeds)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is logged
            self._refused[_key(plan)] = failure(error)
            self._built.pop(_key(plan), None)
            return None

    def refusal(self, plan: Plan) -> str:
        """Why `measured` gave None for this plan; empty if it did not."""
        return self._refused.get(_key(plan), "")

    def _measured(self, plan: Plan, feeds: Sequence[Feed]) -> Candidate:
        candidate = self.build(plan)
        if self.judge is not None and candidate.loss is None:
            candidate.loss = self._foreseen.get(_key(plan))
            if candidate.loss is None:
                self.judgement(candidate)
        if feeds and candidate.sample is None:
            candidate.sample = self.profiled(candidate.artifact, feeds)
            if candidate.sample is not None:
                candidate.seconds = candidate.sample.total
        candidate.artifact.release()  # a search holds many candidates, and runs few of them again
        return candidate

    def judgement(self, candidate: Candidate) -> Judgement:
        """What a candidate loses by output, measured once; its loss is set with it."""
        assert self.judge is not None
        if candidate.judgement is None:
            candidate.judgement = self.judge.judged(candidate.artifact.run)
            candidate.loss = candidate.judgement.loss
        return candidate.judgement

    def settle(self, candidate: Candidate) -> None:
        """Takes the bounds of the judge from the noise of a candidate, and judges that."""
        assert self.judge is not None
        self.judge, candidate.judgement = self.judge.settled(candidate.artifact.run)
        candidate.loss = candidate.judgement.loss

    def profiled(self, artifact: Artifact, feeds: Sequence[Feed]) -> CostSample | None:
        """Where the artifact's time goes, at the pace of the first profile; None if unknown."""
        factor = self.pace.factor() if self.pace else 1.0
        sample = artifact.profile(feeds)
        return sample.scaled(factor) if sample else None

    def refined(self, candidate: Candidate) -> Candidate:
        """The candidate with those variants that lower its loss; tried once.

        Variants of the placement change no kernel, so its times are the candidate's.
        """
        key = _key(candidate.plan, candidate.variants)
        if key not in self._refined:
            found = self._improved(candidate)
            self._refined[key] = self._refined[_key(found.plan, found.variants)] = found
        return self._refined[key]

    def known(self, candidate: Candidate) -> Candidate:
        """The refined candidate, if that was tried; else the candidate itself."""
        return self._refined.get(_key(candidate.plan, candidate.variants), candidate)

    def _improved(self, candidate: Candidate) -> Candidate:
        if self.judge is None or not candidate.loss or not candidate.quantized:
            return candidate
        known = self.judgement(candidate)
        best, tried = keep_if_better(candidate, known, self.variants, self._attempt, self.allowance)
        best.tried = tuple(tried)
        return best

    def _attempt(
        self, candidate: Candidate, variant: Variant
    ) -> tuple[Candidate, Judgement] | None:
        found = self.build(candidate.plan, (*candidate.variants, variant), candidate)
        if found.artifact is candidate.artifact:
            return None
        judged = self.judgement(found)
        found.seconds, found.sample = candidate.seconds, candidate.sample
        found.predicted = candidate.predicted
        found.artifact.release()
        return found, judged


def failure(error: Exception) -> str:
    """What went wrong, in one line: what and why of an error of ours, else its type and text."""
    if isinstance(error, QCompilerError):
        parts = [error.what, error.why or ""]
    else:
        parts = [type(error).__name__, str(error)]
    return ": ".join(first_line(part) for part in parts if part.strip())
