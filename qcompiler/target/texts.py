"""Texts (tensors of strings), which most engines do not have: where a model may be cut."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.walk import is_constant, outer_values

_TEXT = ir.DataType.STRING


def refuse_texts(program: Program, target: str) -> None:
    """Raises LoweringError if something in the model is a text, and says what to cut off.

    Args:
        program: Any.
        target: Name of a target whose engine has no texts.
    """
    reading = _reading_texts(program)
    given = [each.name or "" for each in program.graph.inputs if each.dtype is _TEXT]
    if not reading and not given:
        return
    node = next(iter(reading), None)
    raise LoweringError(
        f"the model computes with texts, which {target} has not",
        where=None if node is None else " at ".join(
            filter(None, (f"{node.op_type} '{node.name}'", source_line(node)))
        ),
        why=f"inputs {given} are texts" if given else None,
        fix=f"choose the target onnxruntime{_cut(program, reading)}",
    )  # fmt: skip


def _reading_texts(program: Program) -> dict[ir.Node, None]:
    """Nodes that read or give a text, in order."""
    return {
        node: None
        for node in program.graph
        if any(each is not None and each.dtype is _TEXT for each in (*_read(node), *node.outputs))
    }


def _read(node: ir.Node) -> list[ir.Value]:
    return [each for each in (*node.inputs, *outer_values(node)) if each is not None]


def _cut(program: Program, reading: dict[ir.Node, None]) -> str:
    """How to compile what stands in front of the texts; empty if nothing does."""
    behind: set[ir.Value] = {each for each in program.graph.inputs if each.dtype is _TEXT}
    kept: dict[ir.Value, None] = {}
    computes = False
    for node in program.graph:
        read = _read(node)
        if node not in reading and not behind.intersection(read):
            computes = computes or not all(is_constant(each) for each in read)
            continue
        kept.update(dict.fromkeys(v for v in read if v not in behind and not is_constant(v)))
        behind.update(node.outputs)
    kept.update(dict.fromkeys(each for each in program.graph.outputs if each not in behind))
    kept = {each: None for each in kept if not each.is_graph_input()}
    if not computes or not kept:
        return ""
    inputs = [each.name for each in program.graph.inputs if each.dtype is not _TEXT]
    outputs = [each.name for each in kept]
    return (
        ", or compile what stands in front of the texts: "
        f"onnx.utils.extract_model(file, new_file, {inputs}, {outputs})"
    )
