"""`use-ranges`: reads the statistics of every value by another calibration method.

A histogram holds what each method needs, so trying one costs a placement and a few runs, and no
pass over the data. Which method suits a network, neither the local error nor any one rule tells;
the loss at the outputs does (measured: one network scores 0.890 by `mse` and 0.940 by `minmax`).
Percentile is in no recipe: it clips what calibration saw seldom, which looks good on samples like
those and cost up to 14 dB on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.chosen import Chosen, histogram_of, is_users
from qcompiler.quantization.observers import make_observer, reinterpreted


@dataclass(frozen=True)
class UseRanges(Pass):
    """Reads observations that hold histograms by `method`; others stay as they are.

    Attributes:
        method: `minmax`, `moving-average`, `percentile`, `entropy` or `mse`.
    """

    name: ClassVar[str] = "use-ranges"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.RANGES

    method: str = "minmax"

    def __post_init__(self) -> None:
        make_observer(self.method)

    def price(self, samples: int) -> str:
        return "no run over the data"

    def runs(self, samples: int, program: Program | None) -> float:
        return 0.0

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        changed = 0
        for name, seen in program.observations.items():
            origin = histogram_of(seen)
            if origin is not None and not is_users(seen) and origin.name != self.method:
                picks = reinterpreted(origin, self.method)
                program.observations[name] = Chosen.of(origin, picks, self.name)
                changed += 1
        return Outcome(details={"values": changed})
