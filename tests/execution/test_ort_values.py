"""Types that numpy lacks, through OrtSession; onnx.reference and ml_dtypes are the oracles."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from qcompiler.execution.session import OrtSession

TYPES: dict[int, Any] = {
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.INT4: ml_dtypes.int4,
    TensorProto.UINT4: ml_dtypes.uint4,
}


def _cast(source: int, to: int, shape: list[int]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=to)],
        "g",
        [helper.make_tensor_value_info("x", source, shape)],
        [helper.make_tensor_value_info("y", to, shape)],
    )
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


@pytest.mark.parametrize("shape", [[3, 3], [2], [0], []])
@pytest.mark.parametrize("kind", TYPES)
def test_what_goes_in_comes_out(kind: int, shape: list[int]) -> None:
    given: Any = np.resize(np.array([1, 2, 3, 0, 5], np.float32), shape).astype(TYPES[kind])
    wide = given.astype(np.float32)
    (found,) = OrtSession(_cast(kind, TensorProto.FLOAT, shape)).run([given])
    assert found.dtype == np.float32
    assert np.array_equal(found, wide)
    (back,) = OrtSession(_cast(TensorProto.FLOAT, kind, shape)).run([wide])
    assert back.dtype == TYPES[kind]
    assert np.array_equal(back.astype(np.float32), wide)


def test_the_engine_alone_refuses_them() -> None:
    """The negative control: were this to pass, `ort_values` would not be needed."""
    model = _cast(TensorProto.BFLOAT16, TensorProto.FLOAT, [2])
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    with pytest.raises(RuntimeError, match="Numpy_type"):
        session.run(None, {"x": np.ones(2, ml_dtypes.bfloat16)})
