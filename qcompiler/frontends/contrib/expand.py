"""Spells ONNX Runtime's own operators in standard ones, over all subgraphs.

What has no spelling stays: ONNX Runtime runs it, other targets refuse it by name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.activations import ACTIVATIONS
from qcompiler.frontends.contrib.attention import ATTENTION
from qcompiler.frontends.contrib.blocks import laid_out
from qcompiler.frontends.contrib.grouped import GROUPED
from qcompiler.frontends.contrib.layouts import LAYOUTS
from qcompiler.frontends.contrib.norms import NORMS
from qcompiler.frontends.contrib.products import PRODUCTS
from qcompiler.frontends.contrib.ranks import ranks_of
from qcompiler.frontends.contrib.rotary import ROTARY
from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.origin import describe
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op

_LOG = logging.getLogger(__name__)

SPELLINGS: Mapping[str, Spell] = MappingProxyType(
    {**ACTIVATIONS, **PRODUCTS, **NORMS, **ATTENTION, **GROUPED, **ROTARY, **LAYOUTS}
)
_OWN = "com.microsoft"
_IN_ONNX = ("SimplifiedLayerNormalization",)
"""Operators of ONNX Runtime that its files hold in ONNX's domain."""
_CLOSED = "com.ms.internal.nhwc"
"""The domain of operators that read data laid out for one accelerator."""


def expand_contrib(program: Program) -> None:
    """Rewrites the program, which is in the working opset, in place.

    Raises:
        UnreadableModelError: Data is laid out for an accelerator.
    """
    model = program.model
    for node in all_nodes(model):
        if node.domain == _CLOSED:
            raise laid_out(node, f"ONNX Runtime wrote '{_CLOSED}' for one accelerator")
    rewriter = Rewriter(program)
    while waiting := [node for node in all_nodes(model) if _has_spelling(node)]:
        ranks = ranks_of(model)
        if not [node for node in waiting if _spelt(node, rewriter, ranks)]:
            break
        infer_types(model)
    if rewriter.counts.total:
        _cast_constants(program, rewriter)
        rewriter.drop_unused_constants()


def _has_spelling(node: ir.Node) -> bool:
    known = node.domain == _OWN or (node.domain == "" and node.op_type in _IN_ONNX)
    return known and node.op_type in SPELLINGS


def _spelt(node: ir.Node, rewriter: Rewriter, ranks: Mapping[ir.Value, int]) -> bool:
    """Spells one node, if it can be."""
    if node.graph is None:  # gone with one before it
        return False
    form = Spelling(node, rewriter, ranks)
    try:
        SPELLINGS[node.op_type](form)
    except NotSpelt as reason:
        _LOG.info("%s stays: %s", describe(node), reason)
        form.undo()
        return False
    return True


def _cast_constants(program: Program, rewriter: Rewriter) -> None:
    """Numbers that were cast to a type that was not known then, in that type."""
    for node in list(all_nodes(program.model)):
        if not is_op(node, "CastLike"):
            continue
        number, like = constant(node.inputs[0]), node.inputs[1]
        if number is not None and number.size == 1 and like is not None and like.dtype is not None:
            kept = rewriter.constant(number.astype(like.dtype.numpy()), f"{node.name}_number")
            rewriter.replace_uses(node.outputs[0], kept)
            rewriter.erase_dead(node)
