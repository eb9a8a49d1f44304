"""`spell-hard-swish`: HardSwish and HardSigmoid → Mul, Add and Clip, which have integer kernels.

An engine without an integer HardSwish leaves integers for it and comes back: two passes over memory
in float, and the function. x/6 + 1/2 cut to [0, 1] is a Mul and an Add whose Clip saturation does,
and the product with x is a Mul. In float the parts take 1.6 times as long as the function, so this
pays only where the neighbours are integers: timing decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage


@dataclass(frozen=True)
class SpellHardSwish(Pass):
    """HardSwish(x) = x · clip(x / 6 + 1 / 2, 0, 1); HardSigmoid is a clip with its own numbers.

    Attributes:
        least: Fewest elements of a sample: a gate of one number per channel is all overhead.
    """

    name: ClassVar[str] = "spell-hard-swish"
    stage: ClassVar[Stage] = Stage.FLOAT
    gains: ClassVar[str] = "latency"

    least: int = 4096

    def price(self, samples: int) -> str:
        return "a timing"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        kinds = ("HardSwish", "HardSigmoid")
        nodes = [each for each in all_nodes(program.model) if is_op(each, *kinds)]
        large = [each for each in nodes if _elements(each.outputs[0]) >= self.least]
        return Outcome(details={"rewritten": sum(_rewrite(each, rewriter) for each in large)})


def _elements(value: ir.Value) -> float:
    """Of one sample, an open axis counted as endless; all of a vector's."""
    if value.shape is None:
        return math.inf
    dims = list(value.shape)
    own = dims[1:] if len(dims) > 1 else dims
    return math.prod(each if isinstance(each, int) else math.inf for each in own)


def _rewrite(node: ir.Node, rewriter: Rewriter) -> bool:
    x, output = node.inputs[0], node.outputs[0]
    if x is None or x.dtype is not ir.DataType.FLOAT:
        return False
    swish = node.op_type == "HardSwish"
    alpha = 1.0 / 6.0 if swish else node.attributes.get_float("alpha", 0.2)
    beta = 0.5 if swish else node.attributes.get_float("beta", 0.5)

    def number(of: float, stem: str) -> ir.Value:
        return rewriter.constant(np.array(of, np.float32), f"{output.name}_{stem}")

    def step(op: str, operands: list[ir.Value], stem: str) -> ir.Value:
        return rewriter.insert(
            op, operands, before=node, outputs=(f"{output.name}_{stem}",), origin=(node,),
            dtype=x.dtype, shape=output.shape,
        ).outputs[0]  # fmt: skip

    scaled = step("Mul", [x, number(alpha, "alpha")], "scaled")
    moved = step("Add", [scaled, number(beta, "beta")], "moved")
    gate = step("Clip", [moved, number(0.0, "low"), number(1.0, "high")], "gate")
    rewriter.take_over(step("Mul", [x, gate], "product") if swish else gate, output)
    return True
