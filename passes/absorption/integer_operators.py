"""Operators that read and write integers, as the float operator between Q and DQ.

Sources: ONNX operators QLinearConv-10 and QLinearMatMul-21; ONNX Runtime's docs/ContribOperators.md
for `com.microsoft`. An operator whose parameters are not plain is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, rank
from qcompiler.passes.absorption.quantized_form import QuantizedForm

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def write_in_float(node: ir.Node, rewriter: Rewriter) -> bool:
    """Writes one operator of `LOWERED` as Q/DQ; False if it is none that can be."""
    return LOWERED[node.op_type](QuantizedForm(node, rewriter))


def _conv(form: QuantizedForm) -> bool:
    if form.node.attributes.get_int("channels_last", 0) != 0:
        return False
    data, weight, bias = form.read(0), form.read(3, axis=0), form.operand(8)
    if data is None or weight is None:
        return False
    inputs = [data, weight]
    if bias is not None:
        added = form.integer_bias(bias, form.operand(1), form.operand(4))
        if added is None:
            return False
        inputs.append(added)
    result = form.compute("Conv", inputs, form.attributes(*_WINDOW))
    return form.write(result, form.operand(6), form.operand(7))


def _matmul(form: QuantizedForm) -> bool:
    second = form.operand(3)
    left, right = form.read(0), form.read(3, axis=(rank(second) or 1) - 1)
    if left is None or right is None:
        return False
    return form.write(form.compute("MatMul", [left, right]), form.operand(6), form.operand(7))


def _gemm(form: QuantizedForm) -> bool:
    turned = form.node.attributes.get_int("transB", 0) == 1
    left, right, bias = form.read(0), form.read(3, axis=0 if turned else 1), form.operand(6)
    if left is None or right is None:
        return False
    alpha = form.node.attributes.get_float("alpha", 1.0)
    inputs = [left, right]
    if bias is not None:
        unit = form.rewriter.constant(np.asarray(alpha, np.float32), "alpha")
        added = form.integer_bias(bias, form.operand(1), form.operand(4), unit)
        if added is None:
            return False
        inputs.append(added)
    result = form.compute("Gemm", inputs, form.attributes("alpha", "transA", "transB"))
    return form.write(result, form.operand(7), form.operand(8))


def _binary(op_type: str) -> Callable[[QuantizedForm], bool]:
    def write(form: QuantizedForm) -> bool:
        left, right = form.read(0), form.read(3)
        if left is None or right is None:
            return False
        result = form.compute(op_type, [left, right])
        return form.write(result, form.operand(6), form.operand(7))

    return write


def _unary(op_type: str, *attributes: str) -> Callable[[QuantizedForm], bool]:
    def write(form: QuantizedForm) -> bool:
        data = form.read(0)
        if data is None or form.node.attributes.get_int("channels_last", 0) != 0:
            return False
        result = form.compute(op_type, [data], form.attributes(*attributes))
        return form.write(result, form.operand(3), form.operand(4))

    return write


def _softmax(form: QuantizedForm) -> bool:
    """Before opset 13 all axes from `axis` on are one; that is today's where it is the last."""
    axis, dims = form.node.attributes.get_int("axis", -1), rank(form.operand(0))
    last = axis == -1 or (dims is not None and axis == dims - 1)
    if form.node.attributes.get_int("opset", 13) < 13 and not last:
        return False
    data = form.read(0)
    if data is None:
        return False
    result = form.compute("Softmax", [data], {"axis": axis})
    return form.write(result, form.operand(3), form.operand(4))


def _concat(form: QuantizedForm) -> bool:
    parts = [form.read(index) for index in range(2, len(form.node.inputs), 3)]
    if not all(part is not None for part in parts):
        return False
    result = form.compute("Concat", parts, form.attributes("axis"))
    return form.write(result, form.operand(0), form.operand(1))


def _where(form: QuantizedForm) -> bool:
    left, right = form.read(1), form.read(4)
    if left is None or right is None:
        return False
    result = form.compute("Where", [form.operand(0), left, right])
    return form.write(result, form.operand(7), form.operand(8))


