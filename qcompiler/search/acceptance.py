"""Whether a candidate keeps what the network is for: the user's score, or its decisions."""

from __future__ import annotations

from dataclasses import dataclass

from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.scoring import Scorer
from qcompiler.search.setting import Setting


@dataclass(eq=False)
class Acceptance:
    """Asks each candidate once, measured on what is returned.

    Attributes:
        setting: What the candidates are made with.
        interrupted: Whether the user pressed Ctrl-C: nothing is refined from then on.
    """

    setting: Setting
    interrupted: bool = False
    _float_score: float | None = None

    def accepts(self, candidate: Candidate) -> bool:
        """Whether score or decisions allow the candidate."""
        if self.setting.goal.evaluate is None:
            return self._keeps_decisions(candidate)
        before = self._score_of_float()
        if candidate.score is None:
            own = self.setting.workshop.refined(candidate)
            candidate.score = self._score_of(own)
        return before - candidate.score <= self.setting.goal.allowed + 1e-12

    def scores(self, candidate: Candidate | None) -> tuple[float, float] | None:
        """The user's score of float and of the candidate, or of float again; None without one."""
        unknown = self.interrupted and self._float_score is None
        if self.setting.goal.evaluate is None or unknown:
            return None
        before = self._score_of_float()
        return before, before if candidate is None else self._score_of(candidate)

    def _keeps_decisions(self, candidate: Candidate) -> bool:
        """Whether its flips, counted, are as few as allowed; variants may bring that about."""
        workshop = self.setting.workshop
        if workshop.judge is None or candidate.is_exact:
            return True
        known = workshop.known(candidate)
        if workshop.judgement(known).good:
            return True
        hurried = self.interrupted or known is not candidate
        own = known if hurried else workshop.refined(candidate)
        return workshop.judgement(own).good

    def _score_of_float(self) -> float:
        if self._float_score is None:
            self._float_score = self._scorer().reference(self.setting.baseline)
        return self._float_score

    def _score_of(self, candidate: Candidate) -> float:
        if candidate.score is None:
            candidate.score = self._scorer().score(candidate.artifact)
        return candidate.score

    def _scorer(self) -> Scorer:
        assert self.setting.goal.evaluate is not None
        return Scorer(self.setting.goal.evaluate, self.setting.source.signature)
