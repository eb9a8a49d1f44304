"""What else changed up to `WORKING_OPSET`, one small function per change, in one table.

A rule mutates its node in place where it can, so output values keep their names and types.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from qcompiler.errors import UnsupportedOpsetError
from qcompiler.frontends.opset_moves import become
from qcompiler.ir.origin import describe
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, rank, uses

Rule = Callable[[ir.Node, Rewriter], None]

_SAMPLING = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}
_GRID_MODES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}


def align_to_axis(node: ir.Node, rewriter: Rewriter) -> None:
    """Elementwise ops before opset 7: operand 1 is laid along operand 0 from `axis` on.

    Later ones align the last dimensions, so dimensions of size 1 go behind operand 1.

    Raises:
        UnsupportedOpsetError: The ranks are unknown.
    """
    axis = node.attributes.get("axis")
    rewriter.set_attribute(node, "broadcast", None)
    if axis is None:
        return
    rewriter.set_attribute(node, "axis", None)
    whole, part = rank(node.inputs[0]), rank(node.inputs[1])
    if whole is None or part is None:
        raise UnsupportedOpsetError(
            f"{node.op_type} of opset 6 broadcasts along an axis of unknown rank",
            where=describe(node),
            fix="export the model again with opset 13 or newer",
        )
    _stretch(node, whole - axis.as_int() % whole - part, part, rewriter)


def slope_per_channel(node: ir.Node, rewriter: Rewriter) -> None:
    """PRelu-6 has one slope per channel (axis 1), PRelu-7 broadcasts from the last axis."""
    whole, slope = rank(node.inputs[0]), node.inputs[1]
    if whole is None or slope is None or slope.shape is None:
        raise UnsupportedOpsetError(
            "PRelu of opset 6 has operands of unknown rank",
            where=describe(node),
            fix="export the model again with opset 13 or newer",
        )
    if len(slope.shape) == 1 and slope.shape[0] != 1:
        _stretch(node, whole - 2, 1, rewriter)


def _stretch(node: ir.Node, count: int, dims: int, rewriter: Rewriter) -> None:
    """Appends `count` dimensions of size 1 to operand 1, which has `dims`."""
    if count > 0:
        axes = np.arange(dims, dims + count, dtype=np.int64)
        operands = [node.inputs[1], rewriter.constant(axes, f"{node.name}_axes")]
        rewriter.set_input(node, 1, rewriter.insert("Unsqueeze", operands, before=node).outputs[0])


def drop_old_attributes(node: ir.Node, rewriter: Rewriter) -> None:
    """What opset 7 took away, since inference has no use for it."""
    for name in ("is_test", "broadcast", "output_sequence"):
        rewriter.set_attribute(node, name, None)


def drop_spatial(node: ir.Node, rewriter: Rewriter) -> None:
    """BatchNormalization-9 has no `spatial`: 1 is what it does; 0 (per element) is spelt out."""
    attribute = node.attributes.get("spatial")
    if attribute is None:
        return
    rewriter.set_attribute(node, "spatial", None)
    if attribute.as_int() == 0:
        _normalize_elements(node, rewriter)


def _normalize_elements(node: ir.Node, rewriter: Rewriter) -> None:
    """Y = (x − mean) / sqrt(var + ε) · scale + B, elementwise (ONNX BatchNormalization-7)."""
    x, scale, offset, mean, variance = node.inputs[:5]
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    dtype = np.float32 if x is None or x.dtype is None else x.dtype.numpy()
    small = rewriter.constant(np.array(epsilon, dtype=dtype), f"{node.name}_epsilon")

    def step(op_type: str, *operands: ir.Value | None) -> ir.Value:
        return rewriter.insert(op_type, operands, before=node).outputs[0]

    deviation = step("Sqrt", step("Add", variance, small))
    scaled = step("Mul", step("Div", step("Sub", x, mean), deviation), scale)
    become(node, "Add", [scaled, offset])


def drop_batch_statistics(node: ir.Node, rewriter: Rewriter) -> None:
    """BatchNormalization-14 has one output in inference; older ones could list four more.

    Raises:
        UnsupportedOpsetError: One of the four is used: the model is in training mode.
    """
    extra = node.outputs[1:]
    if any(value.uses() or value.is_graph_output() for value in extra):
        raise UnsupportedOpsetError(
            "BatchNormalization in training mode has no equal in newer opsets",
            where=describe(node),
            fix="export the model in evaluation mode",
        )
    node.resize_outputs(1)


def drop_training(node: ir.Node, rewriter: Rewriter) -> None:
    """Dropout-12 has ratio and mode as operands; without them it copies, and its mask is bool."""
    rewriter.set_attribute(node, "ratio", None)


def cast_mask(node: ir.Node, rewriter: Rewriter) -> None:
    """Dropout-7 gave its mask in the type of the data."""
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is None or not mask.uses():
        return
    data = node.inputs[0]
    cast = rewriter.insert("CastLike", [mask, data], after=node, outputs=[f"{mask.name}_cast"])
    others = [use for use in uses(mask) if use.node is not cast]
    rewriter.replace_uses(mask, cast.outputs[0], only=others)
    mask.type = ir.TensorType(ir.DataType.BOOL)  # clones share the old type object


def coerce_to_matrix(node: ir.Node, rewriter: Rewriter) -> None:
    """Softmax-11 normalises over all dimensions from `axis` (1) on; Softmax-13 over one (−1)."""
    axis = node.attributes.get_int("axis", 1)
    data = node.inputs[0]
    dims = rank(data)
    if axis == -1 or (dims is not None and axis in (dims - 1, -1)):
        rewriter.set_attribute(node, "axis", -1)
        return
    before = rewriter.insert("Flatten", [data], before=node, attributes={"axis": axis})
    shape = rewriter.insert("Shape", [data], before=node)
    inner = rewriter.insert(node.op_type, before.outputs, before=node, attributes={"axis": -1})
    become(node, "Reshape", [inner.outputs[0], shape.outputs[0]])


def resample(node: ir.Node, rewriter: Rewriter) -> None:
    """Upsample-9 and Resize-10 (x, scales) → Resize-11 (x, roi, scales).

    They sample at x/scale ("asymmetric"), nearest rounds down; ONNX Runtime, the de-facto
    definition, rounds up when it shrinks.
    """
    mode = _SAMPLING[node.attributes.get_string("mode", "nearest") or "nearest"]
    scales = node.inputs[1]
    attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    if mode == "nearest":
        attributes["nearest_mode"] = "ceil" if _shrinks(scales) else "floor"
    become(node, "Resize", [node.inputs[0], None, scales])
    for name, value in attributes.items():
        rewriter.set_attribute(node, name, value)


def drop_empty_scales(node: ir.Node, rewriter: Rewriter) -> None:
    """Resize-13 takes scales or sizes; Resize-11 wanted an empty tensor in place of either.

    The empty one may be computed (a Concat of empty constants): with sizes there, scales count not.
    """
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        rewriter.set_input(node, 2, None)
    if len(node.inputs) > 1 and _is_empty(node.inputs[1]):
        rewriter.set_input(node, 1, None)


def _is_empty(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.size == 0


def _shrinks(scales: ir.Value | None) -> bool:
    factors = constant(scales)
    return factors is not None and bool((factors < 1).any()) and not (factors > 1).any()


def keep_half_pixel(node: ir.Node, rewriter: Rewriter) -> None:
    """RoiAlign-16 changed its default."""
    if "coordinate_transformation_mode" not in node.attributes:
        rewriter.set_attribute(node, "coordinate_transformation_mode", "output_half_pixel")


def rename_scatter(node: ir.Node, rewriter: Rewriter) -> None:
    """Scatter is called ScatterElements since opset 11."""
    node.op_type = "ScatterElements"


def count_parts(node: ir.Node, rewriter: Rewriter) -> None:
    """Split-18 wants `num_outputs` if no sizes are given."""
    sizes = node.inputs[1] if len(node.inputs) > 1 else None
    if sizes is None:
        rewriter.set_attribute(node, "num_outputs", len(node.outputs))


def rename_grid_mode(node: ir.Node, rewriter: Rewriter) -> None:
    """GridSample-20 says linear and cubic."""
    mode = node.attributes.get_string("mode", "bilinear") or "bilinear"
    rewriter.set_attribute(node, "mode", _GRID_MODES[mode])


def default_dft_axis(node: ir.Node, rewriter: Rewriter) -> None:
    """DFT-20 transforms the last but one axis by default, DFT-17 axis 1."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        rewriter.set_input(
            node, 2, rewriter.constant(np.array(1, dtype=np.int64), f"{node.name}_axis")
        )


