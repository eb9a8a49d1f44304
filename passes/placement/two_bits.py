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

from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.decisions.roundings import Rounding, reduction_axis
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.packing import pack
from qcompiler.target.capability import Kernel

Array = npt.NDArray[Any]
_PER_BYTE = 4


@dataclass(frozen=True)
class InsertTwoBitProducts(Pass):
    """Rewrites every MatMul and Gemm that the plan runs with 2-bit weights."""

    name: ClassVar[str] = "insert-two-bit-products"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        placed = bound_regions(program, Kernel.WEIGHT_ONLY)
        found = [p for p in placed if p.form.weight is not None and p.form.weight.storage_bits == 2]
        for each in found:
            _rewrite(each, rewriter)
        rewriter.drop_unused_constants()
        return Outcome(details={"products": len(found)})


def _rewrite(placed: Placed, rewriter: Rewriter) -> None:
    operand, rounding = placed.region.weight, placed.decided.rounding
    assert operand is not None
    assert rounding is not None
    node, output = operand.node, operand.node.outputs[0]
    rows = rounding if reduction_axis(node) else rounding.transposed()
    parts = _stored(rows)
    stem = operand.value.name or "weight"
    names = ("two_bits", "scale", "zero_point")
    constants = [
        rewriter.constant(part, f"{stem}_{name}") for name, part in zip(names, parts, strict=True)
    ]
    bias = node.inputs[2] if is_op(node, "Gemm") and len(node.inputs) > 2 else None
    outputs, inputs = rows.integers.shape
    layout = {"K": inputs, "N": outputs, "block_size": rows.params.space.group_size}
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


def _stored(rounding: Rounding) -> tuple[Array, Array, Array]:
    """Bytes, scales and zero points of an [outputs, inputs] weight in blocks of its rows."""
    params, space = rounding.params, rounding.params.space
    assert space.group_size is not None
    outputs, inputs = rounding.integers.shape
    blocks = params.scale.shape[1]
    integers = np.zeros((outputs, blocks * space.group_size), np.uint8)
    integers[:, :inputs] = rounding.integers.astype(np.uint8)
    zero = np.zeros((outputs, -(-blocks // _PER_BYTE) * _PER_BYTE), np.uint8)
    zero[:, :blocks] = params.zero_point
    data = pack(integers, space.dtype).reshape(outputs, blocks, -1)
    return data, np.asarray(params.scale, np.float32), pack(zero, space.dtype).reshape(-1)
