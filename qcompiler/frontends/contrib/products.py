"""Products with something fused to them.

Source: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.activations import activated, in_order
from qcompiler.frontends.contrib.spelling import Spell, Spelling

WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_FUSED = "activation_"


def _conv(form: Spelling) -> None:
    """FusedConv (X, W, B?, Z?): the convolution, plus Z, then the activation."""
    operands = [form.needed(0), form.needed(1), form.operand(2)]
    product = form.op("Conv", *operands, **form.attributes(*WINDOW))
    name = form.text("activation", "")
    listed = form.node.attributes.get("activation_params")
    parameters = in_order(name, () if listed is None else listed.as_floats())
    total = form.added(product, form.operand(3))
    form.finish({0: activated(form, total, name, parameters)})


def _gemm(form: Spelling) -> None:
    """FusedGemm: Gemm, then the activation, whose attributes begin with `activation_`."""
    operands = [form.needed(0), form.needed(1), form.operand(2)]
    plain = form.attributes("alpha", "beta", "transA", "transB")
    product = form.op("Gemm", *operands, **plain)
    parameters = {
        name.removeprefix(_FUSED): attribute.as_float()
        for name, attribute in form.node.attributes.items()
        if name.startswith(_FUSED)
    }
    name = form.text("activation", "")
    known = set(in_order(name, [0.0] * 3))
    parameters = {key: value for key, value in parameters.items() if key in known}
    form.finish({0: activated(form, product, name, parameters)})


def _matmul(form: Spelling) -> None:
    """FusedMatMul: alpha · op(A) · op(B), each with its batch and its last axes turned."""
    left = _turned(form, form.needed(0), "A")
    right = _turned(form, form.needed(1), "B")
    alpha = form.number("alpha", 1.0)
    if alpha == 1:
        form.end("MatMul", left, right)
        return
    product = form.op("MatMul", left, right)
    form.end("Mul", product, form.like(alpha, form.needed(0)))


def _turned(form: Spelling, value: ir.Value, side: str) -> ir.Value:
    """`transBatch` moves axis 0 behind the other batch axes; `trans` swaps the last two then."""
    batch, last = form.integer(f"transBatch{side}", 0), form.integer(f"trans{side}", 0)
    if not batch and not last:
        return value
    dims = form.rank(value)
    if dims < 2:  # a vector has nothing to swap
        return value
    order = list(range(dims))
    if batch:
        order = [*order[1:-1], 0, order[-1]]
    if last:
        order[-2:] = order[:-3:-1]
    return value if order == sorted(order) else form.op("Transpose", value, perm=order)


PRODUCTS: Mapping[str, Spell] = MappingProxyType(
    {
        "FusedConv": _conv,
        "FusedGemm": _gemm,
        "FusedMatMul": _matmul,
        "TransposeMatMul": _matmul,
    }
)
