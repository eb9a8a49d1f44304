"""A weight's matrix and the moments asked for belong together: w^T G w is the output squared.

The outputs are ONNX Runtime's (onnx.reference has no grouped ConvTranspose of one axis).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper

from qcompiler.decisions.weight_matrix import moments_request, weight_matrix
from qcompiler.quantization.output_error import column_errors
from qcompiler.statistics.kinds import collector
from qcompiler.statistics.statistic import Statistic

Array = npt.NDArray[Any]

CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("Conv", (2, 4, 7, 6), (6, 4, 3, 3), {}),
    ("Conv", (2, 4, 7, 6), (6, 2, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ("Conv", (2, 4, 9, 9), (4, 1, 3, 3), {"group": 4, "dilations": [2, 1], "auto_pad": "VALID"}),
    ("Conv", (1, 3, 8, 7), (5, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", (3, 2, 9), (4, 2, 4), {"strides": [3]}),
    ("Conv", (1, 2, 4, 5, 3), (3, 2, 2, 3, 1), {}),
    ("ConvTranspose", (2, 3, 4, 4), (3, 5, 2, 2), {"strides": [2, 2]}),
    ("ConvTranspose", (2, 4, 5), (4, 3, 2), {"strides": [3], "group": 2}),
    ("MatMul", (4, 6), (6, 5), {}),
    ("MatMul", (2, 3, 4, 6), (6, 5), {}),
    ("Gemm", (4, 6), (6, 5), {}),
    ("Gemm", (4, 6), (5, 6), {"transB": 1}),
    ("Gemm", (6, 4), (5, 6), {"transA": 1, "transB": 1}),
]


def run(op: str, x: Array, w: Array, attributes: dict[str, Any]) -> Array:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(n, 1, list(a.shape)) for n, a in (("x", x), ("w", w))],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x, "w": w})[0])


def node_of(op: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> ir.Node:
    x = ir.val("x", ir.DataType.FLOAT, list(shape))
    return ir.node(op, [x, ir.val("w")], attributes=attributes)


@pytest.mark.parametrize(("op", "shape", "weight", "attributes"), CASES)
def test_the_square_of_the_output_is_that_of_the_moments(
    op: str, shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    draw = np.random.default_rng(0)
    x, w = (draw.normal(size=each).astype(np.float32) for each in (shape, weight))
    node = node_of(op, shape, attributes)
    layout, request = weight_matrix(node, weight), moments_request(node, weight, 10_000)
    assert layout is not None
    assert request is not None
    seen = collector(request)
    assert isinstance(seen, Statistic)
    moments = seen.update(x).state()["moments"].reshape(layout.groups, layout.inputs, -1)
    errors = column_errors(layout.matrix(w), moments)
    y = run(op, x, w, attributes).astype(np.float64)
    if op == "ConvTranspose":
        wanted, found = np.sum(y**2, keepdims=True).reshape(-1), errors.sum(keepdims=True)[0]
    else:
        others = tuple(i for i in range(y.ndim) if i != (1 if op == "Conv" else y.ndim - 1))
        wanted, found = np.sum(y**2, axis=others), errors.reshape(-1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_array_equal(layout.weight(layout.matrix(w)), w)


@pytest.mark.parametrize(
    ("op", "weight", "attributes"),
    [
        ("LSTM", (1, 8, 3), {}),
        ("MatMul", (2, 3, 4), {}),
        ("ConvTranspose", (3, 5, 3, 3), {"strides": [2, 2]}),  # kernels overlap
        ("ConvTranspose", (3, 5, 2, 2), {"strides": [2, 2], "dilations": [2, 2]}),  # so they do
    ],
)
def test_what_has_no_matrix(op: str, weight: tuple[int, ...], attributes: dict[str, Any]) -> None:
    node = node_of(op, (2, 3, 4), attributes)
    assert weight_matrix(node, weight) is None
    assert moments_request(node, weight, 64) is None
