"""`objective="size"` is no larger than any fixed scheme that keeps the bound on loss."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.errors import LegalityError
from qcompiler.ir.text import from_text
from qcompiler.measurement.loss import noise_to_signal
from qcompiler.outputs.asked import DEFAULT_NSR
from tests.oracle import in_float

NETS = {
    "products": (
        "g (float[N,64] x) => (float[N,10] y) <float[64,128] a, float[128,128] b, float[128,10] c> "
        "{ p = MatMul(x, a) q = Relu(p) r = MatMul(q, b) s = Relu(r) y = MatMul(s, c) }"
    ),
    "convolutions": (
        "g (float[2,3,12,12] x) => (float[] y) <float[8,3,3,3] a, float[8,8,3,3] b> "
        "{ p = Conv(x, a) q = Relu(p) y = Conv(q, b) }"
    ),
    "table": (
        "g (float[N,16] x) => (float[] y) <float[16,32] a, float[400,32] e, int64[40] ids = {"
        + ",".join(str(7 * i) for i in range(40))
        + "}> { p = MatMul(x, a) r = Gather(e, ids) t = Transpose<perm = [1,0]>(r) "
        "y = MatMul(p, t) }"
    ),
}


@pytest.mark.parametrize("net", NETS)
def test_no_fixed_scheme_within_the_bound_is_smaller(net: str) -> None:
    program = from_text(NETS[net])
    dims = [each if isinstance(each, int) else 4 for each in program.graph.inputs[0].shape or ()]
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal(dims).astype(np.float32)} for _ in range(4)]
    target = OnnxRuntime(1)
    best = qc.compile(program, target, feeds, objective="size", recipe="fast")
    for scheme in ("float32", "int8", "dynamic", "int8-weights", "int4-weights"):
        try:
            fixed = qc.compile(program, target, feeds, scheme=scheme, recipe="fast")
        except LegalityError:
            continue
        outputs = [fixed.run(feed) for feed in feeds]
        wanted = [in_float(program, feed) for feed in feeds]
        if noise_to_signal(wanted, outputs) <= 0.9 * DEFAULT_NSR:
            assert best.artifact.nbytes <= fixed.artifact.nbytes, scheme
