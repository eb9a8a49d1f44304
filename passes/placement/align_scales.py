"""`align-scales`: derives scale and zero point of every quantized value for the target.

Values tied by ops that pass their elements on (MaxPool, Reshape, Concat with a shared scale, ...)
take one scale; this is a union-find over values. A value behind an absorbed activation keeps the
activation's bounds, so that saturation can stand for the activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from networkx.utils import UnionFind

from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Region
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.placement.concat_loss import concat_losses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import choose_qparams, quantize
from qcompiler.quantization.qspace import QParams, QSpace, Range
from qcompiler.target.placement import Placed, placed_regions


@dataclass(frozen=True)
class AlignScales(Pass):
    """Fills `program.scales` and `program.operand_scales` from observations and the plan."""

    name: ClassVar[str] = "align-scales"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.SCALES_ALIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("align-scales needs a target")
        placed = placed_regions(program, context.target)
        groups = _Groups(program, placed)
        program.scales = groups.value_scales()
        program.operand_scales = groups.operand_scales()
        details = {"values": len(program.scales), "groups": groups.count}
        losses = concat_losses(program, placed)
        return Outcome(details={**details, "concat losses": losses} if losses else details)


class _Groups:
    """Values that take one scale, and what is demanded of each."""

    def __init__(self, program: Program, placed: Sequence[Placed]) -> None:
        self._program = program
        self._placed = placed
        self._producer = {
            each.region.output: each for each in placed if each.form.output is not None
        }
        self._demands: dict[ir.Value, list[QSpace]] = {}
        self._tied: UnionFind[ir.Value] = UnionFind()
        self._apart: list[tuple[Placed, int]] = []
        for each in placed:
            self._demand(each)
        for each in placed:
            if each.form.shares_scale:
                self._tie(each)
        self._params: dict[ir.Value, QParams] = {}
        groups = list(self._groups())
        for members in groups:
            self._params.update(dict.fromkeys(members, self._derive(members)))
        for members in groups:
            self._coarsen(members)

    @property
    def count(self) -> int:
        return len({id(params) for params in self._params.values()})

    def value_scales(self) -> dict[str, QParams]:
        return {value.name or "": params for value, params in self._params.items()}

    def operand_scales(self) -> dict[tuple[str, int], QParams]:
        """Parameters of operands that must differ from their producer's: they are requantized."""
        found = {}
        for each, index in self._apart:
            operand = each.region.activations[index]
            wanted = self._params[each.region.output]
            if not wanted.same_as(self._params[operand.value]):
                found[(operand.node.name or "", operand.index)] = wanted
        return found

    def _demand(self, placed: Placed) -> None:
        if placed.form.activation is not None:
            for operand in placed.quantized_operands:
                self._demands.setdefault(operand.value, []).append(placed.form.activation)
        if placed.form.output is not None:
            self._demands.setdefault(placed.region.output, []).append(placed.form.output)

    def _tie(self, placed: Placed) -> None:
        """Joins operands with the output; operands with bounds of their own may stay apart."""
        output = placed.region.output
        operands = placed.region.activations
        several = len({operand.value for operand in operands}) > 1
        for index, operand in enumerate(operands):
            if several and self._is_bounded(operand.value):
                self._apart.append((placed, index))
            else:
                self._tied.union(output, operand.value)

    def _is_bounded(self, value: ir.Value) -> bool:
        producer = self._producer.get(value)
        if producer is None:
            return False
        return producer.region.activation_node is not None or producer.form.output_range is not None

    def _groups(self) -> Iterable[list[ir.Value]]:
        members: dict[ir.Value, list[ir.Value]] = {}
        for value in self._demands:
            members.setdefault(self._tied[value], []).append(value)
        return members.values()

    def _derive(self, members: Sequence[ir.Value]) -> QParams:
        space = _narrowest([s for value in members for s in self._demands[value]], members)
        ranges = [self._range(value, space) for value in self._sources(members)]
        joined = ranges[0]
        for each in ranges[1:]:
            joined = joined.union(each)
        params = choose_qparams(joined.low, joined.high, space)
        for value in members:
            made = self._producer.get(value)
            params = reaching(params, None if made is None else made.region)
        return params

    def _coarsen(self, members: Sequence[ir.Value]) -> None:
        """Raises a scale that a kernel which writes one of the values cannot reach."""
        params = self._params[members[0]]
        least = max((self._finest(value) for value in members), default=0.0)
        if float(params.scale) < least:
            wider = choose_qparams(*_span(params, least), params.space)
            self._params.update(dict.fromkeys(members, wider))

    def _finest(self, value: ir.Value) -> float:
        made = self._producer.get(value)
        if made is None or made.form.finest is None:
            return 0.0
        return made.form.finest(
            made.region, float(self._params[made.region.activations[0].value].scale)
        )

    def _sources(self, members: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """The values that decide; behind a fixed range, what only passes it on has no say."""
        made = {value: self._producer.get(value) for value in members}
        if not any(each is not None and each.form.output_range for each in made.values()):
            return members
        return [value for value, each in made.items() if each is None or not each.form.shares_scale]

    def _range(self, value: ir.Value, space: QSpace) -> Range:
        producer = self._producer.get(value)
        if producer is not None and producer.form.output_range is not None:
            return producer.form.output_range
        seen = self._program.observations.get(value.name or "")
        if seen is None:
            raise LegalityError(
                f"'{value.name}' is to be quantized but was not observed",
                fix="run insert-observers and calibrate for this target first",
            )
        found = seen.range_for(space)
        if producer is not None:
            found = within_activation(found, producer.region)
        return found


_NUDGE = np.float32(1 - 2.0**-20)
"""Moves a quotient of 8 bits across a tie, and no value by more than 1/4000 of a step."""


def reaching(params: QParams, region: Region | None) -> QParams:
    """Parameters whose lowest and highest integers stand for the bounds of a region's activation.

    Where the bounds lie half a step beyond the end levels, the rounding of the scale decides
    whether saturation does the activation's work; a hair finer scale makes it do so.
    """
    bounds = None if region is None else activation_bounds(region.activation_node)
    if bounds is None or params.space.symmetric or params.space.is_float:
        return params
    finer = replace(params, scale=np.asarray(params.scale * _NUDGE, np.float32))
    ends = np.asarray([bounds.low, bounds.high], np.float32)
    for each in (params, finer):
        low, high = (int(integer) for integer in quantize(ends, each))
        if (low, high) == (params.space.qmin, params.space.qmax):
            return each
    return params


def _span(params: QParams, scale: float) -> tuple[float, float]:
    """The range of the same zero point under another scale."""
    low, high = (end - int(params.zero_point) for end in (params.space.qmin, params.space.qmax))
    return scale * low, scale * high


def within_activation(found: Range, region: Region) -> Range:
    """The range cut to the bounds of the region's absorbed activation."""
    bounds = activation_bounds(region.activation_node)
    if bounds is None:
        return found
    low, high = max(found.low, bounds.low), min(found.high, bounds.high)
    return Range(min(low, high), high)


def _narrowest(spaces: Sequence[QSpace], members: Sequence[ir.Value]) -> QSpace:
    """The space every demand accepts: same type, the fewest levels, symmetric if one insists.

    Raises:
        LegalityError: Two storage types are demanded of one value.
    """
    kinds = {space.dtype for space in spaces}
    if len(kinds) > 1:
        raise LegalityError(
            f"'{members[0].name}' would need the types {sorted(k.name for k in kinds)} at once",
            fix="give its users one precision",
        )
    return min(spaces, key=lambda space: (not space.symmetric, space.qmax - space.qmin))
