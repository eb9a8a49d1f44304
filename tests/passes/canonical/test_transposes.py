"""Transposes that elementwise operators keep apart, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.verifier import require_valid
from qcompiler.passes.canonical.rule import sweep
from qcompiler.passes.canonical.transposes import join_transposes, transposes
from tests.oracle import unoptimized

RNG = np.random.default_rng(4)
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
SHAPE = (2, 3, 4, 5)


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def program(*nodes: Any, outputs: tuple[str, ...] = ("y",), **weights: Any) -> Program:
    graph = make_graph(
        list(nodes), "g",
        [make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("a", "b")],
        [make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(each, name) for name, each in weights.items()],
    )  # fmt: skip
    return load(make_model(graph, opset_imports=[make_opsetid("", 21)], ir_version=10))


def turn(source: str, result: str, perm: list[int]) -> Any:
    return make_node("Transpose", [source], [result], perm=perm)


def left(source: Program) -> list[str]:
    """Operators after the two rules; the function stays."""
    feed = {"a": array(*SHAPE), "b": array(*SHAPE)}
    wanted = unoptimized(source, feed)
    sweep(source, Rewriter(source), (join_transposes, transposes))
    require_valid(source)
    for have, want in zip(unoptimized(source, feed), wanted, strict=True):
        np.testing.assert_array_equal(have, want)
    return [node.op_type for node in source.graph]


ENTER = (turn("a", "p", LAST), turn("b", "q", LAST))


def test_two_that_meet_become_one() -> None:
    assert left(program(*ENTER, make_node("Add", ["p", "q"], ["y"]))) == ["Add", "Transpose"]


def test_what_is_turned_back_cancels() -> None:
    nodes = (make_node("Relu", ["p"], ["r"]), turn("r", "y", FIRST))
    assert left(program(ENTER[0], *nodes)) == ["Relu"]


def test_a_residual_of_blocks_with_channels_last() -> None:
    nodes = (
        make_node("Add", ["p", "q"], ["s"]), make_node("Relu", ["s"], ["r"]),
        turn("r", "n", FIRST), make_node("Exp", ["n"], ["m"]), turn("m", "l", LAST),
        make_node("Sub", ["l", "r"], ["d"]), turn("d", "y", FIRST),
    )  # fmt: skip
    assert left(program(*ENTER, *nodes)) == ["Add", "Relu", "Exp", "Sub"]


@pytest.mark.parametrize("shape", [(3,), (1, 5, 1), (4, 5, 3), (2, 4, 5, 3), (), (1,)])
def test_constants_turn_with_it(shape: tuple[int, ...]) -> None:
    nodes = (make_node("Mul", ["c", "p"], ["r"]), turn("r", "y", FIRST))
    assert left(program(ENTER[0], *nodes, c=array(*shape))) == ["Mul"]


def test_what_gains_nothing_stays() -> None:
    shared = program(*ENTER, make_node("Add", ["p", "q"], ["y"]), make_node("Exp", ["p"], ["z"]),
                     outputs=("y", "z"))  # fmt: skip
    assert left(shared).count("Transpose") == 2
    other = program(ENTER[0], turn("b", "q", [0, 2, 3, 1]), make_node("Relu", ["p"], ["y"]))
    assert left(other)[:2] == ["Transpose", "Transpose"]
    again = (make_node("Add", ["p", "q"], ["s"]), make_node("Add", ["s", "p"], ["y"]))
    outer = program(turn("a", "p", LAST), turn("b", "q", LAST), *again)
    assert left(outer).count("Transpose") == 2


def test_a_wider_constant_keeps_the_transpose() -> None:
    """Five axes cannot be brought in front of a Transpose of four."""
    nodes = (make_node("Add", ["p", "c"], ["r"]), turn("r", "y", [0, 1, 2, 4, 3]))
    assert left(program(ENTER[0], *nodes, c=array(2, 1, 4, 5, 3))).count("Transpose") == 2


@pytest.mark.parametrize("perm", [[0], [0, 1, 2, 3, 4]])
def test_an_order_of_another_rank_stays_for_the_engine_to_refuse(perm: list[int]) -> None:
    """Taken for one that changes nothing, it made a program that runs of one that does not."""
    source = program(turn("a", "t", LAST), turn("t", "y", perm))
    sweep(source, Rewriter(source), (join_transposes, transposes))
    assert [node.op_type for node in source.graph] == ["Transpose", "Transpose"]
