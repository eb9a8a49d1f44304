"""Rule OV09: a convolution whose number of channels is open stays float, and verify agrees."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.execution.openvino.session import available

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")


@pytest.mark.parametrize("computed", [True, False])
def test_a_convolution_behind_a_pad(computed: bool) -> None:
    rng = np.random.default_rng(0)
    amounts = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    stored = {"w": rng.normal(size=(8, 3, 3, 3)), "v": rng.normal(size=(4, 8, 1, 1))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Pad", ["c", "p"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 9, 9])]
    held = [numpy_helper.from_array(a.astype(np.float32), k) for k, a in stored.items()]
    feed = {"x": rng.normal(size=(2, 3, 9, 9)).astype(np.float32)}
    if computed:
        inputs.append(helper.make_tensor_value_info("p", TensorProto.INT64, [8]))
        feed["p"] = amounts
    else:
        held.append(numpy_helper.from_array(amounts, "p"))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, "h", "w"])
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], held),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    onnx.checker.check_model(model)
    compiled = qc.compile(model, "openvino", [feed], scheme="int8", recipe="fast")
    checked = compiled.verify()
    assert checked.ok, checked.summary
    assert checked.integer == (1 if computed else 2)
