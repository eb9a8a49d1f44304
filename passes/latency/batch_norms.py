"""`convolve-batch-norm`: BatchNormalization → a depthwise convolution with one tap.

A BatchNormalization behind an activation cannot be folded into the convolution in front of it, nor
into one behind it that pads with zeros. No engine has integers for it, so between two convolutions
on integers it costs a pass out of integers, itself, and a pass back. As a convolution of one weight
per channel it stays on integers, and takes a Relu along. Exact: one product and one sum per
element, and with a scale per channel the weight's integer is exact, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op, rank
from qcompiler.passes.fusion.steps import read_step
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage


@dataclass(frozen=True)
class ConvolveBatchNorm(Pass):
    """Writes BatchNormalization of signals and images as Conv with as many groups as channels."""

    name: ClassVar[str] = "convolve-batch-norm"
    stage: ClassVar[Stage] = Stage.FLOAT
    gains: ClassVar[str] = "latency"

    def price(self, samples: int) -> str:
        return "a timing"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        nodes = [each for each in all_nodes(program.model) if is_op(each, "BatchNormalization")]
        return Outcome(details={"rewritten": sum(_rewrite(each, rewriter) for each in nodes)})


def _rewrite(node: ir.Node, rewriter: Rewriter) -> bool:
    """Whether it was possible: float32 signals or images, stored numbers, inference."""
    x, output = node.inputs[0], node.outputs[0]
    dims, gains = rank(x), constant(node.inputs[1])
    if x is None or x.dtype is not ir.DataType.FLOAT or dims not in (3, 4) or gains is None:
        return False
    affine = read_step(node, dims, 1, gains.size)
    if affine is None:
        return False
    axes = dims - 2
    weight = affine.scale.astype(np.float32).reshape(-1, *[1] * (axes + 1))
    operands = [
        x,
        rewriter.constant(weight, f"{output.name}_taps"),
        rewriter.constant(affine.shift.astype(np.float32), f"{output.name}_shift"),
    ]
    convolved = rewriter.insert(
        "Conv",
        operands,
        before=node,
        attributes={"kernel_shape": [1] * axes, "group": weight.shape[0]},
        outputs=(f"{output.name}_convolved",),
        origin=(node,),
        dtype=x.dtype,
        shape=output.shape,
    )
    rewriter.take_over(convolved.outputs[0], output)
    return True
