"""Constant folding against ONNX Runtime on the graph as it was."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.canonical.folding import fold_constants
from qcompiler.passes.canonical.rule import sweep

_LARGE = 4000


def _model(body: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[n,2,8] x) => (float[n,a,b] y)
        <float[{_LARGE},8] table, int64[1,2] rows = {{7, -1}}, int64[1,8] columns =
         {{0, 2, -1, 3, 0, 1, 1, 0}}, int64[1] zero = {{0}}, int64[1] two = {{2}},
         int64 last = {{-1}}>
        {{ {body} }}"""
    )
    table = np.random.default_rng(0).normal(0, 1, (_LARGE, 8)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    return model


_BODIES = {
    "positions": ("p = Gather(table, rows) y = Add(x, p)", ["Add"]),
    "a part": ("p = Slice(table, zero, two, zero) y = Add(x, p)", ["Add"]),
    "elements": ("p = GatherElements<axis=0>(table, columns) y = Add(x, p)", ["Add"]),
    "angles": ("p = Gather(table, rows) c = Cos(p) s = Sin(c) y = Mul(x, s)", ["Mul"]),
    "sums": ("p = Gather(table, rows) c = CumSum(p, last) y = Mul(x, c)", ["Mul"]),
    "a table that others read": (
        "p = Gather(table, rows) q = Gather(table, rows) a = Add(x, p) y = Add(a, q)",
        ["Gather", "Gather", "Add", "Add"],
    ),
}


@pytest.mark.parametrize("name", _BODIES)
def test_what_is_selected_takes_the_place_of_its_table(name: str) -> None:
    body, left = _BODIES[name]
    model = _model(body)
    program = load(model)
    sweep(program, Rewriter(program), [fold_constants])
    assert [node.op_type for node in program.graph] == left
    feed = {"x": np.random.default_rng(1).normal(0, 1, (3, 2, 8)).astype(np.float32)}
    plain = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = OrtSession(program.model).run(feed)
    np.testing.assert_allclose(found, plain.run(None, feed)[0], rtol=1e-6, atol=1e-6)
