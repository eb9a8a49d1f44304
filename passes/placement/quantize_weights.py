"""`quantize-weights`: stores the weights of integer regions as integers behind DequantizeLinear.

One weight used by several regions in one form is stored once. Where a bias would leave the int32
range (a channel with next to no weight but a real bias), the channel's scale is raised just enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.execution.integer.extraction import params_of
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, stored_array
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import bias_range_guard, quantize, weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace
from qcompiler.target.capability import BiasForm
from qcompiler.target.placement import Placed, placed_regions


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Quantizes the weight of every region that the plan runs in a static integer form."""

    name: ClassVar[str] = "quantize-weights"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.WEIGHTS_QUANTIZED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("quantize-weights needs a target")
        store = WeightStore(rewriter)
        placed = [p for p in placed_regions(program, context.target) if p.form.weight]
        raised = 0
        for each in placed:
            weight = each.region.weight
            if weight is None or stored_array(weight.value) is None or _is_stored_so(each):
                continue
            params, guarded = weight_parameters(each)
            raised += guarded
            store.put(weight, params)
        rewriter.drop_unused_constants()
        return Outcome(details={"weights": store.stored, "raised channels": raised})


def _is_stored_so(placed: Placed) -> bool:
    """Whether the model stores the weight in integers that the form takes as they are."""
    weight, space = placed.region.weight, placed.form.weight
    node = None if weight is None else weight.value.producer()
    if space is None or node is None or not is_op(node, "DequantizeLinear"):
        return False
    params = params_of(node)
    if params is None or params.space.dtype is not space.dtype:
        return False
    if space.symmetric and np.any(params.zero_point):
        return False
    _, axis = channel_layout(placed.region.anchor, space)
    return params.axis is None or params.axis == axis


def weight_parameters(placed: Placed) -> tuple[QParams, int]:
    """Parameters of a region's weight, and how many channels the bias guard raised."""
    region, form = placed.region, placed.form
    assert region.weight is not None
    assert form.weight is not None
    array = stored_array(region.weight.value)
    assert array is not None
    space, axis = channel_layout(region.anchor, form.weight)
    params = weight_qparams(np.asarray(array, np.float32), space, axis)
    input_scale = dequantized_scale(region.activations[0].value)
    bias = stored_array(region.bias.value) if region.bias is not None else None
    if form.bias is not BiasForm.INT32 or bias is None or input_scale is None:
        return params, 0
    guarded = bias_range_guard(np.asarray(bias, np.float32).reshape(-1), input_scale, params)
    return guarded, int(np.sum(guarded.scale != params.scale))


def channel_layout(node: ir.Node, space: QSpace) -> tuple[QSpace, int | None]:
    """The space and axis for this op's weight; per tensor where channels lie on no single axis."""
    if space.granularity is Granularity.TENSOR:
        return space, None
    axis = weight_channel_axis(node)
    if axis is None:
        return space.with_granularity(Granularity.TENSOR), None
    return space, axis


def dequantized_scale(value: ir.Value) -> float | None:
    """Per-tensor scale of the DequantizeLinear that makes this value, None if there is none."""
    node = value.producer()
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    array = constant(node.inputs[1])
    return float(array.reshape(())) if array is not None and array.size == 1 else None


class WeightStore:
    """Puts integer weights in place; equal requests share one initializer and one DQ per graph."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._stored: dict[tuple[ir.Value, bytes, int | None], tuple[ir.Value, ...]] = {}
        self._copies: dict[tuple[ir.Value, ir.Graph | None], ir.Node] = {}

    @property
    def stored(self) -> int:
        return len(self._stored)

    def put(self, operand: Operand, params: QParams) -> None:
        """Makes a stored operand integers behind a DequantizeLinear."""
        weight, node = operand.value, operand.node
        parts = self.integers(weight, params)
        key = (parts[0], node.graph)
        if key not in self._copies:
            self._copies[key] = self._rewriter.insert(
                "DequantizeLinear",
                list(parts),
                before=node,
                attributes={} if params.axis is None else {"axis": params.axis},
                outputs=[f"{weight.name}_dequantized"],
                dtype=weight.dtype or ir.DataType.FLOAT,
                shape=weight.shape,
            )
        self._rewriter.set_input(node, operand.index, self._copies[key].outputs[0])

    def integers(self, weight: ir.Value, params: QParams) -> tuple[ir.Value, ...]:
        """Initializers (data, scale, zero point) of a weight under these parameters."""
        key = (weight, params.scale.tobytes(), params.axis)
        if key not in self._stored:
            self._stored[key] = self._store(weight, params)
        return self._stored[key]

    def _store(self, weight: ir.Value, params: QParams) -> tuple[ir.Value, ...]:
        array = stored_array(weight)
        if array is None:
            raise LegalityError(f"the weight '{weight.name}' is not constant")
        data = quantize(np.asarray(array, np.float32), params)
        dtype = params.space.dtype
        zero = params.zero_point.astype(dtype.numpy())
        name = weight.name or "weight"
        return (
            self._rewriter.constant(ir.Tensor(data, dtype=dtype), f"{name}_quantized"),
            self._rewriter.constant(np.asarray(params.scale, np.float32), f"{name}_scale"),
            self._rewriter.constant(ir.Tensor(zero, dtype=dtype), f"{name}_zero_point"),
        )
