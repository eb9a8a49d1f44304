"""`resolve`: program, legal forms and plan → the one record of all that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qcompiler.decisions.absorbed import NOTHING, Absorbed
from qcompiler.decisions.concat_loss import concat_losses
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import (
    BiasRounding,
    OperandPlacement,
    Placement,
    RegionPlacement,
    StoredOperand,
)
from qcompiler.decisions.roundings import GUARDED, Rounding, nearest, weight_layout
from qcompiler.decisions.scale_groups import Chosen, ScaleGroups
from qcompiler.errors import LegalityError
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.qdq import dequantized_params
from qcompiler.ir.regions import Operand, Region, stored_data
from qcompiler.ir.walk import is_op, rank, stored_array
from qcompiler.quantization.biases import bias_range_guard, bias_scale, quantize_bias
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import FloatArray, QParams, QSpace
from qcompiler.target.capability import BiasForm, Kernel


def resolve(
    observations: Mapping[str, Observer],
    options: Sequence[Options],
    plan: Plan,
    source: Absorbed | None = None,
) -> Placement:
    """Decides scales, zero points and integers of a plan.

    Args:
        observations: What calibration saw, by value name.
        options: Legal forms of every region of the float program; regions that the plan does not
            name stay float.
        plan: Precision of every region.
        source: What a quantized source fixed; its parameters of values win over what was seen.

    Raises:
        LegalityError: The plan asks for a form that a region does not have, or for a value that
            was not observed.
    """
    chosen = [found for each in options if (found := _chosen(each, plan)) is not None]
    static = [each for each in chosen if each.form.kernel is Kernel.STATIC]
    groups = ScaleGroups(observations, static, (source or NOTHING).values)
    regions = {each.region.key: _placed(each, groups) for each in chosen}
    losses = concat_losses(observations, static)
    changed = groups.changed
    return Placement(plan.target, regions, groups.values(), groups.count, losses, changed)


def _chosen(options: Options, plan: Plan) -> Chosen | None:
    region = options.region
    precision = plan.precision(region.key)
    if precision == FLOAT:
        return None
    form = options.named(precision)
    if form is None:
        raise LegalityError(
            f"{region} cannot run as {precision} on {plan.target}",
            why="; ".join(options.reasons) or None,
            fix="give it another precision, float32 among them",
        )
    return Chosen(region, form)


def _placed(chosen: Chosen, groups: ScaleGroups) -> RegionPlacement:
    region, form = chosen.region, chosen.form
    static = form.kernel is Kernel.STATIC
    made = form.output if static else None
    read = chosen.quantized_operands if static else ()
    placed = RegionPlacement(
        region.key,
        form,
        tuple(node.name or "" for node in region.nodes),
        tuple(_operand(each, chosen, groups, read) for each in region.activations),
        _stored(region.weight),
        _stored(region.bias),
        region.output.name or "",
        None if made is None else groups.of_value(region.output, made),
    )
    return _with_weight(replace(placed, constants=_data(placed, region)), region)


def _operand(
    operand: Operand, chosen: Chosen, groups: ScaleGroups, read: Sequence[Operand]
) -> OperandPlacement:
    name, space = operand.value.name or "", chosen.form.activation
    if space is None or all(each is not operand for each in read):
        return OperandPlacement(operand.node.name or "", operand.index, name)
    params, requantized = groups.of_operand(operand, space)
    return OperandPlacement(operand.node.name or "", operand.index, name, params, requantized)


def _data(placed: RegionPlacement, region: Region) -> tuple[StoredOperand, ...]:
    """Stored data in the output's parameters where they are shared, else in those of its range."""
    space = placed.form.activation
    if space is None or placed.written is None:
        return ()
    found = []
    for operand in stored_data(region.anchor):
        array = stored_array(operand.value)
        behind = is_op(operand.value.producer(), "DequantizeLinear")
        if behind or array is None or array.dtype.kind != "f":
            continue
        exact = np.asarray(array, np.float32)
        own = choose_qparams(exact.min(initial=0.0), exact.max(initial=0.0), space)
        params = placed.written if placed.form.shares_scale else own
        read = _stored(operand)
        assert read is not None
        found.append(StoredOperand(read, Rounding(params, quantize(exact, params))))
    return tuple(found)


