"""`absorb-high-bias`: shifts of channels move from the biases in front of a value to those behind.

Nagel et al. 2019 (arXiv 1906.04721, section 4.1.3): relu(x - c) = relu(x) - c for x of at least c,
so what every channel exceeds anyway need not be represented. Where there is no Relu between, the
middle of each channel's range can move, whatever the data (as in Wei et al. 2023, Outlier
Suppression+, arXiv 2304.09145). Both make the range narrower that one scale has to cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.equalization.observed import Seen
from qcompiler.passes.equalization.shifts import Passage, passages
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]

_MARGIN = 0.1
"""Share of a channel's range that unseen data is given below what calibration saw."""
_WORTH = 0.9
"""The range has to become smaller than this share."""


@dataclass(frozen=True)
class AbsorbHighBias(Pass):
    """Moves shifts where every reader is a product with a stored weight that pads no zeros.

    Attributes:
        center: Whether values without a Relu in front are centered.
    """

    name: ClassVar[str] = "absorb-high-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    stage: ClassVar[Stage] = Stage.FLOAT

    center: bool = True

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        return [
            Request.of(each.observed, "channel-extremes", axis=each.source.axis)
            for each in passages(program)
        ]

    def price(self, samples: int) -> str:
        return "ranges of channels, taken while calibrating"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if program.absorbed is not None:
            return Outcome(details={"values": 0})
        seen, moved = Seen(program), 0
        for each in list(passages(program)):
            extremes = seen.extremes(each.observed, each.source.axis)
            shift = None if extremes is None else self._shift(each, *extremes)
            moved += shift is not None and _move(each, shift, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"values": moved})

    def _shift(self, passage: Passage, low: Array, high: Array) -> Array | None:
        """float64 [channels]; None where the range does not become narrower."""
        if low.size != passage.source.count:
            return None
        if passage.relu is not None:
            shift = np.maximum(low - _MARGIN * (high - low), 0)
            before, after = high.max(initial=0.0), (high - shift).max(initial=0.0)
        elif self.center:
            shift = (high + low) / 2
            before = high.max(initial=0.0) - low.min(initial=0.0)
            after = (high - low).max(initial=0.0)
        else:
            return None
        return shift if after < _WORTH * before else None


def _move(passage: Passage, shift: Array, rewriter: Rewriter) -> bool:
    """Writes all biases, or none if one does not fit its type."""
    source = passage.source.shifted(-shift)
    behind = [each.bias.shifted(each.shift(shift)) for each in passage.readers]
    if source is None or any(each is None for each in behind):
        return False
    passage.source.store(source, rewriter)
    for reader, values in zip(passage.readers, behind, strict=True):
        assert values is not None
        reader.bias.store(values, rewriter)
    return True
