"""The sweep: each node once per sweep, until nothing fires, however the rules are ordered."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.passes.canonical.identities import bypass
from qcompiler.passes.canonical.rule import rule, sweep


def _chain(length: int, op: str) -> str:
    steps = " ".join(f"t{i + 1} = {op}(t{i})" for i in range(length))
    return f"g (float[2] t0) => (float[2] y) {{ {steps} y = Relu(t{length}) }}"


@pytest.mark.parametrize("length", [50, 200])
def test_an_idle_sweep_visits_each_node_once(length: int) -> None:
    visited: list[ir.Node] = []

    @rule("count", "Abs", "Relu")
    def count(node: ir.Node, _: Rewriter) -> bool:
        visited.append(node)
        return False

    program = from_text(_chain(length, "Abs"))
    assert not sweep(program, Rewriter(program), [count])
    assert len(visited) == length + 1


@pytest.mark.parametrize("length", [50, 200])
def test_a_chain_goes_in_one_sweep_and_a_second_confirms_it(length: int) -> None:
    tried = 0

    @rule("drop", "Abs", "Relu")
    def drop(node: ir.Node, rewriter: Rewriter) -> bool:
        nonlocal tried
        tried += 1
        return node.op_type == "Abs" and bypass(node, node.inputs[0], rewriter)

    program = from_text(_chain(length, "Abs"))
    assert sweep(program, Rewriter(program), [drop]) == {"drop": length}
    assert [node.op_type for node in program.graph] == ["Relu"]
    assert tried == length + 2


def test_nodes_of_other_domains_are_not_tried() -> None:
    @rule("any", "Relu")
    def fail(node: ir.Node, _: Rewriter) -> bool:
        raise AssertionError(node.op_type)

    program = from_text("g (float[2] x) => (float[2] y) { y = qcompiler.Relu(x) }")
    assert not sweep(program, Rewriter(program), [fail])
