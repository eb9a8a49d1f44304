"""The rewrites of `float_faults`: the same numbers by ONNX's definition, in a form OpenVINO runs.

Each takes a node and returns None (nothing to do, or done), or why it cannot be done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, uses

_UNKNOWN_SIZE = "the sizes of its input are open"
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip
_MAPPED = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}


def explicit_transposed_pads(node: ir.Node, rewriter: Rewriter) -> str | None:
    """ConvTranspose with `pads` and `output_padding` only.

    Source: ONNX, ConvTranspose: total_padding = stride * (in - 1) + output_padding
    + (kernel - 1) * dilation + 1 - output_shape; SAME_UPPER has the odd one at the end.
    """
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    wanted = list(node.attributes.get_ints("output_shape", ()))
    if mode in ("NOTSET", "VALID") and not wanted:
        return None
    kernel = _kernel(node)
    if kernel is None:
        return "the size of its kernel is open"
    axes = len(kernel)
    strides = _ints(node, "strides", axes, 1)
    extra = _ints(node, "output_padding", axes, 0)
    reach = _reach(node, kernel)
    if wanted:
        sizes = _spatial(node.inputs[0], axes)
        if sizes is None:
            return _UNKNOWN_SIZE
        totals = [
            stride * (size - 1) + more + span - out
            for stride, size, more, span, out in zip(
                strides, sizes, extra, reach, wanted[-axes:], strict=True
            )
        ]
    else:  # the result is stride times as long, whatever the length is
        totals = [max(m + r - s, 0) for m, r, s in zip(extra, reach, strides, strict=True)]
    extra = [more + max(-total, 0) for more, total in zip(extra, totals, strict=True)]
    totals = [max(total, 0) for total in totals]
    small = [total // 2 for total in totals]
    large = [total - half for total, half in zip(totals, small, strict=True)]
    first, last = (small, large) if mode == "SAME_UPPER" else (large, small)
    for name in ("auto_pad", "output_shape"):
        rewriter.set_attribute(node, name, None)
    rewriter.set_attribute(node, "pads", [*first, *last])
    rewriter.set_attribute(node, "output_padding", extra)
    return None


def pad_before_average(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The padding that counts becomes a Pad; windows are then cut at the padded data's end."""
    counted = node.attributes.get_int("count_include_pad", 0)
    if not counted or not node.attributes.get_int("ceil_mode", 0):
        return None
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None  # SAME leaves nothing to round up
    kernel = list(node.attributes.get_ints("kernel_shape"))
    axes = len(kernel)
    strides, pads = _ints(node, "strides", axes, 1), _ints(node, "pads", 2 * axes, 0)
    reach, sizes, data = _reach(node, kernel), _spatial(node.inputs[0], axes), node.inputs[0]
    if not any(pads) or data is None:
        rewriter.set_attribute(node, "count_include_pad", None)
        return None
    if sizes is None and not _never_dropped(reach, strides, pads):
        return _UNKNOWN_SIZE
    for axis, (size, span, stride) in enumerate(
        zip(sizes or (), reach, strides, strict=bool(sizes))
    ):
        start, end = pads[axis], pads[axes + axis]
        count = math.ceil((size + start + end - span) / stride) + 1
        if (count - 1) * stride >= size + start:  # the last window is none: cut what it began in
            pads[axes + axis] = (count - 2) * stride + span - size - start
    amounts = np.asarray([0, 0, *pads[:axes], 0, 0, *pads[axes:]], np.int64)
    inputs = [data, rewriter.constant(amounts, "pads")]
    padded = rewriter.insert("Pad", inputs, before=node, dtype=data.dtype)
    rewriter.set_input(node, 0, padded.outputs[0])
    for name in ("pads", "count_include_pad"):
        rewriter.set_attribute(node, name, None)
    return None


