"""Quantized values become float values, and their parameters are kept.

An integer kernel saturates, and where its zero point is the lowest integer, that is a Relu which
the quantizer has dropped: it is put back. So is the bound of a Relu6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.optraits import activation_positions, traits
from qcompiler.ir.qdq import params_of
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, constant, is_op, is_stored, uses
from qcompiler.passes.placement.fold_qdq import same_parameters
from qcompiler.quantization.qspace import QParams

_RELU6 = 6.0
_CLOSE = 1e-3


@dataclass(eq=False)
class Values:
    """Parameters of values of the float graph, and what was not as simple."""

    params: dict[ir.Value, QParams] = field(default_factory=dict)
    left: list[ir.Node] = field(default_factory=list)
    differing: list[ir.Value] = field(default_factory=list)
    restored: int = 0

    def note(self, value: ir.Value, params: QParams) -> None:
        """Keeps the first parameters of a value; others are told."""
        first = self.params.setdefault(value, params)
        if not first.same_as(params):
            self.differing.append(value)

    def named(self) -> dict[str, QParams]:
        """By name, as values are called now."""
        return {value.name: params for value, params in self.params.items() if value.name}


def absorb_pairs(rewriter: Rewriter) -> Values:
    """Takes out every QuantizeLinear with the DequantizeLinears behind it."""
    found = Values()
    for graph in all_graphs(rewriter.program.model):
        for node in list(graph):
            if node.graph is None:
                continue
            if is_op(node, "QuantizeLinear"):
                _absorb(node, rewriter, found)
            elif is_op(node, "DynamicQuantizeLinear"):
                _absorb_dynamic(node, rewriter)
    for graph in all_graphs(rewriter.program.model):
        for node in graph:
            if is_op(node, "DequantizeLinear") and not is_stored(node.inputs[0]):
                _note_source(node, found)
    return found


def tensor_params(node: ir.Node) -> QParams | None:
    """Constant parameters for the whole tensor; None for others."""
    try:
        params = params_of(node)
    except ConfigurationError:
        return None
    return None if params is None or params.axis is not None else params


def _absorb(quantize: ir.Node, rewriter: Rewriter, found: Values) -> None:
    value, params = quantize.inputs[0], tensor_params(quantize)
    if value is None or is_stored(value):
        return
    if params is None:
        found.left.append(quantize)
        return
    readers = [use.node for use in uses(quantize.outputs[0])]
    pairs = [each for each in readers if is_op(each, "DequantizeLinear")]
    pairs = [each for each in pairs if same_parameters(each, quantize)]
    kept = value
    if pairs and not params.space.is_float:
        kept = _with_activation(quantize, value, params, rewriter)
        found.restored += kept is not value
    for each in pairs:
        rewriter.replace_uses(each.outputs[0], kept)
        rewriter.erase_dead(each)
    if quantize.graph is not None and len(pairs) < len(readers):
        found.left.append(quantize)
    if not params.space.is_float:
        found.note(kept, params)


def _note_source(dequantize: ir.Node, found: Values) -> None:
    """An input in integers, or what an operator writes that is not known here."""
    params = tensor_params(dequantize)
    producer = dequantize.inputs[0].producer() if dequantize.inputs[0] is not None else None
    if params is not None and not params.space.is_float and not is_op(producer, "QuantizeLinear"):
        found.note(dequantize.outputs[0], params)


def _absorb_dynamic(node: ir.Node, rewriter: Rewriter) -> None:
    """x → DynamicQuantizeLinear → DequantizeLinear is x; its range is that of each run."""
    value = node.inputs[0]
    assert value is not None
    for use in uses(node.outputs[0]):
        reader = use.node
        own = list(reader.inputs[1:3]) == list(node.outputs[1:3])
        if is_op(reader, "DequantizeLinear") and own:
            rewriter.replace_uses(reader.outputs[0], value)
            rewriter.erase_dead(reader)


def _with_activation(
    quantize: ir.Node, value: ir.Value, params: QParams, rewriter: Rewriter
) -> ir.Value:
    """The value behind the activation that saturation does, if it does one."""
    if int(params.zero_point) != params.space.qmin or value.producer() is None:
        return value
    if _never_negative(value):
        return value
    high = params.representable.high
    stem = value.name or "value"
    if abs(high - _RELU6) > _CLOSE * _RELU6:
        made = rewriter.insert(
            "Relu", [value], before=quantize, outputs=(f"{stem}_relu",),
            dtype=value.dtype, shape=value.shape,
        )  # fmt: skip
    else:
        kind = (value.dtype or ir.DataType.FLOAT).numpy()
        ends = [rewriter.constant(np.asarray(end, kind), f"{stem}_bound") for end in (0.0, high)]
        made = rewriter.insert(
            "Clip", [value, *ends], before=quantize, outputs=(f"{stem}_relu6",),
            dtype=value.dtype, shape=value.shape,
        )  # fmt: skip
    return made.outputs[0]


def _never_negative(value: ir.Value, depth: int = 64) -> bool:
    """Whether what computes the value, or passes it on, says so; inputs are taken as they are."""
    node = value.producer()
    if node is None:
        array = constant(value)
        return array is None or bool(np.all(array >= 0))
    if is_op(node, "DequantizeLinear"):
        params = tensor_params(node)
        return params is not None and int(params.zero_point) == params.space.qmin
    bounds, row = activation_bounds(node), traits(node)
    if bounds is not None:
        return bounds.low >= 0
    if row.output_range is not None:
        return row.output_range[0] >= 0
    passes_on = row.shares_scale or is_op(node, "AveragePool", "GlobalAveragePool", "ReduceMean")
    if not passes_on or depth == 0:
        return False
    sources = [node.inputs[position] for position in activation_positions(node)]
    return bool(sources) and all(
        source is not None and _never_negative(source, depth - 1) for source in sources
    )
