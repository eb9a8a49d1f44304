"""Dropout that a capture in evaluation mode keeps, for whoever trains what was captured.

torch's translation leaves it out, since it does nothing then. Inside `dropout_kept` it is a mark on
the way, and ONNX's Dropout in inference mode in the program.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from contextvars import ContextVar

import onnx_ir as ir
import torch

from qcompiler.frontends.torch_marks import OPERATOR, Mark, mark_of
from qcompiler.ir.walk import all_nodes

_DROPOUT = torch.ops.aten.dropout.default
_kept: ContextVar[bool] = ContextVar("dropout_kept", default=False)


@contextlib.contextmanager
def dropout_kept() -> Iterator[None]:
    """Captures inside keep their dropout."""
    token = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(token)


def with_markers(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A copy whose dropout is marked; itself outside `dropout_kept` and without any."""
    if not _kept.get() or not any(map(_drops, exported.graph.nodes)):
        return exported
    marked = copy.deepcopy(exported)
    for node in marked.graph.nodes:
        if _drops(node):
            node.args = (node.args[0], int(Mark.DROPOUT), float(node.args[1]))
            node.target = OPERATOR
    marked.graph_module.recompile()
    return marked


def _drops(node: torch.fx.Node) -> bool:
    whole = node.target is _DROPOUT and len(node.args) == 3 and not node.args[2]
    return bool(whole and node.args[1])


def as_onnx(model: ir.Model) -> None:
    """Puts marked Dropout into inference mode, in place."""
    for node in all_nodes(model):
        if mark_of(node) is Mark.DROPOUT:
            node.attributes.pop("seed")
            node.resize_inputs(2)
