"""Large weights reach a session by file, with the same results."""

from __future__ import annotations

import gc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.execution import session_packing
from qcompiler.execution.session import OrtSession
from qcompiler.execution.session_packing import pack_for_session
from qcompiler.ir.text import from_text

_TEXT = """g (float[n,64] x) => (float[n,64] y) <int4[64,64] w, float[2,64] s, float[64] b> {
    d = DequantizeLinear <axis = 0, block_size = 32> (w, s)
    h = MatMul(x, d)
    y = Add(h, b) }"""


@pytest.fixture
def model(rng: np.random.Generator) -> ir.Model:
    """A product with int4 weights, which numpy and ONNX Runtime do not share."""
    return from_text(
        _TEXT,
        {
            "w": rng.integers(-8, 8, (64, 64)).astype(ml_dtypes.int4),
            "s": rng.uniform(0.1, 1, (2, 64)).astype(np.float32),
            "b": rng.normal(size=64).astype(np.float32),
        },
    ).model


@pytest.fixture
def spilling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_packing.SPILLED_BYTES > session_packing._LEAST_BYTES
    monkeypatch.setattr(session_packing, "SPILLED_BYTES", 0)
    monkeypatch.setattr(session_packing, "_LEAST_BYTES", 1)


def test_what_stands_in_the_graph_is_spilled(
    model: ir.Model, spilling: None, rng: np.random.Generator
) -> None:
    feed = {"x": rng.normal(size=(5, 64)).astype(np.float32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_packing, "SPILLED_BYTES", 1 << 28)
        plain = OrtSession(model)
    packed = pack_for_session(model)
    assert packed.filed == 64 * 64 // 2
    session = OrtSession(model)
    np.testing.assert_array_equal(session.run(feed)[0], plain.run(feed)[0])
    assert "MatMulNBits" in {node.op_type for node in session.optimized_model().graph}
    assert len(session.run(feed, ["y"])) == 1
    assert len(OrtSession(model, extra_outputs=["h"]).run(feed)) == 2
    # Names of the entries and a few numbers are all that the graph has on top.
    assert abs(session.nbytes - plain.nbytes) < 200


def test_the_file_goes_with_the_last_who_has_it(model: ir.Model, spilling: None) -> None:
    packed = pack_for_session(model)
    folder = packed.folder
    assert isinstance(folder, Path)
    assert list(folder.iterdir())
    del packed
    gc.collect()
    assert not folder.exists()
