"""`CostModel`: what each region costs in each precision, learned from profiles on the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.search.assignment import Costs
from qcompiler.search.candidates import Candidate
from qcompiler.search.options import Options
from qcompiler.target.contract import ConversionCost


@dataclass
class CostModel:
    """Seconds by (region key, precision), from the latest profile that ran the region so.

    Attributes:
        regions: The measurements.
        elements: Elements of a value per run, by name.
        conversion: Cost of entering and leaving integers; None counts as nothing.
    """

    elements: Mapping[str, float]
    conversion: ConversionCost | None
    regions: dict[tuple[str, str], float] = field(default_factory=dict)

    def learn(self, candidate: Candidate) -> None:
        """Takes over what a profiled candidate shows.

        A region that the engine merged into its neighbour cost nothing of its own.
        """
        if candidate.sample is None:
            return
        for key, choice in candidate.plan.choices.items():
            self.regions[key, choice.precision] = candidate.sample.regions.get(key, 0.0)

    def costs(
        self, losses: Mapping[tuple[str, str], float] | None = None
    ) -> Costs:
        """The solver's input."""
        conversion = self.conversion or ConversionCost(0.0, 0.0, 0.0)
        return Costs(
            regions=dict(self.regions),
            quantize={
                name: conversion.fixed + conversion.quantize * count
                for name, count in self.elements.items()
            },
            dequantize={
                name: conversion.fixed + conversion.dequantize * count
                for name, count in self.elements.items()
            },
            weight_loss=dict(losses or {}),
        )


def elements_per_run(program: Program, options: Sequence[Options], samples: int) -> dict[str, float]:
    """Elements of each value at a region's edge, as calibration saw them or as shapes say."""
    found = {}
    for each in options:
        for value in [operand.value for operand in each.region.activations] + [each.region.output]:
            name = value.name or ""
            seen = program.observations.get(name)
            if seen is not None and seen.count and samples:
                found[name] = seen.count / samples
            else:
                found[name] = _static_size(value)
    return found


def _static_size(value: ir.Value) -> float:
    """Elements by shape; symbolic dimensions count as 1."""
    if value.shape is None:
        return 1.0
    size = 1.0
    for dim in value.shape:
        size *= dim if isinstance(dim, int) else 1
    return size


def precisions_to_try(options: Sequence[Options]) -> list[str]:
    """Every quantized precision that some region has, most common first."""
    count: dict[str, int] = {}
    for each in options:
        for form in each.implementations:
            count[form.precision] = count.get(form.precision, 0) + 1
    return sorted((name for name in count if name != FLOAT), key=lambda name: -count[name])
