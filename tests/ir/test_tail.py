"""Custom operators behind a network: what is cut off, and that all of it is put back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from qcompiler.errors import LoweringError
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program
from qcompiler.ir.tail import with_tail, without_tail

FLOAT = onnx.TensorProto.FLOAT


def _loaded(
    nodes: list[onnx.NodeProto], outputs: list[str], domains: tuple[str, ...] = ("plugin",)
) -> Program:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", FLOAT, ["n", 4]), value("z", FLOAT, ["n", 4])],
        [value(name, FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.ones(4, np.float32), "k")],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(each, 3) for each in domains)]
    return load(helper.make_model(graph, opset_imports=imports, ir_version=8))


def _node(
    op: str, inputs: str, outputs: str, domain: str = "", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), domain=domain, **attributes)


def _behind() -> Program:
    return _loaded(
        [
            _node("Add", "x k", "a"),
            _node("Relu", "a", "r"),
            _node("Decode", "r z k", "d", "plugin", depth=3),
            _node("Mul", "d k", "m"),
            _node("Neg", "a", "side"),
        ],
        ["m", "side"],
    )


def _edges(model: ir.Model) -> list[tuple[str, tuple[str | None, ...], tuple[str | None, ...]]]:
    return sorted(
        (
            node.op_type,
            tuple(None if value is None else value.name for value in node.inputs),
            tuple(value.name for value in node.outputs),
        )
        for node in model.graph
    )


def test_what_depends_on_a_custom_operator_goes() -> None:
    front = without_tail(_behind())
    assert [node.op_type for node in front.graph] == ["Add", "Relu", "Neg"]
    assert front.signature.output_names == ("side", "r")
    assert front.tail is not None
    assert front.tail.operators == ("plugin.Decode",)
    assert "plugin.Decode" in front.provenance.warnings[-1]


def test_put_back_nothing_is_lost() -> None:
    program = _behind()
    front = without_tail(program)
    whole = with_tail(front.model, front.tail)
    assert _edges(whole) == _edges(program.model)
    assert [value.name for value in whole.graph.outputs] == ["m", "side"]
    assert [value.name for value in whole.graph.inputs] == ["x", "z"]
    assert whole.opset_imports["plugin"] == 3
    decode = next(node for node in whole.graph if node.op_type == "Decode")
    assert decode.attributes.get_int("depth") == 3


def test_names_that_lowering_took_meanwhile_are_kept_apart() -> None:
    front = without_tail(_behind())
    taken = next(node for node in front.graph if node.op_type == "Add").outputs[0]
    taken.name = "d"
    whole = with_tail(front.model, front.tail)
    names = [value.name for node in whole.graph for value in node.outputs]
    assert len(names) == len(set(names))
    assert whole.graph.outputs[0].name == "m"


def test_a_plugin_in_the_default_domain_is_one_too() -> None:
    program = _loaded([_node("Relu", "x", "r"), _node("BatchedNMS_TRT", "r z", "y")], ["y"], ())
    front = without_tail(program)
    assert front.tail is not None
    assert front.tail.operators == ("ai.onnx.BatchedNMS_TRT",)
    assert [node.op_type for node in front.graph] == ["Relu"]


def test_one_inside_a_body_takes_the_whole_node() -> None:
    body = helper.make_graph(
        [_node("Decode", "r", "inner", "plugin")],
        "then",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, None)],
    )
    other = helper.make_graph(
        [_node("Identity", "r", "same")],
        "else",
        [],
        [helper.make_tensor_value_info("same", FLOAT, None)],
    )
    program = _loaded(
        [
            _node("Relu", "x", "r"),
            _node("ReduceSum", "z", "s", keepdims=0),
            _node("Cast", "s", "flag", to=onnx.TensorProto.BOOL),
            _node("If", "flag", "y", then_branch=body, else_branch=other),
        ],
        ["y"],
    )
    front = without_tail(program)
    assert set(front.signature.output_names) == {"r", "flag"}
    whole = with_tail(front.model, front.tail)
    assert _edges(whole) == _edges(program.model)


def test_without_custom_operators_nothing_is_done() -> None:
    program = _loaded([_node("Relu", "x", "y")], ["y"])
    assert without_tail(program) is program
    assert with_tail(program.model, None) is program.model


def test_nothing_in_front_is_an_error() -> None:
    program = _loaded([_node("Decode", "x", "d", "plugin"), _node("Relu", "d", "y")], ["y"])
    with pytest.raises(LoweringError, match="begins with an operator"):
        without_tail(program)
