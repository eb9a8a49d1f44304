"""`Plan`: the precision of every region, and why. Reviewable, diffable, re-applicable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qcompiler.errors import ConfigurationError

FLOAT = "float32"


@dataclass(frozen=True)
class Choice:
    """What one region runs as.

    Attributes:
        precision: `float32` or the name of one of the target's implementations.
        reason: Why, in words for the user.
        alternatives: Estimated seconds of the other legal precisions.
        loss: Estimated loss of this choice alone, if it was measured.
        seconds: Estimated seconds of this choice.
    """

    precision: str
    reason: str = ""
    seconds: float | None = None
    loss: float | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Choices by region key (the name of the region's anchor node)."""

    target: str
    choices: Mapping[str, Choice]

    def precision(self, key: str) -> str:
        """The precision of a region; `float32` for one the plan does not name."""
        choice = self.choices.get(key)
        return choice.precision if choice else FLOAT

    @property
    def precisions(self) -> dict[str, str]:
        """Precision by region key, without the reasons."""
        return {key: choice.precision for key, choice in self.choices.items()}

    def to_json(self) -> str:
        """Sorted, indented JSON, stable under diff."""
        body = {key: asdict(self.choices[key]) for key in sorted(self.choices)}
        return json.dumps({"target": self.target, "choices": body}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote.

        Raises:
            ConfigurationError: Not a plan.
        """
        try:
            data = json.loads(text)
            choices = {key: Choice(**fields) for key, fields in data["choices"].items()}
            return cls(str(data["target"]), choices)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError("this is not a plan", why=str(error)) from error

    @classmethod
    def read(cls, path: Path | str) -> Plan:
        """Reads a plan file.

        Raises:
            ConfigurationError: Not a plan, or not readable.
        """
        try:
            return cls.from_json(Path(path).read_text())
        except OSError as error:
            raise ConfigurationError(f"cannot read the plan {path}", why=str(error)) from error
