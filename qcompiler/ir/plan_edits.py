"""Plans beside each other, and plans with other precisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.patterns import region_fits
from qcompiler.ir.plan import Plan
from qcompiler.ir.plan_places import label, matched, spots_of


@dataclass(frozen=True)
class PlanDifference:
    """In what two plans differ.

    Attributes:
        changed: Precision in the first and in the second, by region that both have; regions are
            told by module path, ops and the name in the first.
        only_first: Precision by region that only the first names.
        only_second: Likewise of the second.
        heads: What else differs, as `target: onnxruntime -> openvino`.
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
    """What the second plan does otherwise than the first, regions by module path and op."""
    found = matched(first.choices, spots_of(second.choices))
    changed = {
        label(key, first.choices[entry]): (first.precision(entry), second.precision(key))
        for key, entry in found.entries.items()
        if first.precision(entry) != second.precision(key)
    }
    heads = [
        f"{title}: {show(getattr(first, name))} -> {show(getattr(second, name))}"
        for name, title, show in _HEADS
        if getattr(first, name) != getattr(second, name)
    ]
    return PlanDifference(
        MappingProxyType(changed),
        MappingProxyType(_labelled(first, found.entries_left)),
        MappingProxyType(_labelled(second, found.regions_left)),
        tuple(heads),
    )


def variants_told(variants: tuple[str, ...] | None) -> str:
    """A plan's accuracy passes in words."""
    return "those of the recipe" if variants is None else ", ".join(variants) or "none"


_HEADS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("target", "target", str),
    ("rewritten", "float rewrites", lambda kept: "kept" if kept else "left out"),
    ("variants", "accuracy passes", variants_told),
)
"""What a plan says of the whole: attribute, title, and how it is shown."""


def _labelled(plan: Plan, keys: Sequence[str]) -> dict[str, str]:
    return {label(key, plan.choices[key]): plan.precision(key) for key in keys}


def edited(plan: Plan, rules: Mapping[str, str]) -> Plan:
    """The plan with other precisions; what was measured of the former ones is dropped.

    Args:
        plan: The plan.
        rules: Precision by what names regions (`patterns`); a later rule wins.

    Raises:
        ConfigurationError: A pattern matches no region.
    """
    choices = dict(plan.choices)
    for pattern, precision in rules.items():
        found = [
            each.key
            for each in spots_of(choices)
            if each.key == pattern or region_fits(pattern, each.key, each.module, each.op)
        ]
        if not found:
            modules = [each.module for each in choices.values() if each.module]
            known = dict.fromkeys([*choices, *modules])
            raise ConfigurationError(
                f"the plan has no region '{pattern}'",
                fix=did_you_mean(pattern, known, "`qcompiler plan show` lists them"),
            )
        for key in found:
            if choices[key].precision != precision:
                choices[key] = replace(
                    choices[key], precision=precision, reason="by hand", seconds=None, loss=None
                )
    return replace(plan, choices=choices)
