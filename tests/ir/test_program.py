"""Programs are cheap to clone and independent of each other."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text, to_text
from qcompiler.ir.verifier import verify

TEXT = """g (float[2,4] x, bool c) => (float[2,3] y) <float[4,3] w> {
    [m] a = MatMul (x, w)
    [i] y = If (c) <then_branch = t () => (float[2,3] p) { [r] p = Relu (a) },
                    else_branch = e () => (float[2,3] q) { [n] q = Neg (a) }> }"""


@pytest.fixture
def program() -> Program:
    return from_text(TEXT)


def test_a_clone_is_equal_and_sound(program: Program) -> None:
    other = program.clone()
    assert to_text(other) == to_text(program)
    assert verify(other) == ()
    assert other.graph is not program.graph


def test_a_clone_shares_weights(program: Program) -> None:
    mine = program.graph.initializers["w"].const_value
    theirs = program.clone().graph.initializers["w"].const_value
    assert mine is not None
    assert theirs is not None
    assert np.shares_memory(mine.numpy(), theirs.numpy())


def test_editing_a_clone_leaves_the_original(program: Program) -> None:
    before = to_text(program)
    other = program.clone()
    rewriter = Rewriter(other)
    node = rewriter.insert("Relu", [other.graph[0].outputs[0]], after=other.graph[0])
    body = other.graph[-1].attributes["then_branch"].as_graph()
    rewriter.set_input(body[0], 0, node.outputs[0])
    other.properties = frozenset({Property.CANONICAL})
    assert verify(other) == ()
    assert to_text(other) != before
    assert to_text(program) == before
    assert verify(program) == ()
    assert not program.properties
    assert program.observations is not other.observations
