"""Brings a model of opset 6–28 to `WORKING_OPSET`, node by node, over all subgraphs.

Own adapters rather than a library's: `onnx.version_converter` (1.23) does not enter subgraphs,
copies weights and asks for shapes; `onnxscript.version_converter` (0.7) starts at opset 18. Each
adapter stands for one "what changed" entry of the ONNX operator changelog, takes no shape for
granted and touches no weight.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from qcompiler.errors import UnsupportedOpsetError
from qcompiler.frontends.opset_down import lower_node
from qcompiler.frontends.opset_moves import MOVES, move_attributes
from qcompiler.frontends.opset_rules import RULES
from qcompiler.ir.origin import describe
from qcompiler.ir.program import WORKING_OPSET, Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes

OLDEST, NEWEST = 6, 28
_IR_VERSION = 10
"""The IR version released with opset 21."""


def to_working_opset(program: Program) -> None:
    """Rewrites the program in place. O(nodes).

    Raises:
        UnsupportedOpsetError: The opset is outside 6–28 or newer than the installed onnx, or an op
            has no equal at `WORKING_OPSET`; names the op.
    """
    model = program.model
    source = model.opset_imports.get("", WORKING_OPSET)
    if not OLDEST <= source <= NEWEST:
        raise UnsupportedOpsetError(
            f"opset {source} is not supported",
            why=f"models of opset {OLDEST} to {NEWEST} can be taken",
            fix="export the model again with opset_version=21",
        )
    known = onnx.defs.onnx_opset_version()
    if source > known:
        raise UnsupportedOpsetError(
            f"opset {source} is newer than the installed onnx",
            why=f"onnx {onnx.__version__} knows what ops mean up to opset {known}",
            fix="pip install --upgrade onnx, or export the model again with opset_version=21",
        )
    rewriter = Rewriter(program)
    if source < WORKING_OPSET:
        for node in list(all_nodes(model)):
            _upgrade(node, source, rewriter)
    elif source > WORKING_OPSET:
        for node in list(all_nodes(model)):
            if node.domain == "":
                lower_node(node, source, rewriter)
    model.opset_imports[""] = WORKING_OPSET
    model.ir_version = _IR_VERSION
    for node in all_nodes(model):
        node.version = None


def _upgrade(node: ir.Node, source: int, rewriter: Rewriter) -> None:
    if node.domain != "":
        return
    steps = [(since, False, index) for index, (since, _) in enumerate(RULES.get(node.op_type, ()))]
    steps += [(move.since, True, i) for i, move in enumerate(MOVES.get(node.op_type, ()))]
    op_type = node.op_type
    for since, is_move, index in sorted(steps):
        if not source < since <= WORKING_OPSET:
            continue
        if any(attribute.is_ref() for attribute in node.attributes.values()):
            raise UnsupportedOpsetError(
                f"{op_type} has an attribute that refers to a function's",
                where=describe(node),
                fix="convert the model to a newer opset, or export it again",
            )
        if is_move:
            move_attributes(node, MOVES[op_type][index], rewriter)
        else:
            RULES[op_type][index][1](node, rewriter)
