"""`smooth-activations`: ranges of the channels of an activation move into the weights that read it.

SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) wherever a scale may be chosen: behind norms,
products with a vector, embeddings and weights, in front of one or several weights, inputs of LSTM,
GRU and RNN included, through gates, pools, Concat and Split. Where no constant can take a scale up,
a product with a vector is inserted if it costs little (`equalization/multipliers.py`). The float
function stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.equalization.analysis import scaled_values
from qcompiler.passes.equalization.idle import undo_idle
from qcompiler.passes.equalization.multipliers import WIDE, drop, insert_multipliers
from qcompiler.passes.equalization.observed import requests, rounded_values
from qcompiler.passes.equalization.sites import find_sites
from qcompiler.passes.equalization.smoothing import smooth_sites, written_values
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class SmoothActivations(Pass):
    """Scales channels of activations, each site by the strength with the least predicted noise.

    Attributes:
        strength: One for all sites, between 0 (weights get equal ranges) and 1 (activations do).
        wide: Fewest columns of matrix products that a product with a vector is inserted in front
            of; 0 inserts none anywhere.
    """

    name: ClassVar[str] = "smooth-activations"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.FLOAT

    strength: float | None = None
    wide: int = WIDE

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise ConfigurationError(
                f"a strength of {self.strength} is not between 0 and 1",
                fix="leave it out: then the strength of every site follows from its noise",
            )
        if self.wide < 0:
            raise ConfigurationError(f"{self.wide} columns are no width", fix="0 inserts nothing")

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        copy = program.clone()
        made = self._multipliers(copy, Rewriter(copy), target)
        rounded = rounded_values(copy, target)
        return list(requests(find_sites(scaled_values(copy)), rounded, made))

    def price(self, samples: int) -> str:
        cost = f"; products with a vector in front of {self.wide} columns"
        return "ranges and powers of channels" + (cost if self.wide else "")

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if program.absorbed is not None:
            return Outcome(details={"sites": 0})
        made = self._multipliers(program, rewriter, context.target)
        details = smooth_sites(program, rewriter, context.target, made, self.strength)
        left = undo_idle(program, rewriter, made, drop)
        return Outcome(details={**details, "products": left})

    def _multipliers(
        self, program: Program, rewriter: Rewriter, target: Target | None
    ) -> dict[str, str]:
        if not self.wide:
            return {}
        written = written_values(program, target)
        return insert_multipliers(program, rewriter, written, self.wide)
