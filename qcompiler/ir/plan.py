"""`Plan`: the precision of every region, and why. Reviewable, diffable, re-applicable."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qcompiler.errors import ConfigurationError
from qcompiler.files.reading import Door, as_path, cause
from qcompiler.markup import block

FLOAT = "float32"
UNPLANNED = "not in the plan"
"""Reason of a region that a plan does not name."""


@dataclass(frozen=True)
class Choice:
    """What one region runs as.

    Attributes:
        precision: `float32` or the name of one of the target's implementations.
        reason: Why, in words for the user.
        alternatives: Estimated seconds of the other legal precisions.
        loss: Estimated loss of this choice alone, if it was measured.
        seconds: Estimated seconds of this choice.
        module: Path of the module that the region is in; None where there is none.
        ops: Of the region, the anchor's first, as `Conv+Relu`; empty if it is not known.
    """

    precision: str
    reason: str = ""
    seconds: float | None = None
    loss: float | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)
    module: str | None = None
    ops: str = ""


def digest_of(text: str) -> str:
    """SHA-256 of a bare plan's JSON, in hex: of the text, which another version may write."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """Choices by region key (the name of the region's anchor node), in the order of the graph.

    Applied to a model, entries are matched by module path and op (`plan_places`).

    Attributes:
        target: Name of the target that the choices are of.
        choices: Precision of every region, and why.
        rewritten: Whether the float rewrites are kept; False is the source as it came, which only
            a plan without quantized regions can be.
        variants: Accuracy passes that it goes with, in order; None lets the recipe's be tried.
    """

    target: str
    choices: Mapping[str, Choice]
    rewritten: bool = True
    variants: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for choice in self.choices.values():
            counts[choice.precision] = counts.get(choice.precision, 0) + 1
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"<Plan for {self.target}: {shown or 'no regions'}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: how many regions have each precision, and the first few."""
        rows = [(key, each.precision, each.reason) for key, each in self.choices.items()]
        counts = repr(self)[1:-1]
        return block(counts, [], [(("region", "precision", "reason"), rows)], note="plan.to_json()")

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

    @property
    def bare(self) -> Plan:
        """The precisions alone, as artifacts keep them: nothing that was measured."""
        bare = {
            key: Choice(each.precision, module=each.module, ops=each.ops)
            for key, each in self.choices.items()
        }
        return Plan(self.target, bare)

    @property
    def digest(self) -> str:
        """Identifies the precisions, whatever was measured: SHA-256 of `bare` as JSON, in hex."""
        return digest_of(self.bare.to_json())

    def to_json(self) -> str:
        """Indented JSON in the order of the graph: what a diff shows is what changed."""
        body = {key: _written(choice) for key, choice in self.choices.items()}
        head = {
            "target": self.target,
            "rewritten": self.rewritten,
            "variants": None if self.variants is None else list(self.variants),
        }
        return json.dumps({**head, "choices": body}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads what `to_json` wrote.

        Raises:
            ConfigurationError: Not a plan, or a field of another type.
        """
        try:
            return _parsed(text)
        except Exception as error:  # whatever json and a wrong structure lead to
            raise ConfigurationError(
                "this is not a plan", why=cause(error), fix="give the text that Plan.to_json wrote"
            ) from error

    @classmethod
    def read(cls, path: Path | str) -> Plan:
        """Reads a plan file.

        Raises:
            ConfigurationError: Not a plan, or not readable.
        """
        text = _PLAN.text(as_path(path, "the plan"))
        with _PLAN.reading(path):
            return _parsed(text)


_PLAN = Door("the plan", ConfigurationError, fix="write one with Plan.to_json")
_NUMBER = (int, float, type(None))
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "precision": (str,),
    "reason": (str,),
    "seconds": _NUMBER,
    "loss": _NUMBER,
    "alternatives": (dict,),
    "module": (str, type(None)),
    "ops": (str,),
}
"""What JSON gives for each field of a choice."""


def _written(choice: Choice) -> dict[str, Any]:
    """Where it is comes first."""
    fields = asdict(choice)
    return {name: fields.pop(name) for name in ("module", "ops")} | fields


def _parsed(text: str) -> Plan:
    """Raises `ValueError` or `KeyError` that says where; others for deep nesting and the like."""
    data = json.loads(text, object_pairs_hook=_without_repetition)
    _require(data, "the plan", (dict,))
    _require(data["target"], "'target'", (str,))
    _require(data["choices"], "'choices'", (dict,))
    _require(data.get("rewritten", True), "'rewritten'", (bool,))
    variants = data.get("variants")
    _require(variants, "'variants'", (list, type(None)))
    for each in variants or ():
        _require(each, "a variant", (str,))
    choices = {key: _choice(key, fields) for key, fields in data["choices"].items()}
    taken = None if variants is None else tuple(variants)
    return Plan(data["target"], choices, data.get("rewritten", True), taken)


def _choice(key: str, fields: object) -> Choice:
    place = f"the choice of '{key}'"
    _require(fields, place, (dict,))
    assert isinstance(fields, dict)
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise ValueError(f"{place} has an unknown field '{unknown[0]}'")
    if "precision" not in fields:
        raise ValueError(f"{place} has no precision")
    for name, value in fields.items():
        _require(value, f"'{name}' of {place}", _FIELDS[name])
    for name, seconds in fields.get("alternatives", {}).items():
        _require(seconds, f"the time of '{name}' in {place}", (int, float))
    return Choice(**fields)


def _require(value: object, place: str, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_JSON_NAMES[kind] for kind in kinds if kind is not int)
        raise ValueError(f"{place} is {_JSON_NAMES[type(value)]}, not {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}")


_JSON_NAMES: Mapping[type, str] = {
    str: "a text", int: "a number", float: "a number", bool: "true or false",
    dict: "an object", list: "a list", type(None): "null",
}  # fmt: skip


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is given twice")
    return found


def plan_of(given: Plan | Path | str | None) -> Plan | None:
    """The plan, read if a path is given.

    Raises:
        ConfigurationError: It is something else, or the file is no plan.
    """
    if isinstance(given, str | Path):
        return Plan.read(given)
    if given is not None and not isinstance(given, Plan):
        raise ConfigurationError(
            f"plan must be a Plan or the path of one, it is {given!r}",
            fix="give compiled.plan, or the file that it was written to",
        )
    return given
