"""Models as they are handed to ONNX Runtime: graph and weights apart."""

from __future__ import annotations

import numpy as np

from qcompiler.execution.packing import INLINE_BYTES, pack, unpack
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from tests.oracle import normal_feed

_SIZE = INLINE_BYTES // 4
_TEXT = f"""g (float[2,{_SIZE}] x, bool[1] c) => (float[2,{_SIZE}] y) <float[{_SIZE}] read,
    float[{_SIZE}] unread, float[{_SIZE}] inside> {{
    a = Add(x, read)
    y = If(c) <then_branch = t () => (float p) {{ p = Add(a, inside) }},
               else_branch = e () => (float q) {{ q = Identity(a) }}> }}"""


def test_weights_that_nobody_reads_stay_behind() -> None:
    """ONNX Runtime drops them as it loads, and cannot find those that were handed over then."""
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(size=_SIZE).astype(np.float32) for name in ("read", "unread", "inside")
    }
    program = from_text(_TEXT, weights)
    packed = pack(program.model)
    assert set(packed.weights) == {"read", "inside"}
    assert "unread" in program.graph.initializers
    feed = {**normal_feed(0, x=(2, _SIZE)), "c": np.asarray([True])}
    (found,) = OrtSession(packed).run(feed)
    np.testing.assert_allclose(found, feed["x"] + weights["read"] + weights["inside"], rtol=1e-6)
    assert set(unpack(packed).graph.initializers) == {"read", "inside"}
