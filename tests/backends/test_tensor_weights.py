"""`int8-per-tensor` on the engines that offer it: one scale a weight, and the right numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.qspace import Granularity
from qcompiler.target.capability import PER_TENSOR

Array = npt.NDArray[Any]


def _model() -> onnx.ModelProto:
    """A convolution, a depthwise one and a product, each with rows of different size."""
    rng = np.random.default_rng(0)
    uneven = np.linspace(0.2, 1, 8)
    weights = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)) * uneven.reshape(-1, 1, 1, 1),
        "b": rng.normal(0, 0.3, 8),
        "d": rng.normal(0, 0.3, (8, 1, 3, 3)) * uneven.reshape(-1, 1, 1, 1),
        "v": rng.normal(0, 0.3, (5, 8)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"], "act"),
        helper.make_node("Conv", ["r", "d"], ["c"], "second", pads=[1] * 4, group=8),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "last", transB=1),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5]),
    ]
    stored = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm", "qnnpack"])
def test_every_weight_has_one_scale_and_the_engine_agrees(target: str) -> None:
    if target != "onnxruntime":
        pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    model = _model()
    compiled = qc.compile(
        model, target, feeds, scheme="int8-per-tensor", recipe="fast", variants=()
    )
    placement = compiled.program.placement
    assert placement is not None
    rounded = [each for each in placement.regions.values() if each.rounding is not None]
    assert len(rounded) == 3
    for each in rounded:
        assert each.rounding is not None
        assert each.form.precision == PER_TENSOR
        assert each.rounding.params.space.granularity is Granularity.TENSOR
        assert each.rounding.params.scale.size == 1
    assert compiled.verify().ok
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, feed)[0] for feed in feeds])
    found = np.concatenate([np.asarray(compiled.run(feed)[0]) for feed in feeds])
    noise = np.square(found - wanted).sum() / np.square(wanted).sum()
    assert noise < 0.01  # 8 bits, a fifth of the range used by the smallest row: over 20 dB


@pytest.mark.parametrize("target", ["onnxruntime", "fbgemm", "qnnpack"])
def test_the_search_does_not_try_it(target: str) -> None:
    table = find_target(target)().capabilities
    forms = [form for form in table.forms if form.precision == PER_TENSOR]
    assert forms
    assert not any(form.searched for form in forms)
