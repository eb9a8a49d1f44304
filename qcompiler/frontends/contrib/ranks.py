"""Ranks that ONNX's shape inference does not find, since it stops at operators it does not know."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import all_nodes, rank

_BROADCAST = {"QLinearAdd": (0, 3), "QLinearMul": (0, 3), "Add": (0, 1), "Mul": (0, 1)}
_SAME = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "MaxPool"), 0),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "NhwcMaxPool"), 0),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "AveragePool"), 0),
    "QLinearConcat": 2, "Concat": 0, "QLinearConv": 3, "Conv": 1, "FusedConv": 1,
}  # fmt: skip
"""The operand whose rank the result has: for convolutions that of the weight."""


def ranks_of(model: ir.Model) -> dict[ir.Value, int]:
    """Ranks of values whose shape is not known. O(nodes)."""
    found: dict[ir.Value, int] = {}

    def known(value: ir.Value | None) -> int | None:
        return None if value is None else found.get(value, rank(value))

    for node in all_nodes(model):
        value = node.outputs[0] if node.outputs else None
        if value is None or value.shape is not None:
            continue
        sources = _BROADCAST.get(node.op_type, (_SAME.get(node.op_type, len(node.inputs)),))
        ranks = [known(node.inputs[i]) for i in sources if i < len(node.inputs)]
        perm = node.attributes.get_ints("perm") if node.op_type == "Transpose" else None
        if perm is not None:
            found[value] = len(perm)
        elif ranks and all(each is not None for each in ranks):
            found[value] = max(each for each in ranks if each is not None)
    return found
