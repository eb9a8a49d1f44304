"""Blocks: every node once, in order, and cut where one value goes on."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.ir.blocks import Block, find_blocks
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import is_op

RESIDUAL = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w> {
    a = MatMul(x, w)
    b = Relu(a)
    c = MatMul(b, w)
    d = Add(c, a)
    e = MatMul(d, w)
    f = Relu(e)
    y = MatMul(f, w) }"""
LADDER = """g (float[1,4] x) => (float[1,4] y) <float[4,4] w> {
    a = MatMul(x, w)
    b = MatMul(a, w)
    c = MatMul(b, w)
    d = MatMul(c, w)
    e = MatMul(d, w)
    f = MatMul(e, w)
    g1 = Add(f, a)
    g2 = Add(g1, b)
    y = Add(g2, c) }"""
BRANCH = """g (float[1,4] x, bool c) => (float[1,4] y) <float[4,4] w> {
    a = MatMul(x, w)
    b = Relu(a)
    y = If (c) <then_branch = t () => (float[1,4] p) { p = MatMul(a, w) },
                else_branch = e () => (float[1,4] q) { q = Neg(b) }> }"""


def program(text: str) -> Program:
    return from_text(text, {"w": np.eye(4, dtype=np.float32)})


def divided(found: Program, most: int) -> list[Block]:
    return find_blocks(found, {node for node in found.graph if is_op(node, "MatMul")}, most)


def names(values: tuple[ir.Value, ...]) -> list[str]:
    return [value.name or "" for value in values]


@pytest.mark.parametrize("text", [RESIDUAL, LADDER, BRANCH])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_every_node_is_in_one_block_and_reads_what_is_there(text: str, most: int) -> None:
    found = program(text)
    blocks = divided(found, most)
    assert [node for block in blocks for node in block.nodes] == list(found.graph)
    there = {value.name for value in found.graph.inputs}
    for block in blocks:
        assert set(names(block.inputs)) <= there
        there |= set(names(block.outputs))
    assert {value.name for value in found.graph.outputs} <= there


def test_a_residual_is_not_cut_inside() -> None:
    blocks = divided(program(RESIDUAL), 1)
    ends = [names(block.outputs) for block in blocks]
    assert ends == [["a"], ["d"], ["e"], ["y"]] or ends[-3:] == [["d"], ["e"], ["y"]]
    assert all(len(block.outputs) == 1 for block in blocks)


def test_neighbours_join_up_to_the_number_asked_for() -> None:
    assert [names(block.outputs) for block in divided(program(RESIDUAL), 2)] == [["d"], ["y"]]
    assert len(divided(program(RESIDUAL), 4)) == 1


def test_where_nothing_is_alone_a_block_still_ends() -> None:
    blocks = divided(program(LADDER), 1)
    assert len(blocks) > 1
    assert any(len(block.outputs) > 1 for block in blocks)


def test_what_a_body_reads_is_an_input() -> None:
    blocks = divided(program(BRANCH), 1)
    last = next(block for block in blocks if any(is_op(node, "If") for node in block.nodes))
    assert {"a", "b"} & set(names(last.inputs)) or len(blocks) == 1
    held = {value for block in blocks for value in names(block.outputs)}
    assert "y" in held


def test_what_stays_whole_is_in_one_block() -> None:
    found = from_text(
        """g (float[1,2,4] x) => (float[1,2,4] y) <float[4,4] w, float[4] b> {
        a = MatMul(x, w)
        c = Add(a, b)
        d = Relu(c)
        e = MatMul(d, w)
        y = Add(e, b) }""",
        {"w": np.eye(4, dtype=np.float32), "b": np.ones(4, np.float32)},
    )
    first, then = list(found.graph)[:3], list(found.graph)[3:]
    anchors = {first[0], then[0]}
    assert [names(each.outputs) for each in find_blocks(found, anchors, 1)] == [["a"], ["y"]]
    for most in (1, 2):
        blocks = find_blocks(found, anchors, most, [first, then])
        ends = [names(block.outputs) for block in blocks]
        assert ends == ([["d"], ["y"]] if most == 1 else [["y"]])
