"""QLinearAveragePool is not used where it counts wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text

Array = npt.NDArray[Any]


@pytest.mark.parametrize("counted", [0, 1])
def test_qlinear_average_pool_counts_cells_that_only_ceil_mode_adds(counted: int) -> None:
    """ORT09: ORT's integer kernel against its float kernel; the fault is why the rule is there."""
    rng = np.random.default_rng(3)
    body = f"kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1, count_include_pad = {counted}"
    text = f"g (float[1,2,8,8] x) => (float[1,2,n,m] y) {{ [it] y = AveragePool<{body}>(x) }}"
    program = from_text(text)
    (region,) = OnnxRuntime().regions(program)
    assert bool(OnnxRuntime().implementations(region)) == (not counted)
    x = rng.uniform(0, 1, (1, 2, 8, 8)).astype(np.float32)
    attributes = {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "ceil_mode": 1,
        "count_include_pad": counted,
    }
    real, integer = (_average_pool(attributes, x, quantized) for quantized in (False, True))
    assert (np.abs(real - integer).max() < 1.01 / 255) == (not counted)


def _average_pool(attributes: dict[str, Any], x: Array, quantized: bool) -> Array:
    ends = [helper.make_tensor_value_info(n, 1, None) for n in ("x", "y")]
    ends[0] = helper.make_tensor_value_info("x", 1, list(x.shape))
    nodes = [helper.make_node("AveragePool", ["x"], ["y"], **attributes)]
    parts = [numpy_helper.from_array(np.asarray(1 / 255, np.float32), "s")]
    parts.append(numpy_helper.from_array(np.asarray(0, np.uint8), "z"))
    if quantized:
        names = ["x", "q", "d", "p", "r", "y"]
        pair = ["QuantizeLinear", "DequantizeLinear"]
        kinds = [*pair, "AveragePool", *pair]
        nodes = [
            helper.make_node(
                kind,
                [a] if kind == "AveragePool" else [a, "s", "z"],
                [b],
                **(attributes if kind == "AveragePool" else {}),
            )
            for kind, a, b in zip(kinds, names[:-1], names[1:], strict=True)
        ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], parts if quantized else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])
