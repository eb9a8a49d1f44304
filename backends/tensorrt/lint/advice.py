"""Advice P1–P13: accepted graphs that could be faster, smaller or less fragile."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Verdict
from qcompiler.backends.tensorrt.lint.view import (
    Quantization,
    View,
    both_sides,
    dequantizer,
    quantization,
    stored_type,
)
from qcompiler.ir.walk import constant, is_constant, is_op, sole_user, uses
from qcompiler.target.explicit_qdq import COMMUTING

_READERS = ("Add", "Conv", "MatMul", "Gemm")
"""Ops that may read a quantized result of a weighted op; for Add see `residual_adds`."""
_AVERAGES = ("AveragePool", "GlobalAveragePool")
_BLOCK_FLOAT_OPS = ("TRT_MXFP8DynamicQuantize", "TRT_FP4DynamicQuantize")
_MIN_CHANNELS = 16


def lowest_weight(view: View) -> Iterator[Finding]:
    """P1: weights within [-127, 127], as older releases ask."""
    for found in view.quantizations:
        values = None if found.quantizes else constant(found.data)
        int8 = found.stored_type is ir.DataType.INT8
        if int8 and values is not None and values.size and values.min() == -128:
            yield Finding(found.node, "a weight is -128; older releases ask for [-127, 127]")


def integer_interface(view: View) -> Iterator[Finding]:
    """P2: int8 inputs and outputs are the caller's to quantize."""
    graph = view.model.graph
    for value in (*graph.inputs, *graph.outputs):
        if value.dtype is ir.DataType.INT8:
            yield Finding(None, f"'{value.name}' is int8: the caller quantizes it")


def quantized_outputs(view: View) -> Iterator[Finding]:
    """P3: no Q right behind a weighted op, unless the next weighted op reads it."""
    for node in view.quantized:
        found = quantization(sole_user(node.outputs[0]))
        if found is None or not found.quantizes or not uses(found.node.outputs[0]):
            continue
        readers = [use.node for use in uses(found.node.outputs[0])]
        ends = [use.node for reader in readers for use in uses(reader.outputs[0])]
        if ends and not any(is_op(end, *_READERS, *COMMUTING) for end in ends):
            yield Finding(node, f"its output is quantized by {found.node.name} before an op")


def residual_adds(view: View) -> Iterator[Finding]:
    """P4: Q/DQ on one operand of a residual Add, and not on the only convolution's."""
    for node in view.nodes:
        operands = node.inputs if is_op(node, "Add") else ()
        branches = [value for value in operands if _quantized_conv_behind(value)]
        quantized = [value for value in operands if dequantizer(value) is not None]
        if not branches:
            continue
        if all(value in quantized for value in branches):
            yield Finding(node, "Q/DQ stands between the convolution and the residual Add")
        elif not quantized and not any(is_constant(value) for value in operands):
            yield Finding(node, "the skip operand of the residual Add is not quantized")


def needless_pairs(view: View) -> Iterator[Finding]:
    """P5: no Q/DQ behind an op that DQ moves through anyway."""
    for found in _quantizers(view):
        producer = found.data.producer() if found.data is not None else None
        if producer is not None and is_op(producer, *COMMUTING) and dequantizer(found.data):
            yield Finding(found.node, f"not needed behind {producer.op_type}")


def concat_scales(view: View) -> Iterator[Finding]:
    """P6: all operands of a Concat on one scale."""
    for node in view.nodes:
        if not is_op(node, "Concat"):
            continue
        sources = [dequantizer(value) for value in node.inputs]
        if all(sources) and dequantizer(node.outputs[0]) is None:
            yield Finding(node, "its operands are quantized with different scales")


def doubled_pairs(view: View) -> Iterator[Finding]:
    """P7: no Q/DQ directly behind Q/DQ."""
    for found in _quantizers(view):
        before = quantization(found.data.producer()) if found.data is not None else None
        if before is not None and not before.quantizes:
            yield Finding(found.node, f"directly behind {before.node.name}")


def averages(view: View) -> Iterator[Finding]:
    """P8: pooling runs in int8 only with Q on both sides."""
    for node in view.nodes:
        if is_op(node, *_AVERAGES) and dequantizer(node.inputs[0]) is not None:
            readers = [quantization(use.node) for use in uses(node.outputs[0])]
            if not any(reader and reader.quantizes for reader in readers):
                yield Finding(node, "its input is quantized but not its output: runs in float")


def narrow_convolutions(view: View) -> Iterator[Finding]:
    """P9: few channels are slower in int8, the first layer excepted."""
    for node in view.quantized:
        weight = both_sides(node)[1]
        shape = weight.data.shape if weight is not None and weight.data is not None else None
        if shape is None or not is_op(node, "Conv") or _is_first(node):
            continue
        group = node.attributes.get_int("group", 1)
        channels = [shape[0], shape[1]] if group == 1 else [shape[0]]
        small = [dim for dim in channels if isinstance(dim, int) and _awkward(dim, group)]
        if small:
            yield Finding(node, f"{small[0]} channels are few for an int8 convolution")


def half_scales(view: View) -> Iterator[Finding]:
    """P10: before opset 19 scales have the type of the data."""
    for found in view.quantizations:
        real = stored_type(found.data) if found.quantizes else None
        scale = found.scale.dtype if found.scale is not None else None
        if view.opset < 19 and real is not None and scale is not None and real is not scale:
            yield Finding(found.node, f"{scale.name.lower()} scale for {real.name.lower()} data")


def block_floats(view: View) -> Iterator[Finding]:
    """P11: MXFP8 and NVFP4 need SM 100 and more."""
    for node in view.nodes:
        if node.op_type in _BLOCK_FLOAT_OPS and view.compute_capability < 100:
            yield Finding(node, f"{node.op_type} needs SM 100 or more")


def plugins(view: View) -> Iterator[Finding]:
    """P12: Q/DQ around a plugin is not folded into it."""
    for node in view.nodes:
        foreign = node.domain not in ("", "ai.onnx", "com.microsoft", "trt")
        if foreign and any(dequantizer(value) for value in node.inputs):
            yield Finding(node, f"Q/DQ around the plugin {node.op_type} is not folded into it")


def saturation(view: View) -> Iterator[Finding]:
    """P13: TensorRT always saturates."""
    for found in _quantizers(view):
        if found.node.attributes.get_int("saturate", 1) == 0:
            yield Finding(found.node, "saturate=0, but TensorRT saturates", Verdict.NUMERICS)


def _quantizers(view: View) -> Iterator[Quantization]:
    return (found for found in view.quantizations if found.quantizes)


def _quantized_conv_behind(value: ir.Value | None) -> bool:
    """Whether a quantized convolution, with or without Q/DQ behind it, makes the value."""
    producer = value.producer() if value is not None else None
    for _ in range(2):
        found = quantization(producer)
        if found is not None and found.data is not None:
            producer = found.data.producer()
    if producer is None or not is_op(producer, "Conv"):
        return False
    return all(both_sides(producer))


def _is_first(node: ir.Node) -> bool:
    found = both_sides(node)[0]
    inner = quantization(found.data.producer()) if found and found.data is not None else None
    return inner is not None and inner.data is not None and inner.data.is_graph_input()


def _awkward(channels: int, group: int) -> bool:
    return channels % 8 != 0 and (group > 1 or channels < _MIN_CHANNELS)
