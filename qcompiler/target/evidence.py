"""What can be known on this machine of how an artifact behaves: measured, modelled, or nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """Where times and losses of a target's artifacts come from.

    Attributes:
        timed: The engine itself runs here, so times are measured.
        judged: Artifacts run here, on the engine or on a stand-in that computes what the graph
            says (`Artifact.stand_in`), so losses are measured.
        model: The model that `profile` and `conversion_cost` are computed by, in words; None where
            they are measured, or unknown. `auto` then minimises modelled time.
    """

    timed: bool = True
    judged: bool = True
    model: str | None = None

    @property
    def priced(self) -> bool:
        """Whether there are times to choose by."""
        return self.timed or self.model is not None

    @property
    def by_model(self) -> str:
        """Said behind a figure of time: nothing where it is measured."""
        return "" if self.timed or self.model is None else f" by {self.model}"


MEASURED = Evidence()
NOTHING = Evidence(timed=False, judged=False)
"""Of targets that only write files."""


def stand_in(model: str | None = None) -> Evidence:
    """Losses of a stand-in, times of a model if there is one."""
    return Evidence(timed=False, judged=True, model=model)
