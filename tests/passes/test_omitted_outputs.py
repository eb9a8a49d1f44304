"""Ops whose first output is omitted, `("", Y_h)`: observed, quantized and verified by another."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc


def two(op: str, gates: int, outputs: tuple[str, ...], **attributes: Any) -> onnx.ModelProto:
    """Two such ops, since all omitted outputs have the same empty name."""
    random = np.random.default_rng(0)
    nodes, weights, results = [], [], []
    for number in "12":
        names = [name and name + number for name in outputs]
        operands = ["x", f"w{number}", f"r{number}"]
        nodes.append(helper.make_node(op, operands, names, hidden_size=16, **attributes))
        for name, width in zip(operands[1:], (8, 16), strict=True):
            weight = random.normal(0, 0.3, (1, gates * 16, width)).astype(np.float32)
            weights.append(numpy_helper.from_array(weight, name))
        results += [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2, 8])
    graph = helper.make_graph(nodes, "g", [x], results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS = {
    "LSTM, last state": two("LSTM", 4, ("", "h")),
    "LSTM, last cell": two("LSTM", 4, ("", "", "c")),
    "GRU, last state": two("GRU", 3, ("", "h"), linear_before_reset=1),
}


@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm"])
@pytest.mark.parametrize("scheme", ["int8", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_a_recurrent_layer_of_which_the_last_state_is_read(
    name: str, scheme: str, target: str
) -> None:
    if target == "fbgemm":
        pytest.importorskip("torch")
    model = MODELS[name]
    feed = {"x": np.random.default_rng(1).normal(0, 1, (5, 2, 8)).astype(np.float32)}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    compiled = qc.compile(model, target, [feed] * 2, scheme=scheme, recipe="fast")
    for found, wanted in zip(compiled.run(feed), session.run(None, feed), strict=True):
        assert found.shape == wanted.shape
        assert np.square(found - wanted).sum() < 0.01 * np.square(wanted).sum()  # 20 dB
    assert compiled.verify().ok
