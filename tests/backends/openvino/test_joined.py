"""OV-F8 and constants in disguise: integer graphs that OpenVINO refuses are not made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.execution.openvino.session import available

pytestmark = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)
_JOINED = {
    "rows, then over columns": ("c = Concat<axis=1>(r, s) y = MatMul(c, w)", "float32"),
    "columns": ("c = Concat<axis=-1>(r, s) y = MatMul(c, w2)", "int8"),
    "columns, turned": ("c = Concat<axis=2>(r, s) t = Transpose<perm=[0,2,1]>(c) y = MatMul(t, w6)",
                        "float32"),
    "rows, turned": ("c = Concat<axis=1>(r, s) t = Transpose<perm=[0,2,1]>(c) y = MatMul(t, w12)",
                     "int8"),
    "rows of a sum": ("c = Concat<axis=1>(r, s) a = Add(c, c) y = MatMul(a, w)", "int8"),
}  # fmt: skip
_COMPUTED = ["a = Add(r, p)", "a = Mul(r, p)", "q = Relu(p) a = Add(r, q)"]


def _model(body: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[n,6,8] x) => (float[n,a,b] y)
        <float[8,8] w, float[16,8] w2, float[6,8] w6, float[12,8] w12, float[900,8] table,
         int64[1,6] first = {{0,1,2,3,4,5}}, int64[1,6] last = {{6,7,8,9,10,11}}>
        {{ h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) s = Relu(z)
           p = Gather(table, first) p2 = Gather(table, last) {body} }}"""
    )
    draw = np.random.default_rng(0)
    for name, shape in {
        "w": (8, 8), "w2": (16, 8), "w6": (6, 8), "w12": (12, 8), "table": (900, 8),
    }.items():  # fmt: skip
        array = draw.normal(0, 0.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def _compiled(body: str) -> qc.Compiled:
    draw = np.random.default_rng(1)
    feeds = [{"x": draw.normal(0, 1, (2, 6, 8)).astype(np.float32)} for _ in range(4)]
    compiled = qc.compile(_model(body), "openvino", feeds, scheme="int8", recipe="fast", budget=0)
    assert max(each.noise for each in qc.compare(_model(body), compiled, feeds).outputs) < 0.01
    return compiled


@pytest.mark.parametrize("name", _JOINED)
def test_products_across_a_concat(name: str) -> None:
    body, precision = _JOINED[name]
    rows = [row for row in _compiled(body).report.regions if row.ops.startswith("MatMul")]
    assert rows[-1].precision == precision


@pytest.mark.parametrize("body", _COMPUTED)
def test_what_follows_from_a_table_is_no_activation(body: str) -> None:
    """The table has two readers and stays: its row is a constant that nobody stored."""
    rows = _compiled(f"{body} y = Sub(a, p2)").report.regions
    row = next(row for row in rows if row.ops.startswith(("Add", "Mul")))
    assert row.precision == "float32"
    assert "constant" in row.reason