def _matmul_to_float(form: QuantizedForm) -> bool:
    """MatMulIntegerToFloat: (A, B, a_scale, b_scale, a_zero_point?, b_zero_point?, bias?)."""
    a, b, a_scale, b_scale = (form.operand(index) for index in range(4))
    if a is None or b is None or a_scale is None or b_scale is None:
        return False
    left = form.dequantized(a, a_scale, form.operand(4))
    right = form.dequantized(b, b_scale, form.operand(5), axis=(rank(b) or 1) - 1)
    return left is not None and right is not None and _product(form, left, right, form.operand(6))


def _dynamic_matmul(form: QuantizedForm) -> bool:
    """DynamicQuantizeMatMul: (A in float, B, b_scale, b_zero_point?, bias?)."""
    left, b, b_scale = (form.operand(index) for index in range(3))
    if left is None or b is None or b_scale is None:
        return False
    right = form.dequantized(b, b_scale, form.operand(3), axis=(rank(b) or 1) - 1)
    return right is not None and _product(form, left, right, form.operand(4))


def _product(form: QuantizedForm, left: ir.Value, right: ir.Value, bias: ir.Value | None) -> bool:
    result = form.compute("MatMul", [left, right])
    if bias is not None:
        result = form.compute("Add", [result, bias])
    return form.write(result, None, None)


def _dynamic_lstm(form: QuantizedForm) -> bool:
    """DynamicQuantizeLSTM: its weights are [directions, inputs, 4 * hidden], LSTM's are turned."""
    arrays = [constant(form.operand(index)) for index in (1, 2)]
    if any(array is None for array in arrays) or form.operand(8) is None:
        return False
    weights = []
    for index, first in ((1, 8), (2, 10)):
        value, scale = form.operand(index), constant(form.operand(first))
        zero = form.operand(first + 1)
        if value is None or scale is None or (scale.size > 1 and scale.shape[0] != 1):
            return False
        if scale.size > 1 and zero is not None:
            points = constant(zero)
            if points is None:
                return False
            zero = form.rewriter.constant(points.reshape(-1), "zero_point")
        found = form.dequantized(value, scale.reshape(-1), zero, axis=2)
        if found is None:
            return False
        weights.append(form.compute("Transpose", [found], {"perm": [0, 2, 1]}))
    names = ("activation_alpha", "activation_beta", "activations", "clip", "direction")
    attributes = form.attributes(*names, "hidden_size", "input_forget")
    inputs = [form.operand(0), *weights, *(form.operand(index) for index in range(3, 8))]
    node, rewriter = form.node, form.rewriter
    made = rewriter.insert(
        "LSTM", inputs, before=node, attributes=attributes,
        outputs=[f"{output.name or 'omitted'}_float" for output in node.outputs],
    )  # fmt: skip
    for new, old in zip(made.outputs, node.outputs, strict=True):
        new.type, new.shape = old.type, old.shape
        if not old.name:
            new.name = ""
    for new, old in zip(made.outputs, node.outputs, strict=True):
        rewriter.replace_uses(old, new)
    rewriter.erase_dead(node)
    return True


LOWERED: Mapping[str, Callable[[QuantizedForm], bool]] = MappingProxyType(
    {
        "QLinearConv": _conv,
        "QLinearMatMul": _matmul,
        "QGemm": _gemm,
        "QLinearAdd": _binary("Add"),
        "QLinearMul": _binary("Mul"),
        "QLinearSigmoid": _unary("Sigmoid"),
        "QLinearLeakyRelu": _unary("LeakyRelu", "alpha"),
        "QLinearAveragePool": _unary("AveragePool", *_POOL),
        "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
        "QLinearSoftmax": _softmax,
        "QLinearConcat": _concat,
        "QLinearWhere": _where,
        "MatMulIntegerToFloat": _matmul_to_float,
        "DynamicQuantizeMatMul": _dynamic_matmul,
        "DynamicQuantizeLSTM": _dynamic_lstm,
    }
)
"""How each operator is written in float."""
