"""A MaxPool on floats stays on floats: QuantizeLinear is not moved in front of it."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.passes import keep_float
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext

POOL = "MaxPool<kernel_shape = [2,2], strides = [2,2]>"
TEXTS = {
    "directly": f"p = {POOL}(a) [b] y = Conv(p, w)",
    "behind a mover": f"o = {POOL}(a) [t] p = Transpose<perm = [0,1,3,2]>(o) [b] y = Conv(p, w)",
    "two readers": f"p = {POOL}(a) [b] z = Conv(p, w) n = Neg(p) y = Sub(z, n)",
}


def pools_on_integers(compiled: qc.Compiled) -> int:
    """MaxPools that read integers, in the graph that ONNX Runtime runs."""
    nodes = OrtSession(compiled.program.model, threads=1).optimized_model().graph
    pools = [node for node in nodes if node.op_type in ("MaxPool", "NhwcMaxPool")]
    writers = [pool.inputs[0].producer() for pool in pools if pool.inputs[0] is not None]
    return sum("Q" in writer.op_type for writer in writers if writer is not None)


def compiled(text: str, first: str, pool: str) -> qc.Compiled:
    source = f"""g (float[1,4,8,8] x) => (float[a,b,c,d] y) <float[4,4,1,1] w>
    {{ [a] a = Conv(x, w) [p] {text} }}"""
    chosen = {"a": first, "p": pool, "t": "int8", "b": "int8"}
    plan = Plan("onnxruntime", {k: Choice(v) for k, v in chosen.items() if f"[{k}]" in source})
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((4, 4, 1, 1)).astype(np.float32)
    feeds = [{"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(3)]
    program = from_text(source, {"w": weight})
    return qc.compile(program, OnnxRuntime(1), feeds, plan=plan, recipe="fast")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_pool_in_float_reads_floats(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiled(text, "float32", "float32")
    found.verify().require()
    assert pools_on_integers(found) == 0
    monkeypatch.setattr(keep_float, "_keep_pool", lambda *_: False)
    without = compiled(text, "float32", "float32")
    if "n = Neg" not in text:  # nothing is moved over what others read
        assert pools_on_integers(without) == 1
    feed = {"x": np.ones((1, 4, 8, 8), np.float32)}
    np.testing.assert_array_equal(found.run(feed)[0], without.run(feed)[0])


def test_a_pool_in_integers_reads_them() -> None:
    assert pools_on_integers(compiled(TEXTS["directly"], "int8", "int8")) == 1
    kept = compiled(TEXTS["directly"], "int8", "float32")
    assert pools_on_integers(kept) == 0
    assert not any(node.op_type == "Sum" for node in kept.program.graph)  # nothing to hold back


def test_what_is_moved_over_may_be_long() -> None:
    """Integers may stand at either end of a chain that is longer than Python's stack."""
    turns = "".join(f" t{i + 1} = Transpose(t{i})" for i in range(1200))
    pairs = {
        "in front": f"q = QuantizeLinear(x, s, z) t0 = DequantizeLinear(q, s, z) {turns} "
        f"y = {POOL}(t1200)",
        "behind": f"t0 = {POOL}(x) {turns} q = QuantizeLinear(t1200, s, z) "
        "y = DequantizeLinear(q, s, z)",
    }
    kept = {}
    for place, body in pairs.items():
        program = from_text(f"""g (float[1,4,8,8] x) => (float[a,b,c,d] y)
        <float s = {{0.1}}, uint8 z = {{128}}> {{ {body} }}""")
        program.plan = Plan("onnxruntime", {"another": Choice("int8")})
        done = keep_float.KeepFloat().run(program, PassContext(target=OnnxRuntime(1)))
        kept[place] = done.details["kept"]
    assert kept == {"in front": 0, "behind": 1}
