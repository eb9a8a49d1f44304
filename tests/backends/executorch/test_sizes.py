"""Open sizes and stored numbers stay known while exporting; the oracle is ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from qcompiler.backends.executorch.runtime import available
from qcompiler.backends.executorch.target import ExecuTorch
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

pytestmark = pytest.mark.skipif(
    not available(), reason="executorch is not installed: see docs/executorch.md"
)
GRAPHS = {
    "Reshape of a size": """g (float[N,2,6] x) => (float[M,K] y)
        <int64[1] one = {-1}, int64[1] rest = {12}>
        { s = Shape<start=0, end=1>(x) n = Squeeze(s) l = Reshape(n, one)
          t = Concat<axis=0>(l, rest) y = Reshape(x, t) }""",
    "Expand by a size": """g (float[N,2,6] x) => (float[N,2,6] y)
        <int64[1] one = {-1}, int64[1] two = {2}, int64[1] six = {6}, float[1,1,6] w>
        { s = Shape<start=0, end=1>(x) l = Reshape(s, one) t = Concat<axis=0>(l, two, six)
          e = Expand(w, t) y = Add(x, e) }""",
    "Mod and Max of sizes": """g (float[N,2,6] x) => (float[M,K] y)
        <int64[1] seven = {7}, int64[1] four = {4}, int64[1] rest = {-1}, int64[1] all = {12}>
        { s = Shape<start=2, end=3>(x) m = Mod(seven, s) h = Max(m, four) p = Mul(h, m)
          q = Min(p, all) k = Max(q, all) t = Concat<axis=0>(rest, k) y = Reshape(x, t) }""",
    "Pad with a stored fill": """g (float[N,2,6] x) => (float[N,2,9] y)
        <int64[6] pads = {0,0,1,0,0,2}, float fill = {1.5}> { y = Pad(x, pads, fill) }""",
    "Range to a size": """g (float[N,2,6] x) => (float[N,2,6] y)
        <int64 zero = {0}, int64 one = {1}, int64[2] axes = {1, 2}>
        { s = Shape<start=0, end=1>(x) n = Squeeze(s) r = Range(zero, n, one)
          f = Cast<to=1>(r) u = Unsqueeze(f, axes) y = Mul(x, u) }""",
    "ConstantOfShape with a value": """g (float[N,2,6] x) => (float[N,2,6] y)
        { s = Shape(x) c = ConstantOfShape<value = float[1] {2.5}>(s) y = Mul(x, c) }""",
    "Split behind a product": """g (float[N,2,6] x) => (float[N,2,3] y) <float[6,6] w>
        { p = MatMul(x, w) a, b = Split<axis=2, num_outputs=2>(p) y = Mul(a, b) }""",
    "Resize that keeps an open axis": """g (float[N,2,6] x) => (float[N,2,9] y)
        <int64[2] rest = {2, 9}>
        { s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, rest)
          y = Resize<mode="linear">(x, , , t) }""",
    "Dropout that does nothing": """g (float[N,2,6] x) => (float[N,2,6] y)
        <float ratio = {0.25}, bool off = {0}> { y = Dropout(x, ratio, off) }""",
}


def _compare(program: Program, run: Any) -> None:
    session = ort.InferenceSession(ir.to_proto(program.model).SerializeToString())
    x = np.random.default_rng(0).normal(size=(3, 2, 6)).astype(np.float32)
    np.testing.assert_allclose(run(x), session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_an_exported_graph_serves_every_batch(name: str) -> None:
    import torch

    from qcompiler.backends.executorch.graph import edge_module

    program = from_text(GRAPHS[name])
    sizes = ({0: torch.export.Dim("n", min=1, max=32)},)
    module = edge_module(program.model)
    exported = torch.export.export(module, (torch.zeros(32, 2, 6),), dynamic_shapes=sizes)
    _compare(program, lambda x: exported.module()(torch.from_numpy(x))[0].detach().numpy())


@pytest.mark.parametrize("name", ["Expand by a size", "Split behind a product"])
def test_a_pte_serves_every_batch(name: str) -> None:
    program = from_text(GRAPHS[name])
    session = ExecuTorch().lower(program).session
    _compare(program, lambda x: session.run({"x": x})[0])


@pytest.mark.slow
def test_an_lstm_whose_states_follow_the_batch() -> None:
    """LSTM of two steps from zeros of the batch's size; tanh and sigmoid differ by some ulps."""
    program = from_text(
        """g (float[N,2,6] x) => (float[2,1,N,4] y)
        <float[1,16,6] w, float[1,16,4] r, float[1,32] b, float[1,1,1] zero = {0.0},
         int64[1] one = {1}, int64[1] width = {4}>
        { n = Shape<start=0, end=1>(x) shape = Concat<axis=0>(one, n, width)
          h = Expand(zero, shape) t = Transpose<perm=[1,0,2]>(x)
          y = LSTM<hidden_size=4>(t, w, r, b, , h, h) }"""
    )
    session = ExecuTorch().lower(program).session
    x = np.random.default_rng(1).normal(size=(3, 2, 6)).astype(np.float32)
    proto = ir.to_proto(program.model).SerializeToString()
    (wanted,) = ort.InferenceSession(proto).run(None, {"x": x})
    np.testing.assert_allclose(session.run({"x": x})[0], wanted, rtol=1e-5, atol=1e-6)