def scale_per_channel(node: ir.Node, rewriter: Rewriter) -> None:
    """GroupNormalization-18 scales per group, -21 per channel: repeat every entry C/G times."""
    groups = node.attributes.get_int("num_groups")

    def number(values: list[int]) -> ir.Value:
        return rewriter.constant(np.array(values, dtype=np.int64), f"{node.name}_sizes")

    def step(op_type: str, *operands: ir.Value | None, **attributes: int) -> ir.Value:
        return rewriter.insert(op_type, operands, before=node, attributes=attributes).outputs[0]

    channels = step("Shape", node.inputs[0], start=1, end=2)
    repeats = step("Div", channels, number([groups]))
    shape = step("Concat", number([groups]), repeats, axis=0)
    for index in (1, 2):
        column = step("Reshape", node.inputs[index], number([groups, 1]))
        flat = step("Reshape", step("Expand", column, shape), number([-1]))
        rewriter.set_input(node, index, flat)


def refuse_batched_scan(node: ir.Node, rewriter: Rewriter) -> None:
    """Scan-8 had a batch dimension and sequence lengths, which no later Scan has."""
    raise UnsupportedOpsetError(
        "Scan of opset 8 has no equal in newer opsets",
        where=describe(node),
        fix="export the model with opset 9 or newer",
    )


