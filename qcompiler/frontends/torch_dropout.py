"""Dropout that a capture in evaluation mode keeps, for whoever trains what was captured.

torch's translation leaves it out, since it does nothing then. Inside `dropout_kept` it is an
operator of ours on the way, and ONNX's Dropout in inference mode in the program.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset21
from torch import Tensor

from qcompiler.ir.walk import all_nodes, is_op

_DROPOUT = torch.ops.aten.dropout.default
_MARK = 0x71646F
_kept: ContextVar[bool] = ContextVar("dropout_kept", default=False)


@contextlib.contextmanager
def dropout_kept() -> Iterator[None]:
    """Captures inside keep their dropout."""
    token = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(token)


@torch.library.custom_op("qcompiler::dropout", mutates_args=())
def _marker(x: Tensor, p: float) -> Tensor:
    return x.clone()


@_marker.register_fake
def _(x: Tensor, p: float) -> Tensor:
    return torch.empty_like(x)


def _translated(x: Any, p: float) -> Any:
    """In training mode, marked by its seed: the exporter's optimizer takes others out."""
    op: Any = opset21  # numbers become constants
    dropped, _ = op.Dropout(x, p, True, seed=_MARK)
    return dropped


TRANSLATIONS: Mapping[Any, Callable[..., Any]] = {torch.ops.qcompiler.dropout.default: _translated}
"""For `custom_translation_table` of torch.onnx.export."""


def with_markers(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A copy whose dropout is our operator; itself outside `dropout_kept` and without any."""
    if not _kept.get() or not any(map(_drops, exported.graph.nodes)):
        return exported
    marked = copy.deepcopy(exported)
    for node in marked.graph.nodes:
        if _drops(node):
            node.args = (node.args[0], float(node.args[1]))
            node.target = torch.ops.qcompiler.dropout.default
    marked.graph_module.recompile()
    return marked


def _drops(node: torch.fx.Node) -> bool:
    whole = node.target is _DROPOUT and len(node.args) == 3 and not node.args[2]
    return bool(whole and node.args[1])


def as_onnx(model: ir.Model) -> None:
    """Puts marked Dropout into inference mode, in place."""
    for node in all_nodes(model):
        if is_op(node, "Dropout") and node.attributes.get_int("seed", 0) == _MARK:
            node.attributes.pop("seed")
            node.resize_inputs(2)
