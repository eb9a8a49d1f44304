"""The rewriter: names stay unique and in place, counts are honest, tensors untouched."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify


def _program(body: str, outputs: str = "float[2] y") -> Rewriter:
    return Rewriter(from_text(f"g (float[2] x) => ({outputs}) {{ {body} }}"))


def _node(rewriter: Rewriter, index: int) -> ir.Node:
    return list(rewriter.program.graph)[index]


def _ops(rewriter: Rewriter) -> list[str]:
    return [node.op_type for node in rewriter.program.graph]


def test_fresh_names_are_those_of_no_value_and_no_node() -> None:
    rewriter = _program("a = Relu(x) y = Abs(a)")
    assert rewriter.fresh("a") == "a_1"
    assert rewriter.fresh("a") == "a_2"
    assert rewriter.fresh("new") == "new"
    assert rewriter.fresh("new") != "new"


def test_recompose_keeps_the_name_and_erases_the_old_parts() -> None:
    rewriter = _program("a = Relu(x) b = Neg(a) y = Abs(b)")
    inner = _node(rewriter, 1).outputs[0]
    rewriter.recompose(inner, "Sigmoid", [rewriter.program.graph.inputs[0]])
    assert _ops(rewriter) == ["Sigmoid", "Abs"]
    assert _node(rewriter, 0).outputs[0].name == "b"
    assert rewriter.counts.erased == 2
    assert rewriter.counts.inserted == 1
    assert verify(rewriter.program) == ()


def test_recompose_of_an_output_keeps_the_output() -> None:
    rewriter = _program("a = Relu(x) y = Neg(a)")
    rewriter.recompose(_node(rewriter, 1).outputs[0], "Abs", [_node(rewriter, 0).outputs[0]])
    assert [value.name for value in rewriter.program.graph.outputs] == ["y"]
    assert _ops(rewriter) == ["Relu", "Abs"]
    assert verify(rewriter.program) == ()


@pytest.mark.parametrize("other", ["x", "z"])
def test_an_output_that_becomes_a_pinned_value_is_copied(other: str) -> None:
    rewriter = _program("z = Abs(x) y = Relu(z)", "float[2] z, float[2] y")
    graph = rewriter.program.graph
    values = {"x": graph.inputs[0], "z": _node(rewriter, 0).outputs[0]}
    rewriter.take_over(values[other], _node(rewriter, 1).outputs[0])
    assert [value.name for value in graph.outputs] == ["z", "y"]
    assert _ops(rewriter) == ["Abs", "Identity"]
    assert verify(rewriter.program) == ()


def test_take_over_moves_the_name_to_the_value_with_the_same_numbers() -> None:
    rewriter = _program("a = Relu(x) b = Identity(a) y = Abs(b)")
    rewriter.take_over(_node(rewriter, 0).outputs[0], _node(rewriter, 1).outputs[0])
    assert _ops(rewriter) == ["Relu", "Abs"]
    assert _node(rewriter, 0).outputs[0].name == "b"


def test_constants_get_their_own_name_and_leave_the_tensor_alone() -> None:
    rewriter = _program("y = Relu(x)")
    tensor = ir.Tensor(np.ones(3, np.float32), name="theirs")
    value = rewriter.constant(tensor, "mine")
    assert (value.name, tensor.name) == ("mine", "theirs")
    assert value.const_value is not None
    assert value.const_value.name == "mine"
    np.testing.assert_array_equal(value.const_value.numpy(), np.ones(3))


def test_erase_refuses_what_is_used() -> None:
    rewriter = _program("a = Relu(x) y = Abs(a)")
    with pytest.raises(ValueError, match="Relu"):
        rewriter.erase(_node(rewriter, 0))
    assert rewriter.counts.total == 0


def test_erase_dead_stops_at_what_others_use() -> None:
    rewriter = _program("a = Relu(x) b = Abs(a) c = Neg(b) y = Sigmoid(a)")
    rewriter.erase_dead(_node(rewriter, 2))
    assert _ops(rewriter) == ["Relu", "Sigmoid"]


def test_nothing_done_is_nothing_counted() -> None:
    rewriter = _program("a = Relu(x) y = Abs(a)")
    rewriter.set_input(_node(rewriter, 1), 0, _node(rewriter, 0).outputs[0])
    rewriter.set_attribute(_node(rewriter, 0), "absent", None)
    rewriter.drop_unused_constants()
    assert rewriter.counts.total == 0
