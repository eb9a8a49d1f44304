"""Float ops beside integers that OpenVINO gets wrong or refuses, and the rewrites that mend it.

ONNX Runtime is the oracle; what OpenVINO makes of the model as it is is the negative control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.errors import LoweringError
from qcompiler.execution.openvino.float_faults import mended
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")

RNG = np.random.default_rng(0)
node = helper.make_node
SCALE, OUT = 0.03, 1.0
HELD: dict[str, Any] = {
    "s": np.float32(SCALE), "so": np.float32(OUT), "z": np.uint8(128),
    "w": RNG.integers(-100, 100, (8, 8)).astype(np.int8),
    "ws": np.linspace(0.002, 0.03, 8, dtype=np.float32), "wz": np.zeros(8, np.int8),
    "axes": np.array([1]), "two": np.array([0, 2]), "last": np.array([-1]),
    "tall": np.array([0, 0, 8, 1]), "third": np.float64(1 / 3),
}  # fmt: skip
PRODUCT = [
    node("QuantizeLinear", ["x", "s", "z"], ["q"]),
    node("DequantizeLinear", ["q", "s", "z"], ["d"]),
    node("DequantizeLinear", ["w", "ws", "wz"], ["dw"], axis=1),
    node("MatMul", ["d", "dw"], ["c"]),
]
PAIR = [
    node("QuantizeLinear", ["r", "so", "z"], ["rq"]),
    node("DequantizeLinear", ["rq", "so", "z"], ["y"]),
]


def _model(nodes: Sequence[onnx.NodeProto], shape: Sequence[int], dtype: int) -> Program:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in HELD.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return load(made)


def _steps_apart(program: Program, feed: dict[str, Any], step: float) -> float:
    """Between OpenVINO and ONNX Runtime."""
    found = OpenVinoSession(program.model, program.signature, threads=1).run(feed)[0]
    wanted = OrtSession(program.model, optimize=False).run(feed)[0]
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / step)


REDUCED = {
    "ReduceMean": ([2, 6, 8], "axes"),
    "ReduceSum": ([2, 6, 8], "axes"),
    "ReduceMean, two axes": ([2, 6, 3, 8], "two"),
}


@pytest.mark.parametrize("name", REDUCED)
def test_a_product_that_is_averaged_to_a_matrix(name: str) -> None:
    shape, axes = REDUCED[name]
    reduce = node(name.split(",")[0], ["c", axes], ["r"], keepdims=0)
    program = _model([*PRODUCT, reduce, *PAIR], shape, TensorProto.FLOAT)
    feed = {"x": RNG.normal(size=shape).astype(np.float32)}
    assert _steps_apart(program, feed, OUT) > 5
    assert _steps_apart(mended(program), feed, OUT) < 1.01  # a tie rounded the other way


TALL = {
    "unsqueezed": ([2, 6, 8], [node("Unsqueeze", ["c", "last"], ["r"])]),
    "reshaped": ([2, 6, 8], [node("Reshape", ["c", "tall"], ["r"])]),
    "turned": (
        [2, 6, 8],
        [
            node("Unsqueeze", ["c", "axes"], ["u"]),
            node("Transpose", ["u"], ["r"], perm=[0, 2, 3, 1]),
        ],
    ),
}


@pytest.mark.parametrize("name", TALL)
def test_columns_of_a_product_in_front_of_a_last_axis_of_one(name: str) -> None:
    shape, nodes = TALL[name]
    program = _model([*PRODUCT, *nodes, *PAIR], shape, TensorProto.FLOAT)
    with pytest.raises(LoweringError, match="OpenVINO refuses"):
        OpenVinoSession(program.model, program.signature, threads=1)
    feed = {"x": RNG.normal(size=shape).astype(np.float32)}
    assert _steps_apart(mended(program), feed, OUT) < 1.01


DOUBLES = {
    "cast": [node("Cast", ["x"], ["c32"], to=TensorProto.FLOAT)],
    "scaled": [node("Cast", ["x"], ["a"], to=TensorProto.FLOAT), node("Mul", ["a", "s"], ["c32"])],
    "scaled before": [
        node("Mul", ["x", "third"], ["a"]),
        node("Cast", ["a"], ["c32"], to=TensorProto.FLOAT),
    ],
}


@pytest.mark.parametrize("name", DOUBLES)
def test_doubles_in_front_of_integers(name: str) -> None:
    product = [helper.make_node(each.op_type, each.input, each.output) for each in PRODUCT]
    product[0].input[0] = "c32"
    product[2].CopyFrom(PRODUCT[2])
    last = node("Identity", ["c"], ["y"])
    program = _model([*DOUBLES[name], *product, last], [2, 6, 8], TensorProto.DOUBLE)
    feed = {"x": RNG.normal(size=(2, 6, 8))}
    with pytest.raises(LoweringError, match="f64"):
        OpenVinoSession(program.model, program.signature, threads=1)
    steepest = SCALE * 100 * HELD["ws"].max()  # what one step of the input is worth at most
    assert _steps_apart(mended(program), feed, steepest) < 1.01


def test_models_without_integers_stay_as_they_are() -> None:
    nodes = [
        node("Mul", ["x", "third"], ["a"]),
        node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        node("ReduceMean", ["b", "axes"], ["y"], keepdims=0),
    ]
    program = _model(nodes, [2, 6, 8], TensorProto.DOUBLE)
    assert mended(program) is program
