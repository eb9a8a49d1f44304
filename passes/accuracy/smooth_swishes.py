"""`smooth-swishes`: ranges of channels move through HardSwish into the weights that read them.

Behind a HardSwish, and in front of it, channels of very different ranges share one step: a scale
that a weight takes up could not pass the function. Written as x · HardSigmoid(x / s) it does
(`equalization/swishes.py`); all sites are then smoothed as by `smooth-activations`. It costs a
product with a vector for each function, in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import values_by_name
from qcompiler.passes.equalization.analysis import scaled_values
from qcompiler.passes.equalization.idle import undo_idle
from qcompiler.passes.equalization.observed import requests, rounded_values
from qcompiler.passes.equalization.sites import find_sites
from qcompiler.passes.equalization.smoothing import smooth_sites, written_values
from qcompiler.passes.equalization.swishes import close, open_swishes
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class SmoothSwishes(Pass):
    """Smooths the channels around every HardSwish that computes in float; nothing without one."""

    name: ClassVar[str] = "smooth-swishes"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.FLOAT

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        copy = program.clone()
        made = open_swishes(copy, Rewriter(copy), written_values(copy, target))
        if not made:
            return []
        rounded, known = rounded_values(copy, target), values_by_name(program.model)
        asked = requests(find_sites(scaled_values(copy)), rounded, {})
        return [each for each in asked if each.value in known]  # a gate is no value yet

    def price(self, samples: int) -> str:
        return "ranges and powers of channels; a product with a vector for each HardSwish"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if program.absorbed is not None:
            return Outcome(details={"sites": 0})
        target = context.target
        made = open_swishes(program, rewriter, written_values(program, target))
        if not made:
            return Outcome(details={"sites": 0})
        details = smooth_sites(program, rewriter, target, {})
        left = undo_idle(program, rewriter, made, close)
        return Outcome(details={**details, "products": left})
