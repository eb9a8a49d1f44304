"""`quantize-weight-blocks`: weights that are stored in integers and computed with in float.

Products have one scale per `group_size` consecutive elements of the reduction axis (ONNX
DequantizeLinear-21 with `block_size`), look-up tables one scale and zero point per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import quantize, weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace
from qcompiler.target.capability import Kernel
from qcompiler.target.placement import Placed, placed_regions

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class QuantizeWeightBlocks(Pass):
    """Quantizes the weight of every region that the plan runs in a weight-only form.

    Attributes:
        fusible: Write products as ONNX Runtime's fusion to MatMulNBits takes them: every one has
            constants of its own, and the weight of a Gemm is [inputs, outputs], without transB
            (1.31.1, docs/onnxruntime.md). Otherwise equal weights are stored once.
    """

    fusible: bool = False

    name: ClassVar[str] = "quantize-weight-blocks"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("quantize-weight-blocks needs a target")
        placed = placed_regions(program, context.target, Kernel.WEIGHT_ONLY)
        made: dict[_Stored, tuple[ir.Value, ...]] = {}
        stored = 0
        for each in placed:
            if self.fusible:
                made.clear()
                _untranspose(each, rewriter)
            stored += _store(each, rewriter, made)
        rewriter.drop_unused_constants()
        return Outcome(details={"weights": stored})


def reduction_axis(node: ir.Node) -> int:
    """The axis of a MatMul or Gemm weight that is summed over."""
    return 1 if is_op(node, "Gemm") and node.attributes.get_int("transB", 0) == 1 else 0


def _untranspose(placed: Placed, rewriter: Rewriter) -> None:
    """A @ B^T with a stored B becomes A @ B' with B' = B^T."""
    operand = placed.region.weight
    assert operand is not None
    array = stored_array(operand.value)
    if not is_op(operand.node, "Gemm") or reduction_axis(operand.node) == 0 or array is None:
        return
    stem = operand.value.name or "weight"
    turned = rewriter.constant(np.ascontiguousarray(array.T), stem)
    rewriter.set_input(operand.node, operand.index, turned)
    rewriter.set_attribute(operand.node, "transB", None)


def _axis(node: ir.Node, granularity: Granularity) -> int | None:
    if granularity is Granularity.TENSOR:
        return None
    return weight_channel_axis(node) if granularity is Granularity.CHANNEL else reduction_axis(node)


_Stored = tuple[ir.Value, QSpace, int | None, ir.Graph]
"""A float weight, its form, the axis of its blocks, and the graph its integers are in."""


def _store(placed: Placed, rewriter: Rewriter, made: dict[_Stored, tuple[ir.Value, ...]]) -> int:
    """Makes the region read integers; returns how many weights were stored for that."""
    operand, space = placed.region.weight, placed.form.weight
    assert operand is not None
    assert space is not None
    home = operand.node.graph
    assert isinstance(home, ir.Graph)
    array = stored_array(operand.value)
    assert array is not None
    axis = _axis(operand.node, space.granularity)
    params = weight_qparams(np.asarray(array, np.float32), space, axis)
    key = (operand.value, space, axis, home)
    new = key not in made
    if new:
        made[key] = _constants(operand.value, array, params, home, rewriter)
    node = rewriter.insert(
        "DequantizeLinear",
        list(made[key]),
        before=operand.node,
        attributes=_layout(params, space),
        outputs=[f"{operand.value.name or 'weight'}_dequantized"],
        dtype=operand.value.dtype or ir.DataType.FLOAT,
        shape=operand.value.shape,
    )
    rewriter.set_input(operand.node, operand.index, node.outputs[0])
    return int(new)


def _constants(
    weight: ir.Value, array: Array, params: QParams, home: ir.Graph, rewriter: Rewriter
) -> tuple[ir.Value, ...]:
    """Integers, scales and zero points in the product's own graph.

    ONNX Runtime's fusion to MatMulNBits does not look for them in outer scopes and fails to load
    the model ("Missing required weight", qdq_actions.cc of 1.31.1).
    """
    name = weight.name or "weight"
    data = quantize(np.asarray(array, np.float32), params)
    parts: dict[str, Array | ir.TensorProtocol] = {
        "quantized": ir.Tensor(data, dtype=params.space.dtype),
        "scale": np.asarray(params.scale, np.float32),
        "zero_point": _zero_point(params, params.space),
    }
    return tuple(rewriter.constant(part, f"{name}_{kind}", home) for kind, part in parts.items())


def _zero_point(params: QParams, space: QSpace) -> ir.TensorProtocol:
    return ir.Tensor(params.zero_point.astype(space.dtype.numpy()), dtype=space.dtype)


def _layout(params: QParams, space: QSpace) -> dict[str, int]:
    if params.axis is None:
        return {}
    blocks = {} if space.group_size is None else {"block_size": space.group_size}
    return {"axis": params.axis, **blocks}
