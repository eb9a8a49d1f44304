"""Types that the CPU runtimes or ONNX lack: a capture that holds them is refused by line."""

from __future__ import annotations

from typing import Any

import torch

from qcompiler.errors import ExportError
from qcompiler.frontends.torch_failures import place_of


def refuse_bfloat16(exported: torch.export.ExportedProgram) -> None:
    """numpy and ONNX Runtime's CPU kernels know no bfloat16."""
    for node in sorted(
        exported.graph.nodes, key=lambda node: node.op != "call_function"
    ):  # those have a line
        if any(getattr(each, "dtype", None) is torch.bfloat16 for each in _values(node)):
            raise ExportError(
                "the module computes in bfloat16, which the CPU runtimes do not",
                where=place_of(node) or f"'{node.name}'",
                fix="compile module.float(), without torch.autocast and .bfloat16()",
            )


def refuse_complex(exported: torch.export.ExportedProgram) -> None:
    """ONNX has no complex tensors: the translation would give pairs of reals."""
    ends = {*exported.graph_signature.user_inputs, *exported.graph_signature.user_outputs}
    for node in exported.graph.nodes:
        complex_ones = [v for v in _values(node) if getattr(v, "dtype", torch.bool).is_complex]
        if node.name in ends and complex_ones:
            raise ExportError(
                "the module takes or returns complex numbers, which ONNX does not have",
                where=place_of(node) or f"argument '{node.name}'",
                fix="take and return torch.view_as_real(x), pairs of real numbers",
            )


def _values(node: torch.fx.Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value) if isinstance(value, list | tuple) else (value,)
