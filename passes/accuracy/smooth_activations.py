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

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.equalization.analysis import scaled_values
from qcompiler.passes.equalization.bounds import log_bounds
from qcompiler.passes.equalization.folding import fold_scales
from qcompiler.passes.equalization.multipliers import WIDE, drop_idle, insert_multipliers
from qcompiler.passes.equalization.observed import Seen, requests, rounded_values
from qcompiler.passes.equalization.sites import find_sites
from qcompiler.passes.equalization.strength import NoiseModel, smoothed
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
        found, seen = scaled_values(program), Seen(program, made)
        rounded = rounded_values(program, context.target)
        low, high = log_bounds(found, seen)
        logs = np.zeros(found.freedom.count)
        chosen = {}
        for site in find_sites(found):
            model = NoiseModel.of(found, site, seen, rounded)
            best = None if model is None else smoothed(model, low, high, self.strength)
            if best is not None:
                logs += best[0]
                chosen[site.values[0].name] = best[1]
        changed = fold_scales(found, logs, rewriter)
        left = drop_idle(program, rewriter, made)
        return Outcome(
            details={
                "sites": len(chosen),
                "constants": changed,
                "products": left,
                "strengths": chosen,
            }
        )

    def _multipliers(
        self, program: Program, rewriter: Rewriter, target: Target | None
    ) -> dict[str, str]:
        if not self.wide:
            return {}
        written = (
            set() if target is None else {r.output.name or "" for r in target.regions(program)}
        )
        return insert_multipliers(program, rewriter, written, self.wide)
