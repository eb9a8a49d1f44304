"""Weights of levels that are not even on ONNX Runtime: what runs, what it is, and its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.capabilities import TABLE
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.options import SIZE_ONLY
from qcompiler.decisions.roundings import rounded, weight_layout
from qcompiler.decisions.schemes import LEVEL_SPACES
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.quantization.numerics import dequantize
from tests.oracle import compile_int8, in_float, noise

Array = npt.NDArray[Any]
NET = """
g (float[N,6,5,5] x, int64[N] ids) => (float[N,11] y) <
  float[7,6,3,3] w1, float[7,1,3,3] w2, float[9,7] w3, float[9,11] w4, float[11,11] w5,
  float[13,11] w6, float[9] b3
> {
  [c] c = Conv<pads = [1,1,1,1]>(x, w1)
  c1 = Relu(c)
  [d] d = Conv<group = 7>(c1, w2)
  p = GlobalAveragePool(d)
  f = Flatten(p)
  [e] e = Gemm<transB = 1>(f, w3, b3)
  [m] m = MatMul(e, w4)
  [k] k = Gemm(m, w5)
  [t] t = Gather(w6, ids)
  y = Add(k, t)
}
"""


def _net() -> Program:
    return from_text(NET)


def _feeds() -> list[dict[str, Array]]:
    rng = np.random.default_rng(3)
    return [
        {
            "x": rng.standard_normal((2, 6, 5, 5)).astype(np.float32),
            "ids": rng.integers(0, 13, 2),
        }
        for _ in range(2)
    ]


def _of_rows(name: str) -> str:
    """What a table of rows gets: one codebook."""
    return name.removesuffix("-per-channel").removesuffix("-g16")


def _rounded_by_hand(name: str) -> Program:
    """The float program with every weight at the levels that numpy finds."""
    program = _net()
    for node in program.graph:
        place = {"Gather": 0, "Conv": 1, "Gemm": 1, "MatMul": 1}.get(node.op_type)
        if place is None:
            continue
        value = node.inputs[place]
        assert value is not None
        tensor = ir.convenience.get_const_tensor(value)
        assert tensor is not None
        array = tensor.numpy()
        own = _of_rows(name) if node.op_type == "Gather" else name
        found = rounded(array, *weight_layout(node, LEVEL_SPACES[own], array.ndim))
        value.const_value = ir.Tensor(
            dequantize(found.integers, found.params), name=value.name or ""
        )
    return program


@pytest.mark.parametrize("name", LEVEL_SPACES)
def test_the_engine_computes_with_the_levels(name: str) -> None:
    """Bit by bit the outputs of a float model with the rounded weights: every op, odd sizes."""
    feeds = _feeds()
    compiled = compile_int8(_net(), feeds, scheme=name)
    chosen = compiled.plan.precisions
    assert [chosen[key] for key in ("c", "d", "e", "m", "k")] == [name] * 5
    assert chosen["t"] == _of_rows(name)
    by_hand = qc.compile(_rounded_by_hand(name), OnnxRuntime(1), scheme="float32", recipe="fast")
    for feed in feeds:
        found, wanted = compiled.run(feed)[0], by_hand.run(feed)[0]
        np.testing.assert_array_equal(found, wanted)
        (exact,) = in_float(_net(), feed)
        assert noise(exact, found) > 0


@pytest.mark.parametrize("bits", range(2, 9))
def test_indices_are_packed_to_the_bit(bits: int, tmp_path: Path) -> None:
    """128 KiB of float weights: bits / 32 of that, 2^bits levels, a few hundred bytes a node."""
    text = "g (float[N,128] x) => (float[N,256] y) <float[128,256] w> { y = MatMul(x, w) }"
    program = from_text(text)
    feeds = [{"x": np.random.default_rng(0).standard_normal((4, 128)).astype(np.float32)}]
    compiled = compile_int8(program, feeds, scheme=f"codebook{bits}-weights")
    path = compiled.save(tmp_path / "it.onnx")
    packed = 128 * 256 * bits // 8 + 4 * 2**bits
    assert packed < path.stat().st_size < packed + 3000
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)
    again = qc.load_compiled(path)
    np.testing.assert_array_equal(again.run(feeds[0])[0], compiled.run(feeds[0])[0])


def test_more_levels_lose_less() -> None:
    feeds = _feeds()
    (wanted,) = in_float(_net(), feeds[0])
    lost = [
        noise(wanted, compile_int8(_net(), feeds, scheme=f"codebook{b}-weights").run(feeds[0])[0])
        for b in (2, 4, 6, 8)
    ]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 1e-3
    one, two = (
        noise(wanted, compile_int8(_net(), feeds, scheme=name).run(feeds[0])[0])
        for name in ("log2-weights", "log2x2-weights")
    )
    assert two < one / 4


def test_plan_report_and_verify_say_what_it_is() -> None:
    compiled = compile_int8(_net(), _feeds(), scheme="codebook4-weights")
    reasons = [
        each.reason for each in compiled.plan.choices.values() if each.precision != "float32"
    ]
    assert len(reasons) == 6
    assert all(SIZE_ONLY in each for each in reasons)
    assert compiled.kernels.integer == ()
    assert compiled.kernels.missed == {}
    assert " ".join(SIZE_ONLY.split()) in " ".join(compiled.report.text(400, every=True).split())
    assert compiled.verify().ok


def test_the_search_does_not_take_them_by_itself() -> None:
    forms = [form for form in TABLE.forms if form.precision in LEVEL_SPACES]
    assert {form.precision for form in forms} == set(LEVEL_SPACES)
    assert all(form.size_only and not form.searched for form in forms)


def test_an_override_beside_the_search() -> None:
    """Sensitivities of a pinned table are measured with its levels, and the pin holds."""
    compiled = qc.compile(
        _net(),
        OnnxRuntime(1),
        _feeds(),
        overrides={"op:Conv": "codebook4-weights", "e": "log2-weights"},
        recipe="fast",
        max_loss=40.0,
    )
    by_hand = {
        key: each for key, each in compiled.plan.precisions.items() if key in ("c", "d", "e")
    }
    assert by_hand == {"c": "codebook4-weights", "d": "codebook4-weights", "e": "log2-weights"}


EIGHT = " ".join(
    f"a{i} = MatMul({'x' if i == 0 else f'b{i - 1}'}, w) b{i} = Tanh(a{i})" for i in range(8)
)
LOOP = """
   y = Loop(n, t, x) <body = step (int64 i, bool g, float[64,64] h) => (bool o, float[64,64] r)
   { o = Identity(g) p = MatMul(h, w) q = MatMul(p, w) s = Tanh(q) r = Add(s, h) }>
