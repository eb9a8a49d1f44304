"""`quantize-weight-blocks`: weights stored in blocks along the reduction axis, computed in float.

One symmetric scale per `group_size` consecutive elements; ONNX DequantizeLinear-21 with
`block_size`. Activations stay float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import quantize, weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace
from qcompiler.target.capability import Kernel
from qcompiler.target.placement import Placed, placed_regions


@dataclass(frozen=True)
class QuantizeWeightBlocks(Pass):
    """Quantizes the weight of every region that the plan runs in a weight-only form."""

    name: ClassVar[str] = "quantize-weight-blocks"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("quantize-weight-blocks needs a target")
        placed = placed_regions(program, context.target, Kernel.WEIGHT_ONLY)
        for each in placed:
            _store(each, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"weights": len(placed)})


def reduction_axis(node: ir.Node) -> int:
    """The axis of a MatMul or Gemm weight that is summed over."""
    return 1 if is_op(node, "Gemm") and node.attributes.get_int("transB", 0) == 1 else 0


def _store(placed: Placed, rewriter: Rewriter) -> None:
    operand, space = placed.region.weight, placed.form.weight
    assert operand is not None
    assert space is not None
    array = stored_array(operand.value)
    assert array is not None
    axis = None if space.granularity is Granularity.TENSOR else reduction_axis(operand.node)
    params = weight_qparams(np.asarray(array, np.float32), space, axis)
    data = quantize(np.asarray(array, np.float32), params)
    name = operand.value.name or "weight"
    node = rewriter.insert(
        "DequantizeLinear",
        [
            rewriter.constant(ir.Tensor(data, dtype=space.dtype), f"{name}_quantized"),
            rewriter.constant(np.asarray(params.scale, np.float32), f"{name}_scale"),
            rewriter.constant(_zero_point(params, space), f"{name}_zero_point"),
        ],
        before=operand.node,
        attributes=_layout(params, space),
        outputs=[f"{name}_dequantized"],
        dtype=operand.value.dtype or ir.DataType.FLOAT,
        shape=operand.value.shape,
    )
    rewriter.set_input(operand.node, operand.index, node.outputs[0])


def _zero_point(params: QParams, space: QSpace) -> ir.TensorProtocol:
    return ir.Tensor(params.zero_point.astype(space.dtype.numpy()), dtype=space.dtype)


def _layout(params: QParams, space: QSpace) -> dict[str, int]:
    if params.axis is None:
        return {}
    blocks = {} if space.group_size is None else {"block_size": space.group_size}
    return {"axis": params.axis, **blocks}
