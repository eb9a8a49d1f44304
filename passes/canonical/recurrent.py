"""Attributes of recurrent layers, said one way: what is the default is left out."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.canonical.rule import rule

_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
"""Activations of one direction (ONNX operator specification, LSTM-22, GRU-22, RNN-22).

Engines take names in any case (deep_cpu_lstm.cc of ONNX Runtime)."""
_ZERO_BY_DEFAULT = ("input_forget", "layout", "linear_before_reset")
_NUMBERS = ("activation_alpha", "activation_beta")


@rule("recurrent-defaults", *_DEFAULTS)
def recurrent_defaults(node: ir.Node, rewriter: Rewriter) -> bool:
    """Leaves out the activations that are the default, and flags that are 0.

    The numbers of activations that have none go with them: Sigmoid and Tanh take neither.
    """
    unsaid = [name for name in _ZERO_BY_DEFAULT if _is_zero(node, name)]
    names = [name.lower() for name in node.attributes.get_strings("activations", ())]
    default = [name.lower() for name in _DEFAULTS[node.op_type]]
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    if names and names == default * directions:
        unsaid += [name for name in ("activations", *_NUMBERS) if name in node.attributes]
    for name in unsaid:
        rewriter.set_attribute(node, name, None)
    return bool(unsaid)


def _is_zero(node: ir.Node, name: str) -> bool:
    return name in node.attributes and node.attributes.get_int(name, 0) == 0
