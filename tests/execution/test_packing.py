"""Models as they are handed to ONNX Runtime: graph and weights apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from qcompiler.execution.packing import INLINE_BYTES, pack, unpack
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes
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


def test_weights_in_files_are_handed_over_wherever_they_lie(tmp_path: Path) -> None:
    """In the graph and in an attribute within a body; the model keeps them where they were."""
    array = np.arange(_SIZE, dtype=np.float32)
    array.tofile(tmp_path / "w.data")
    shape, floats = ir.Shape([_SIZE]), ir.DataType.FLOAT
    stored = {
        name: ir.ExternalTensor(
            "w.data", 0, array.nbytes, floats, shape=shape, name=name, base_dir=str(tmp_path)
        )
        for name in ("read", "k")
    }
    text = _TEXT.replace(
        "q = Identity(a)", "k = Constant <value = float[1] {0.0}> () q = Add(a, k)"
    )
    model = from_text(text, dict.fromkeys(("read", "unread", "inside"), array)).model
    (held,) = (node for node in all_nodes(model) if node.op_type == "Constant")
    model.graph.initializers["read"].const_value = stored["read"]
    held.attributes["value"] = ir.AttrTensor("value", stored["k"])
    session = OrtSession(pack(model))
    (tmp_path / "w.data").rename(tmp_path / "elsewhere")
    feed = {**normal_feed(0, x=(2, _SIZE)), "c": np.asarray([False])}
    np.testing.assert_allclose(session.run(feed)[0], feed["x"] + 2 * array, rtol=1e-6)
    assert model.graph.initializers["read"].const_value is stored["read"]
    assert held.attributes["value"].as_tensor() is stored["k"]
