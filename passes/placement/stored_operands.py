"""`quantize-stored-operands`: constants that an integer kernel reads as data, not as its weight.

The constant part of a Concat, the stored left factor of a MatMul. Engines have integer kernels
only where every operand is quantized, so such a constant gets the parameters of its own range; or
those of the output where operands and output share one scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand, stored_data
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.passes.placement.quantize_weights import WeightStore
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import choose_qparams
from qcompiler.quantization.qspace import QParams
from qcompiler.target.placement import Placed, placed_regions


@dataclass(frozen=True)
class QuantizeStoredOperands(Pass):
    """Quantizes stored data operands of every region that the plan runs in a static form."""

    name: ClassVar[str] = "quantize-stored-operands"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("quantize-stored-operands needs a target")
        store = WeightStore(rewriter)
        count = 0
        for placed in placed_regions(program, context.target):
            for operand, params in _wanted(placed, program):
                store.put(operand, params)
                count += 1
        rewriter.drop_unused_constants()
        return Outcome(details={"operands": count})


def _wanted(placed: Placed, program: Program) -> Iterator[tuple[Operand, QParams]]:
    space = placed.form.activation
    if space is None or placed.form.output is None:
        return
    for operand in stored_data(placed.region.anchor):
        if is_op(operand.value.producer(), "DequantizeLinear"):
            continue
        array = stored_array(operand.value)
        if array is None or array.dtype.kind != "f":
            continue
        shared = program.scales.get(placed.region.output.name or "")
        if placed.form.shares_scale and shared is not None:
            yield operand, shared
        else:
            values = np.asarray(array, np.float32)
            low, high = values.min(initial=0.0), values.max(initial=0.0)
            yield operand, choose_qparams(low, high, space)
