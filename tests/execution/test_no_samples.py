"""A sample without elements is calibrated with, run and verified like others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import qcompiler as qc


@pytest.mark.parametrize("group", [1, 2])
def test_convolutions_of_nothing(group: int) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n,4,8,8] x) => (float[n,6,h,w] y)
        <float[1] w> {{ c = Conv<group = {group}>(x, w) y = Relu(c) }}"""
    )
    rng = np.random.default_rng(0)
    del model.graph.initializer[:], model.graph.value_info[:]
    weight = rng.normal(size=(6, 4 // group, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    feeds = [{"x": rng.normal(size=(n, 4, 8, 8)).astype(np.float32)} for n in (2, 0)]
    compiled = qc.compile(model, calibration=feeds, scheme="int8", recipe="fast")
    assert compiled.run(feeds[1])[0].shape == (0, 6, 6, 6)
    assert compiled.verify(feeds).ok
    assert compiled.verify(feeds[1:]).ok
