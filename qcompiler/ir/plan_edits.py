"""Plans beside each other, and plans with other precisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.plan import Choice, Plan


@dataclass(frozen=True)
class PlanDifference:
    """In what two plans differ.

    Attributes:
        changed: Precision in the first and in the second, by region that both name.
        only_first: Precision by region that only the first names.
        only_second: Likewise of the second.
        heads: What else differs, as `target: onnxruntime, openvino`.
    """

    changed: Mapping[str, tuple[str, str]]
    only_first: Mapping[str, str]
    only_second: Mapping[str, str]
    heads: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.changed or self.only_first or self.only_second or self.heads)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "changed": dict(self.changed),
            "only_first": dict(self.only_first),
            "only_second": dict(self.only_second),
            "heads": list(self.heads),
        }

    def text(self) -> str:
        """A line for each difference; `no difference` without any."""
        lines = [*self.heads]
        lines += [f"  {key}: {one} -> {other}" for key, (one, other) in self.changed.items()]
        lines += [f"- {key}: {precision}" for key, precision in self.only_first.items()]
        lines += [f"+ {key}: {precision}" for key, precision in self.only_second.items()]
        return "\n".join(lines) or "no difference"


def difference(first: Plan, second: Plan) -> PlanDifference:
    """What the second plan does otherwise than the first, regions by name."""
    one, other = first.precisions, second.precisions
    changed = {key: (one[key], other[key]) for key in sorted(one.keys() & other.keys())}
    heads = [
        f"{name}: {getattr(first, name)}, {getattr(second, name)}"
        for name in ("target", "rewritten", "variants")
        if getattr(first, name) != getattr(second, name)
    ]
    return PlanDifference(
        MappingProxyType({key: both for key, both in changed.items() if both[0] != both[1]}),
        MappingProxyType({key: one[key] for key in sorted(one.keys() - other.keys())}),
        MappingProxyType({key: other[key] for key in sorted(other.keys() - one.keys())}),
        tuple(heads),
    )


def edited(plan: Plan, rules: Mapping[str, str]) -> Plan:
    """The plan with other precisions; what was measured of the former ones is dropped.

    Args:
        plan: The plan.
        rules: Precision by region key or glob over keys; a later rule wins.

    Raises:
        ConfigurationError: A pattern matches no region.
    """
    choices = dict(plan.choices)
    for pattern, precision in rules.items():
        found = [key for key in choices if key == pattern or fnmatchcase(key, pattern)]
        if not found:
            raise ConfigurationError(
                f"the plan has no region '{pattern}'",
                fix=did_you_mean(pattern, choices, "`qcompiler plan show` lists them"),
            )
        for key in found:
            if choices[key].precision != precision:
                choices[key] = Choice(precision, "by hand", alternatives=choices[key].alternatives)
    return replace(plan, choices=choices)
