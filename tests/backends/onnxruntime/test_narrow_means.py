"""Means far narrower than what they are means of: the kernel takes ratios of scales below 256."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import qcompiler as qc


@pytest.mark.parametrize(
    "pool", ["GlobalAveragePool", "AveragePool<kernel_shape=[3,3]>", "ReduceMean<axes=[2,3]>"]
)
def test_a_window_that_covers_the_data(pool: str) -> None:
    """ONNX Runtime runs such a QLinearAveragePool as QLinearGlobalAveragePool."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2,8,3,3] x) => (float[2,8,1,1] y) <float[8,8,1,1] w>
        {{ c = Conv(x, w) y = {pool}(c) }}"""
    )
    same = np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(same, "w"))
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(2, 8, 3, 3))
    mean = rng.normal(0, 1e-4, size=(2, 8, 1, 1))
    feed = {"x": (wide - wide.mean((2, 3), keepdims=True) + mean).astype(np.float32)}
    compiled = qc.compile(model, calibration=[feed], scheme="int8", recipe="fast")
    assert compiled.verify().ok
    wanted = feed["x"].mean((2, 3), keepdims=True)
    assert np.abs(compiled.run(feed)[0] - wanted).max() < 0.03  # a step of the data's own scale
