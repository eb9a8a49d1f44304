"""What calibration tells of the channels of a site: asked for before, read afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.walk import is_op, is_stored, uses
from qcompiler.passes.equalization.sites import Site
from qcompiler.statistics.kinds import ChannelExtremes, ChannelPower
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]

_EXTREMES = "channel-extremes"
_POWER = "channel-power"


def requests(
    sites: Iterable[Site], rounded: set[str], aliases: Mapping[str, str]
) -> Iterator[Request]:
    """Statistics of the channels: ranges of what is rounded or clamped, power of what is read.

    Args:
        sites: What is to be chosen.
        rounded: Names of values that are quantized.
        aliases: The value whose statistics are those of another, by name.
    """
    for site in sites:
        for each in site.values:
            name = aliases.get(each.name, each.name)
            clamped = any(clamp.value is each.value for clamp in site.clamps)
            read = each.value in {fold.node.inputs[0] for fold in site.readers}
            if each.name in rounded or name in rounded or clamped:
                yield Request.of(name, _EXTREMES, axis=each.axis)
            if read:
                yield Request.of(name, _EXTREMES, axis=each.axis)
                yield Request.of(name, _POWER, axis=each.axis)
            for other in multiplied(each.value):
                yield Request.of(aliases.get(other, other), _POWER, axis=each.axis)


def multiplied(value: ir.Value) -> list[str]:
    """Names of computed values that the value is multiplied with, as a gate is."""
    found = []
    for use in uses(value):
        other = use.node.inputs[1 - use.idx] if is_op(use.node, "Mul") else None
        if other is not None and other is not value and not is_stored(other):
            found.append(other.name or "")
    return found


def rounded_values(program: Program, target: Target | None) -> set[str]:
    """Names of values that a quantized program may round; without a target, all of them."""
    if target is None:
        made = (value for node in program.graph for value in node.outputs)
        return {value.name or "" for value in (*program.graph.inputs, *made)}
    found: set[str] = set()
    for region in target.regions(program):
        found.update(operand.value.name or "" for operand in region.activations)
        found.add(region.output.name or "")
    return found


@dataclass(frozen=True, eq=False)
class Seen:
    """Statistics by value.

    Attributes:
        program: A calibrated program.
        aliases: The value whose statistics are those of another, by name.
    """

    program: Program
    aliases: Mapping[str, str] = field(default_factory=dict)

    def extremes(self, name: str, axis: int) -> tuple[Array, Array] | None:
        """float64 lowest and highest value of every channel; None if nothing was seen."""
        asked = Request.of(self.aliases.get(name, name), _EXTREMES, axis=axis)
        found = self.program.statistics.get(asked)
        if not isinstance(found, ChannelExtremes) or found.low is None or found.high is None:
            return None
        return found.low.astype(np.float64), found.high.astype(np.float64)

    def power(self, name: str, axis: int) -> Array | None:
        """float64 mean square of every channel; None if nothing was seen."""
        asked = Request.of(self.aliases.get(name, name), _POWER, axis=axis)
        found = self.program.statistics.get(asked)
        if not isinstance(found, ChannelPower) or found.total is None:
            return None
        return found.mean