def _never_dropped(reach: Sequence[int], strides: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether a window that starts behind the data cannot be, whatever the sizes are."""
    ends = pads[len(strides) :]
    return all(r >= s + end for r, s, end in zip(reach, strides, ends, strict=True))


def floor_instead_of_ceil(node: ir.Node, rewriter: Rewriter) -> str | None:
    """Padding at the end makes up for what `ceil_mode` adds; it is neutral to both pools."""
    if not node.attributes.get_int("ceil_mode", 0):
        return None
    kernel = list(node.attributes.get_ints("kernel_shape"))
    axes = len(kernel)
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        rewriter.set_attribute(node, "ceil_mode", None)  # SAME leaves nothing to round up
        return None
    strides, pads = _ints(node, "strides", axes, 1), _ints(node, "pads", 2 * axes, 0)
    reach, sizes = _reach(node, kernel), _spatial(node.inputs[0], axes)
    if sizes is None:
        kept = node.op_type == "MaxPool" and _never_dropped(reach, strides, pads)
        return None if kept else _UNKNOWN_SIZE
    for axis, (size, span, stride) in enumerate(zip(sizes, reach, strides, strict=True)):
        start = pads[axis]
        count = math.ceil((size + start + pads[axes + axis] - span) / stride) + 1
        if (count - 1) * stride >= size + start:
            count -= 1  # ONNX: a window has to start in the data or the padding before it
        pads[axes + axis] = max(0, (count - 1) * stride + span - size - start)
    rewriter.set_attribute(node, "ceil_mode", None)
    rewriter.set_attribute(node, "auto_pad", None)
    rewriter.set_attribute(node, "pads", pads)
    return None


def sizes_of_kept_ratio(node: ir.Node, rewriter: Rewriter) -> str | None:
    """Resize to the sizes that the policy leads to; ONNX: round(size * the chosen ratio)."""
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or len(node.inputs) < 4 or node.inputs[3] is None:
        return None
    wanted, data = constant(node.inputs[3]), node.inputs[0]
    shape = data.shape if data is not None else None
    if wanted is None or shape is None:
        return "its sizes are computed"
    axes = list(node.attributes.get_ints("axes", range(len(shape))))
    sizes = [shape[axis] for axis in axes]
    if not all(isinstance(size, int) for size in sizes):
        return _UNKNOWN_SIZE
    known = np.asarray([int(size) for size in sizes if isinstance(size, int)], np.float64)
    ratios = wanted.astype(np.float64) / known
    ratio = ratios.min() if policy == "not_larger" else ratios.max()
    chosen = np.rint(known * ratio).astype(np.int64)
    if not np.allclose(chosen, known * ratio, rtol=1e-9, atol=0):
        return "its ratio leads to a size between two"  # ONNX then samples by another ratio
    rewriter.set_input(node, 3, rewriter.constant(chosen, "sizes"))
    rewriter.set_attribute(node, "keep_aspect_ratio_policy", None)
    return None


def reduction_over_nothing(node: ir.Node, rewriter: Rewriter) -> str | None:
    """A reduction of no axis works on single elements."""
    if not node.attributes.get_int("noop_with_empty_axes", 0):
        return None
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes, data = constant(given), node.inputs[0]
    if given is not None and axes is None:
        return "its axes are computed"
    if axes is not None and axes.size:
        return None
    operands = [data, data] if node.op_type == "ReduceSumSquare" else [data]
    op = "Mul" if node.op_type == "ReduceSumSquare" else _MAPPED.get(node.op_type, "Identity")
    rewriter.recompose(node.outputs[0], op, operands)
    return None


_LOWEST = float(np.finfo(np.float32).min)


def extreme_of_infinity(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The largest of numbers that are all -inf is -inf: the plugin begins with the lowest number.

    The smallest of +inf alike. A result that is that lowest number itself becomes -inf, too.
    """
    output = node.outputs[0]
    if output.dtype is not ir.DataType.FLOAT:
        return None
    largest = node.op_type == "ReduceMax"
    begun = np.array(_LOWEST if largest else -_LOWEST, np.float32)
    attributes = {each.name: each.value for each in node.attributes.values()}
    found = rewriter.insert(
        node.op_type, node.inputs, before=node, attributes=attributes, dtype=output.dtype,
        shape=output.shape,
    ).outputs[0]  # fmt: skip
    bound = rewriter.constant(begun, "begun")
    beyond = rewriter.insert(
        "LessOrEqual" if largest else "GreaterOrEqual", [found, bound], before=node,
        dtype=ir.DataType.BOOL, shape=output.shape,
    ).outputs[0]  # fmt: skip
    infinity = rewriter.constant(np.array(-np.inf if largest else np.inf, np.float32), "infinity")
    rewriter.recompose(output, "Where", [beyond, infinity, found])
    return None


def strict_threshold(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The next threshold: overlap >= next(t) is overlap > t."""
    given = node.inputs[3] if len(node.inputs) > 3 else None
    threshold = np.zeros(1, np.float32) if given is None else constant(given)
    if threshold is None:
        return None
    above = np.nextafter(threshold.astype(np.float32), np.float32(np.inf))
    above = np.maximum(above, np.finfo(np.float32).tiny)  # the plugin takes subnormals for 0
    rewriter.set_input(node, 3, rewriter.constant(above, "iou_threshold"))
    return None


def untie_layouts(program: Program, rewriter: Rewriter) -> None:
    """OV-R15: a square weight read in two layouts gets a copy for each but the first.

    OpenVINO packs such a weight once, and the second product then reads the packing of the first.
    """
    for weight in list(program.graph.initializers.values()):
        shape = weight.shape
        if shape is None or len(shape) < 2 or len(set(shape[:2])) != 1:
            continue
        readers = [
            (node, place, _layout(node)) for node, place in uses(weight) if _is_product(node)
        ]
        held: dict[object, ir.Value] = {}
        for node, place, layout in readers:
            if layout not in held:
                first = not held
                held[layout] = weight if first else _copied(weight, rewriter)
            rewriter.set_input(node, place, held[layout])


def _copied(weight: ir.Value, rewriter: Rewriter) -> ir.Value:
    assert weight.const_value is not None
    return rewriter.constant(weight.const_value, f"{weight.name}_again")


def _is_product(node: ir.Node) -> bool:
    """A product, or the Transpose or DQ in front of one."""
    readers = [use.node for use in uses(node.outputs[0])]
    if is_op(node, "Transpose", "DequantizeLinear"):
        return any(is_op(reader, *LINEAR, "Transpose") for reader in readers)
    return is_op(node, *LINEAR)


def _layout(node: ir.Node) -> tuple[object, ...]:
    turned = bool(node.attributes.get_int("transB", 0)) or is_op(node, "Transpose")
    kind = "product" if is_op(node, "MatMul", "Gemm", "Transpose") else node.op_type
    return kind, turned


def _kernel(node: ir.Node) -> list[int] | None:
    given = list(node.attributes.get_ints("kernel_shape", ()))
    shape = node.inputs[1].shape if node.inputs[1] is not None else None
    if given or shape is None:
        return given or None
    sizes = [size for size in shape[2:] if isinstance(size, int)]
    return sizes if len(sizes) == len(shape) - 2 else None


def _reach(node: ir.Node, kernel: Sequence[int]) -> list[int]:
    """Elements from the first to the last that a window touches."""
    dilations = _ints(node, "dilations", len(kernel), 1)
    return [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]


def _ints(node: ir.Node, name: str, count: int, default: int) -> list[int]:
    return list(node.attributes.get_ints(name, ())) or [default] * count


def _spatial(value: ir.Value | None, axes: int) -> list[int] | None:
    if value is None or value.shape is None or rank(value) != axes + 2:
        return None
    sizes = [size for size in value.shape[2:] if isinstance(size, int)]
    return sizes if len(sizes) == axes else None
