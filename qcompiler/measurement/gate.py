"""What a gate is: one quantization that can be switched on by itself, and the model of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qcompiler.decisions.options import Options
from qcompiler.execution.packing import PackedModel

FLAGS = "qcompiler.gates"
"""Name of the extra input, bool[gates]."""
VALUE, DYNAMIC, WEIGHT = "value", "dynamic", "weight"


@dataclass(frozen=True)
class Gate:
    """One quantization that can be switched.

    Attributes:
        kind: `value` (static), `dynamic` or `weight`.
        name: The value's name; for weights, the key of the region.
        space: Storage type of a static value, name of a weight's space; empty for dynamic ones.
    """

    kind: str
    name: str
    space: str = ""


@dataclass(frozen=True, eq=False)
class GateModel:
    """The switchable model. Picklable.

    Attributes:
        packed: The model with the input `FLAGS`.
        gates: Gate by position in that input, in graph order.
        terms: The gates that a region switches on in a precision, by (region key, precision).
        alias: For values that an op only passes on (Reshape, MaxPool, ...): the value behind it,
            whose gate stands for both, by name.
        scaled: Gates without a switch: another weight space of the same region, with the ratio
            of their squared rounding errors.
    """

    packed: PackedModel
    gates: tuple[Gate, ...]
    terms: Mapping[tuple[str, str], tuple[Gate, ...]]
    alias: Mapping[str, str] = field(default_factory=dict)
    scaled: Mapping[Gate, tuple[Gate, float]] = field(default_factory=dict)

    def losses(self, measured: Mapping[Gate, float]) -> dict[Gate, float]:
        """Losses of all gates, by those of the gates with a switch.

        A small change of a weight enters the outputs linearly, so the noise power there is in
        proportion to its squared rounding error (Widrow & Kollár, Quantization Noise, ch. 1).
        """
        ratios = {gate: measured[root] * ratio for gate, (root, ratio) in self.scaled.items()}
        return {**measured, **ratios}


def passed_on(options: Sequence[Options]) -> dict[str, str]:
    """The value that a data mover's output stems from, by the output's name."""
    found: dict[str, str] = {}
    for each in options:
        region = each.region
        shared = bool(each.implementations) and all(f.shares_scale for f in each.implementations)
        if shared and len(region.activations) == 1:
            name = region.activations[0].value.name or ""
            found[region.output.name or ""] = found.get(name, name)
    return found
