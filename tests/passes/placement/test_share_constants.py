"""share-constants: equal constants of a graph are one, others stay; ONNX Runtime runs both."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from tests.oracle import compile_int8, in_float, noise

Array = np.ndarray[Any, Any]
SUMS = (
    "g (float[2,32] x) => (float[2,32] y) <float[32] a, float[32] b, float[32] c, float[1,32] d>"
    "{ p = Add(x, a) q = Add(p, b) r = Add(q, c) y = Add(r, d) }"
)
BRANCHES = """g (float[4,64] x, bool c) => (float[4,64] y) <float[64,64] v, float[64,64] w>
{ y = If(c) <then_branch = a () => (float[4,64] p) { p = MatMul(x, v) },
             else_branch = b () => (float[4,64] q) { q = MatMul(x, w) }> }"""


def _set(program: qc.Program, **arrays: Array) -> None:
    for name, array in arrays.items():
        program.graph.initializers[name].const_value = ir.tensor(array, name=name)


def _shared(program: qc.Program) -> int:
    report = Pipeline.parse("share-constants").run(program, PassContext(OnnxRuntime(1)))
    return int(report.runs[0].report.details["bytes"])


def test_what_holds_the_same_is_stored_once() -> None:
    program = from_text(SUMS)
    row = np.arange(32, dtype=np.float32)
    other = row.copy()
    other[-1] = 0.5
    _set(program, a=row, b=other, c=row.copy(), d=row[None])
    feed = {"x": np.ones((2, 32), np.float32)}
    wanted = in_float(program, feed)
    assert _shared(program) == row.nbytes
    assert sorted(program.graph.initializers) == ["a", "b", "d"]  # d has another shape
    np.testing.assert_array_equal(in_float(program, feed)[0], wanted[0])
    assert _shared(program) == 0


def test_bits_count_not_numbers() -> None:
    program = from_text(SUMS)
    zero = np.zeros(32, np.float32)
    _set(program, a=zero, b=-zero, c=zero.copy(), d=zero[None])
    assert _shared(program) == zero.nbytes
    assert sorted(program.graph.initializers) == ["a", "b", "d"]


def test_equal_weights_of_a_source_are_one_in_the_file() -> None:
    program = from_text(BRANCHES)
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    _set(program, v=weight, w=weight.copy())
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    feeds = [{"x": x, "c": np.array(each)} for each in (True, False)]
    compiled = compile_int8(program, feeds)
    held = [
        each
        for each in compiled.program.graph.initializers.values()
        if each.dtype is ir.DataType.INT8 and each.shape == (64, 64)
    ]
    assert len(held) == 1
    for feed in feeds:
        (wanted,) = in_float(program, feed)
        assert 0 < noise(wanted, compiled.run(feed)[0]) < 1e-3
    assert compiled.verify().ok


def test_bodies_keep_what_is_theirs() -> None:
    program = from_text(BRANCHES)
    weight = np.ones((64, 64), np.float32)
    _set(program, v=weight, w=weight.copy())
    assert _shared(program) == weight.nbytes
    (node,) = [each for each in program.graph if each.op_type == "If"]
    read = {body.as_graph()[0].inputs[1] for body in node.attributes.values()}
    assert read == {program.graph.initializers["v"]}
