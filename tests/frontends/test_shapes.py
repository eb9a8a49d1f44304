"""Placeholders that exporters write for unknown sizes do not become sizes."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qcompiler.frontends import load


def paddle_like(dims: list[int | str]) -> onnx.ModelProto:
    """One Relu over an input of these dimensions."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("placeholder", [-1, "?"])
def test_placeholders_are_unknown(placeholder: int | str) -> None:
    program = load(paddle_like([placeholder, 3, placeholder, placeholder]))
    assert program.signature.inputs[0].shape == (None, 3, None, None)


def test_named_and_fixed_sizes_stay() -> None:
    program = load(paddle_like(["N", 3, 8, "W"]))
    assert program.signature.inputs[0].shape == ("N", 3, 8, "W")


def test_the_users_model_is_left_alone() -> None:
    model = ir.from_proto(paddle_like([-1, 3]))
    load(model)
    shape = model.graph.inputs[0].shape
    assert shape is not None
    assert shape[0] == -1