"""


def test_eight_products_read_one_table(tmp_path: Path) -> None:
    program = from_text(f"g (float[N,256] x) => (float[N,256] b7) <float[256,256] w> {{ {EIGHT} }}")
    feeds = [{"x": np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)}]
    compiled = compile_int8(program, feeds, scheme="codebook4-weights-per-channel")
    assert compiled.artifact.nbytes < 256 * 256 // 2 + 256 * 16 * 4 + 5000
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < 0.15


def test_a_table_inside_a_loop() -> None:
    program = from_text(
        "g (float[64,64] x) => (float[64,64] y) "
        f"<float[64,64] w, int64 n = {{3}}, bool t = {{1}}> {{ {LOOP} }}"
    )
    feeds = [{"x": np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)}]
    compiled = compile_int8(program, feeds, scheme="codebook6-weights")
    assert compiled.artifact.nbytes < 64 * 64 * 6 // 8 + 4 * 64 + 5000
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < 0.01


def test_a_tied_table_is_looked_up_and_multiplied_with() -> None:
    """Gather(E, ids) and a product with E turned over."""
    program = from_text(
        "g (int64[N] ids) => (float[N,40] y) <float[40,24] w> "
        "{ e = Gather(w, ids) h = Tanh(e) y = Gemm<transB = 1>(h, w) }"
    )
    feeds = [{"ids": np.asarray([3, 1, 39])}]
    compiled = compile_int8(program, feeds, scheme="codebook5-weights")
    assert set(compiled.plan.precisions.values()) >= {"codebook5-weights"}
    assert compiled.artifact.nbytes < 40 * 24 * 5 // 8 + 4 * 32 + 4000
    (wanted,) = in_float(program, feeds[0])
    assert 0 < noise(wanted, compiled.run(feeds[0])[0]) < 0.02
