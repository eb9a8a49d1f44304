"""`OutputKind`: what an output is for, with the reason for thinking so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Purpose(Enum):
    """What is done with an output. The value is said in reports."""

    CLASSES = "one class is chosen"
    YES_NO = "each score is compared with a threshold"
    EMBEDDING = "directions are compared"
    LABELS = "labels"
    STATE = "recurrent state"
    VALUES = "values"


class Scale(Enum):
    """What the numbers of scores are."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"


@dataclass(frozen=True)
class OutputKind:
    """What one output is for.

    Attributes:
        purpose: What is done with it.
        reason: Why that is thought, in words for the report.
        scale: What its scores are; for `CLASSES` and `YES_NO`.
        axis: The axis that classes or components of an embedding lie on, counted from the end.
    """

    purpose: Purpose
    reason: str
    scale: Scale = Scale.LOGITS
    axis: int = -1

    @property
    def decides(self) -> bool:
        """Whether decisions are read off this output."""
        return self.purpose in (Purpose.CLASSES, Purpose.YES_NO)
