"""`insert-two-bit-products`: products with 2-bit weights as `com.microsoft.MatMulNBits`.

DequantizeLinear has no 2-bit types before opset 25, so the operator of ONNX Runtime is written out
(docs/ContribOperators.md there): weights [outputs, blocks, bytes] with the first element in the
lowest bits, float32 scales [outputs, blocks], zero points [outputs, bytes], packed the same way.
`accuracy_level` 4 lets its CPU kernel round activations to int8 within each block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.passes.placement.weight_blocks import reduction_axis
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import quantize, weight_qparams
from qcompiler.quantization.packing import pack
from qcompiler.quantization.qspace import QSpace
from qcompiler.target.capability import Kernel
from qcompiler.target.placement import Placed, placed_regions

Array = npt.NDArray[Any]
_PER_BYTE = 4


@dataclass(frozen=True)
class InsertTwoBitProducts(Pass):
    """Rewrites every MatMul and Gemm that the plan runs with 2-bit weights."""

    name: ClassVar[str] = "insert-two-bit-products"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("insert-two-bit-products needs a target")
        placed = placed_regions(program, context.target, Kernel.WEIGHT_ONLY)
        found = [p for p in placed if p.form.weight is not None and p.form.weight.storage_bits == 2]
        for each in found:
            _rewrite(each, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"products": len(found)})


def _rewrite(placed: Placed, rewriter: Rewriter) -> None:
    operand, space = placed.region.weight, placed.form.weight
    assert operand is not None
    assert space is not None
    node, output = operand.node, operand.node.outputs[0]
    array = stored_array(operand.value)
    assert array is not None
    weight = np.asarray(array, np.float32)
    parts = _stored(weight if reduction_axis(node) else weight.T, space)
    stem = operand.value.name or "weight"
    names = ("two_bits", "scale", "zero_point")
    constants = [
        rewriter.constant(part, f"{stem}_{name}") for name, part in zip(names, parts, strict=True)
    ]
    bias = node.inputs[2] if is_op(node, "Gemm") and len(node.inputs) > 2 else None
    inputs = weight.shape[reduction_axis(node)]
    layout = {"K": inputs, "N": weight.size // inputs, "block_size": space.group_size}
    product = rewriter.insert(
        "MatMulNBits",
        [_rows(node, rewriter), *constants, None, bias],
        before=node,
        domain="com.microsoft",
        attributes={**layout, "bits": 2, "accuracy_level": 4},
        outputs=[f"{output.name}_two_bits"],
        origin=[node],
        dtype=ir.DataType.FLOAT,
        shape=output.shape,
    )
    product.metadata_props[REGION_KEY] = node.name or ""
    rewriter.replace_uses(output, product.outputs[0])
    rewriter.erase_dead(node)


def _rows(node: ir.Node, rewriter: Rewriter) -> ir.Value | None:
    """The activations as [rows, inputs]."""
    if not is_op(node, "Gemm") or not node.attributes.get_int("transA", 0):
        return node.inputs[0]
    turned = rewriter.insert(
        "Transpose", [node.inputs[0]], before=node, attributes={"perm": [1, 0]}, origin=[node]
    )
    return turned.outputs[0]


def _stored(weight: Array, space: QSpace) -> tuple[Array, Array, Array]:
    """Bytes, scales and zero points of an [outputs, inputs] weight in blocks of its rows."""
    assert space.group_size is not None
    params = weight_qparams(weight, space, 1)
    blocks = params.scale.shape[1]
    integers = np.zeros((len(weight), blocks * space.group_size), np.uint8)
    integers[:, : weight.shape[1]] = quantize(weight, params).astype(np.uint8)
    zero = np.zeros((len(weight), -(-blocks // _PER_BYTE) * _PER_BYTE), np.uint8)
    zero[:, :blocks] = params.zero_point
    data = pack(integers, space.dtype).reshape(len(weight), blocks, -1)
    return data, np.asarray(params.scale, np.float32), pack(zero, space.dtype).reshape(-1)
