"""alpha and beta of Gemm go into constants, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qcompiler.frontends import load
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.pipeline.contract import PassContext

W = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
C = np.random.default_rng(1).standard_normal(6).astype(np.float32)


def gemm(constant_bias: bool = True) -> onnx.ModelProto:
    """0.5 * x @ Wᵀ + 2 * c."""
    node = helper.make_node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0, transB=1)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    weights = [numpy_helper.from_array(W, "w")]
    if constant_bias:
        weights.append(numpy_helper.from_array(C, "c"))
    else:
        inputs.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [6]))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    """Outputs of onnx.reference."""
    return list(ReferenceEvaluator(model).run(None, feed))


@pytest.mark.parametrize(("constant_bias", "left"), [(True, {}), (False, {"beta": 2.0})])
def test_factors_of_constants_are_folded(constant_bias: bool, left: dict[str, float]) -> None:
    source = gemm(constant_bias)
    program = load(source)
    report = Canonicalize().run(program, PassContext())
    assert report.details["gemm-factors"] == 1
    (node,) = [each for each in all_nodes(program.model) if is_op(each, "Gemm")]
    found = {k: node.attributes.get_float(k) for k in ("alpha", "beta") if k in node.attributes}
    assert found == left

    feed = {"x": np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)}
    if not constant_bias:
        feed["c"] = C
    (wanted,) = run(source, feed)
    (got,) = run(ir.to_proto(program.model), feed)
    # Two roundings of float32 per product of a sum over 4, and of one add.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=8 * 2**-24 * np.abs(wanted).max() * 4)


def test_a_second_run_changes_nothing() -> None:
    program = load(gemm())
    Canonicalize().run(program, PassContext())
    assert not Canonicalize().run(program, PassContext()).modified
