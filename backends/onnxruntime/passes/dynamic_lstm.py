"""`insert-dynamic-lstm`: LSTMs with int8 weights whose activations are quantized at each step.

The form is `com.microsoft.DynamicQuantizeLSTM` of ONNX Runtime (docs/ContribOperators.md there):
weights are stored as [directions, input, 4 * hidden], one scale per direction and gate row; the
cell itself, its state and the biases stay float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.errors import ConfigurationError
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.qspace import QSpace
from qcompiler.quantization.recurrent import recurrent_weight
from qcompiler.target.capability import Kernel

_KEPT = ("activations", "activation_alpha", "activation_beta", "clip", "direction",
         "hidden_size", "input_forget")  # fmt: skip


@dataclass(frozen=True)
class InsertDynamicLstm(Pass):
    """Rewrites every LSTM that the plan runs in a dynamic form."""

    name: ClassVar[str] = "insert-dynamic-lstm"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        placed = bound_regions(program, Kernel.DYNAMIC)
        found = [each for each in placed if each.region.kind == "LSTM"]
        for each in found:
            _rewrite(each, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"LSTMs": len(found)})


def _rewrite(placed: Placed, rewriter: Rewriter) -> None:
    lstm, space = placed.region.anchor, placed.form.weight
    assert space is not None
    weight = _weight(lstm.inputs[1], space, rewriter)
    recurrent = _weight(lstm.inputs[2], space, rewriter)
    operands: list[ir.Value | None] = [*lstm.inputs, *[None] * (8 - len(lstm.inputs))]
    operands[1], operands[2] = weight[0], recurrent[0]
    names = [output.name or f"{lstm.name}_omitted" for output in lstm.outputs]
    quantized = rewriter.insert(
        "DynamicQuantizeLSTM",
        [*operands, *weight[1:], *recurrent[1:]],
        before=lstm,
        domain="com.microsoft",
        attributes={name: lstm.attributes[name].value for name in _KEPT if name in lstm.attributes},
        outputs=[f"{name}_quantized_lstm" for name in names],
        origin=[lstm],
    )
    quantized.metadata_props[REGION_KEY] = lstm.name or ""
    for old, new in zip(lstm.outputs, quantized.outputs, strict=True):
        new.type, new.shape = old.type, old.shape
        rewriter.replace_uses(old, new)
    rewriter.erase_dead(lstm)


def _weight(value: ir.Value | None, space: QSpace, rewriter: Rewriter) -> list[ir.Value]:
    """Initializers (data [D, I, 4H], scale [D, 4H], zero point) of one [D, 4H, I] weight."""
    array = constant(value)
    if value is None or array is None:
        raise ConfigurationError("the LSTM's weights are not constant")
    parts = recurrent_weight(np.asarray(array, np.float32), space)
    name = value.name or "weight"
    kinds = ("quantized", "scale", "zero_point")
    return [rewriter.constant(p, f"{name}_{kind}") for kind, p in zip(kinds, parts, strict=True)]
