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
    """Choices by region key (the name of the region's anchor node).

    Attributes:
        target: Name of the target that the choices are of.
        choices: Precision of every region, and why.
        rewritten: Whether the float rewrites are kept; False is the source as it came, which only
            a plan without quantized regions can be.
        corrected: Whether biases are corrected; None decides by the loss.
    """

    target: str
    choices: Mapping[str, Choice]
    rewritten: bool = True
    corrected: bool | None = None

    def precision(self, key: str) -> str:
        """The precision of a region; `float32` for one the plan does not name."""
        choice = self.choices.get(key)
        return choice.precision if choice else FLOAT

    @property
    def is_source(self) -> bool:
        """Whether this is the source itself, neither rewritten nor quantized."""
        return not self.rewritten and set(self.precisions.values()) <= {FLOAT}

    @property
    def precisions(self) -> dict[str, str]:
        """Precision by region key, without the reasons."""
        return {key: choice.precision for key, choice in self.choices.items()}

    def to_json(self) -> str:
        """Sorted, indented JSON, stable under diff."""
        body = {key: asdict(self.choices[key]) for key in sorted(self.choices)}
        head = {
            "target": self.target,
            "rewritten": self.rewritten,
            "corrected": self.corrected,
        }
        return json.dumps({**head, "choices": body}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote.

        Raises:
            ConfigurationError: Not a plan.
        """
        try:
            data = json.loads(text)
            choices = {key: Choice(**fields) for key, fields in data["choices"].items()}
            corrected = data.get("corrected")
            return cls(
                str(data["target"]),
                choices,
                bool(data.get("rewritten", True)),
                None if corrected is None else bool(corrected),
            )
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