_BROADCAST: tuple[tuple[int, Rule], ...] = ((7, align_to_axis),)
_OLD: tuple[tuple[int, Rule], ...] = ((7, drop_old_attributes),)
_SOFTMAX: tuple[tuple[int, Rule], ...] = ((13, coerce_to_matrix),)

RULES: dict[str, tuple[tuple[int, Rule], ...]] = {
    **dict.fromkeys("Add And Div Equal Greater Less Mul Or Pow Sub Xor".split(), _BROADCAST),
    **dict.fromkeys(("GRU", "Gemm", "LSTM", "RNN"), _OLD),
    "PRelu": ((7, slope_per_channel),),
    "BatchNormalization": (*_OLD, (9, drop_spatial), (14, drop_batch_statistics)),
    "DFT": ((20, default_dft_axis),),
    "Dropout": (*_OLD, (10, cast_mask), (12, drop_training)),
    "GridSample": ((20, rename_grid_mode),),
    "GroupNormalization": ((21, scale_per_channel),),
    "Hardmax": _SOFTMAX,
    "LogSoftmax": _SOFTMAX,
    "Resize": ((11, resample), (13, drop_empty_scales)),
    "RoiAlign": ((16, keep_half_pixel),),
    "Scan": ((9, refuse_batched_scan),),
    "Scatter": ((11, rename_scatter),),
    "Softmax": _SOFTMAX,
    "Split": ((18, count_parts),),
    "Upsample": ((10, resample),),
}
"""By op: (the opset that changed it, what to do). Source: the ONNX operator changelog."""