def _stored(operand: Operand | None) -> OperandPlacement | None:
    if operand is None:
        return None
    return OperandPlacement(operand.node.name or "", operand.index, operand.value.name or "")


def _with_weight(placed: RegionPlacement, region: Region) -> RegionPlacement:
    """The region with the integers of its weight and its bias."""
    space, weight = placed.form.weight, region.weight
    if space is None or weight is None or is_op(region.anchor, "LSTM", "GRU", "RNN"):
        return placed
    static = placed.form.kernel is Kernel.STATIC
    taken = static and _is_taken_as_it_is(region, space)
    rounding = None if taken else nearest(region.anchor, weight.value, space)
    step = _input_scale(placed, region)
    bias = stored_array(region.bias.value) if region.bias is not None else None
    if placed.form.bias is not BiasForm.INT32 or bias is None or step is None:
        return replace(placed, rounding=rounding)
    exact = np.asarray(bias, np.float32)
    scale = _stored_scale(weight)
    raised = 0
    if rounding is not None:
        rounding, raised = _guarded(rounding, exact, step, weight)
        scale = rounding.params.scale
    if scale is None:
        return replace(placed, rounding=rounding)
    integers = bias_rounding(exact, step, scale)
    return replace(placed, rounding=rounding, bias_rounding=integers, raised=raised)


def _is_taken_as_it_is(region: Region, space: QSpace) -> bool:
    """Whether the source stores the weight in integers that a static form takes as they are."""
    assert region.weight is not None
    params = dequantized_params(region.weight.value)
    if params is None or params.space.dtype is not space.dtype:
        return False
    if space.symmetric and np.any(params.zero_point):
        return False
    _, axis = weight_layout(region.anchor, space, rank(region.weight.value) or 0)
    return params.axis is None or params.axis == axis


def _guarded(
    rounding: Rounding, bias: FloatArray, step: np.float32, weight: Operand
) -> tuple[Rounding, int]:
    """The rounding under which the bias fits int32, and how many channels were raised for it."""
    guarded = bias_range_guard(bias.reshape(-1), step, rounding.params)
    if guarded is rounding.params:
        return rounding, 0
    array = stored_array(weight.value)
    assert array is not None
    integers = quantize(np.asarray(array, np.float32), guarded)
    raised = int(np.sum(guarded.scale != rounding.params.scale))
    return Rounding(guarded, integers, GUARDED), raised


def bias_rounding(bias: FloatArray, step: np.float32, weight_scale: FloatArray) -> BiasRounding:
    """A float bias in int32 steps of input scale * weight scale.

    Args:
        bias: float32 [C], or [1, ..., 1, C], or a scalar.
        step: Scale of the input.
        weight_scale: () or [C].
    """
    scale = bias_scale(step, weight_scale)
    # A MatMul's bias may have leading ones; ONNX takes scales along one axis.
    axis = max(bias.ndim - 1, 0)
    spread = np.broadcast_to(scale, bias.shape).reshape(-1)[: max(bias.shape[-1:] or (1,))]
    along = np.asarray(spread if bias.ndim else spread.reshape(()), np.float32)
    integers = np.asarray(quantize_bias(bias, step, weight_scale), np.int32)
    return BiasRounding(along, integers, axis)


def _input_scale(placed: RegionPlacement, region: Region) -> np.float32 | None:
    """Per-tensor scale that the anchor's input is read with; that of a source's own Q/DQ counts."""
    if not placed.activations:
        return None
    params = placed.activations[0].params or _source_params(region)
    return np.float32(params.scale) if params is not None and params.axis is None else None


def _source_params(region: Region) -> QParams | None:
    return dequantized_params(region.activations[0].value)


def _stored_scale(weight: Operand) -> FloatArray | None:
    """The scale of a weight that the source stores as integers already."""
    params = dequantized_params(weight.value)
    return None if params is None else params.scale
