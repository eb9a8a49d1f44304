"""What a selection returns, with its summary, plan and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qcompiler.decisions.denials import broken_weights
from qcompiler.execution.timing import Latency
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.loss import sqnr_db
from qcompiler.search.acceptance import Acceptance
from qcompiler.search.as_it_came import plan_of_source, planned_source, unmet_overrides
from qcompiler.search.goal import Selection
from qcompiler.search.setting import Setting


@dataclass(frozen=True, eq=False)
class Outcome:
    """The candidate that was chosen, and beside what.

    Attributes:
        candidate: What is returned; None returns the source in float.
        chosen: Its name among the contenders.
        latencies: Times by contender, `float` among them; empty where nothing is timed.
        frontier: Candidates that none beats in both time and loss.
        log: What the search did, line by line.
    """

    candidate: Candidate | None
    chosen: str
    latencies: Mapping[str, Latency]
    frontier: tuple[Candidate, ...] = ()
    log: tuple[str, ...] = ()

    def selection(self, setting: Setting, acceptance: Acceptance, summary: str) -> Selection:
        """All that the compilation has to know of it."""
        candidate, workshop, base = self.candidate, setting.workshop, setting.base
        options = tuple(workshop.options)
        plan = plan_of_source(workshop.target.name, options)
        unmet = unmet_overrides(options) if candidate is None else []
        if candidate is not None:
            texts = tuple(each.text for each in (*base.variants, *candidate.variants))
            plan = replace(candidate.plan, rewritten=True, variants=texts)
        return Selection(
            artifact=candidate.artifact if candidate else setting.baseline,
            program=candidate.program if candidate else planned_source(setting.source, plan),
            base=workshop.program,
            plan=plan,
            summary=summary,
            baseline=setting.baseline,
            latencies=self.latencies,
            chosen=self.chosen if candidate else "float",
            frontier=self.frontier,
            loss=candidate.loss if candidate else 0.0,
            score=acceptance.scores(candidate),
            log=self.log,
            options=options,
            diagnostics=(*unmet, *broken_weights(options)),
            candidate=candidate,
            tried=(*base.tried, *(candidate.tried if candidate else ())),
            interrupted=acceptance.interrupted,
            tolerances=() if workshop.judge is None else workshop.judge.margins,
        )

    def summary(self, setting: Setting, became: str) -> str:
        """One line of a search.

        Args:
            setting: What was searched with.
            became: What became of the candidates, told where none of them is returned.
        """
        model, candidate = setting.workshop.target.evidence.model, self.candidate
        if candidate is None:
            how = "measured" if model is None else f"that {model} knows of"
            return f"float is returned: nothing {how} was better within the loss allowed; {became}"
        timed = self.latencies[self.chosen]
        source = model or ("" if timed.rounds else "its profile")
        speed = timed.speed + (f" by {source}" if source else "")
        if candidate.is_exact:
            return f"float is returned, rewritten: {speed}; no quantized form was better"
        regions = f"{candidate.quantized} of {len(setting.workshop.options)} regions quantized"
        if candidate.coarse:
            types = (each.name.lower() for each in setting.workshop.target.floats)
            regions += f", the rest in {' or '.join(types)}"
        return f"{regions}: {speed}, SQNR {sqnr_db(candidate.noise or 0.0):.1f} dB"
