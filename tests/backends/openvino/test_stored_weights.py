"""Weights stored in integers: OpenVINO computes from them what the file says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.openvino.capabilities import TABLE
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.errors import QCompilerError
from qcompiler.execution.openvino.session import available
from qcompiler.execution.session import OrtSession
from qcompiler.ir.text import from_text
from qcompiler.target.capability import Kernel

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)
Array = npt.NDArray[Any]
ROW = TABLE.row("MatMul")
assert ROW is not None
FORMS = [form for form in ROW.implementations if form.kernel is Kernel.WEIGHT_ONLY]
PRODUCTS = {
    "MatMul": "g (float[N,S,512] x) => (float[N,S,40] y) <float[512,40] w> "
    "{ [it] y = MatMul(x, w) }",
    "Gemm": "g (float[N,512] x) => (float[N,40] y) <float[512,40] w, float[40] b> "
    "{ [it] y = Gemm(x, w, b) }",
    "Gemm, turned": "g (float[N,512] x) => (float[N,40] y) <float[40,512] w, float[40] b> "
    "{ [it] y = Gemm<transB = 1>(x, w, b) }",
}
_ROUNDED = 35.0
"""dB of products whose activations are rounded to int8 in groups: 127 steps to the largest of 32,
each off by up to half a step, is 42 dB for normal numbers."""


def _drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _kept(wanted: Array, found: Array) -> float:
    noise = float(np.square(wanted - found, dtype=np.float64).sum())
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / max(noise, 1e-30)))


@needs_openvino
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.precision)
def test_products_compute_what_the_file_says(form: Any) -> None:
    for text in PRODUCTS.values():
        shape = (40, 512) if "transB" in text else (512, 40)
        program = from_text(text, {"w": _drawn(*shape), "b": _drawn(40)})
        rows = (2, 3, 512) if "N,S" in text else (6, 512)
        feed = {"x": _drawn(*rows, seed=1)}
        found = qc.compile(program.model, OpenVino(threads=1), scheme=form.precision)
        assert found.plan.precisions == {"it": form.precision}
        wanted = OrtSession(found.program.model, optimize=False).run(feed)[0]
        assert _kept(wanted, found.run(feed)[0]) > _ROUNDED, text
        layers = {(each.kind, each.precision) for each in found.artifact.session.layers()}  # type: ignore[attr-defined]
        assert layers & {("FullyConnected", kind) for kind in ("i8", "u8", "i4", "u4")}


@needs_openvino
@pytest.mark.parametrize("scheme", ["int8-weights", "int4-weights", "int4-weights-affine-b64"])
def test_tables_are_looked_up_as_stored(scheme: str) -> None:
    text = "g (int64[N] i) => (float[N,128] y) <float[50,128] e> { [it] y = Gather(e, i) }"
    program = from_text(text, {"e": _drawn(50, 128)})
    feed = {"i": np.array([0, 49, 7, 7], np.int64)}
    found = qc.compile(program.model, OpenVino(threads=1), scheme=scheme)
    wanted = OrtSession(found.program.model, optimize=False).run(feed)[0]
    np.testing.assert_array_equal(found.run(feed)[0], wanted)
    assert found.artifact.nbytes < 0.3 * 4 * 50 * 128


def test_blocks_have_to_be_whole() -> None:
    """OpenVINO refuses to read others: "cannot be divided by block_size"."""
    text = "g (float[N,48] x) => (float[N,8] y) <float[48,8] w> { [it] y = MatMul(x, w) }"
    program, target = from_text(text, {"w": _drawn(48, 8)}), OpenVino()
    forms = {form.precision for form in target.implementations(target.regions(program)[0])}
    assert {"int8-weights", "int4-weights-b16", "int8-weights-affine"} <= forms
    assert not forms & {"int4-weights", "int4-weights-b32", "int8-weights-b64"}


@needs_openvino
def test_a_size_that_is_asked_for_and_does_not_fit_is_refused() -> None:
    text = "g (float[N,48] x) => (float[N,8] y) <float[48,8] w> { [it] y = MatMul(x, w) }"
    model = from_text(text, {"w": _drawn(48, 8)}).model
    with pytest.raises(QCompilerError, match="int4-weights-b32"):
        qc.compile(model, "openvino", scheme="int4-weights-b32")
    assert (
        qc.compile(model, "openvino", scheme="int4-weights").plan.precision("it")
        == "int4-weights-b16"
    )


def test_an_odd_number_of_inputs_stays_float_in_bfloat16() -> None:
    """OV-F11: OpenVINO 2026.4.1 computes it wrongly from five rows on (4 to 16 dB)."""
    text = "g (float[N,23] x) => (float[N,8] y) <float[23,8] w> { [it] y = MatMul(x, w) }"
    program = from_text(text, {"w": _drawn(23, 8)})
    for target, legal in ((OpenVino(), True), (OpenVino(base="bf16"), False)):
        forms = target.implementations(target.regions(program)[0])
        assert any(form.precision == "int8-weights" for form in forms) is legal


@needs_openvino
@pytest.mark.parametrize("inputs", [22, 23, 64])
def test_weights_are_right_in_bfloat16_whatever_the_rows(inputs: int) -> None:
    text = "g (float[N,K] x) => (float[N,40] y) <float[K,40] w> { [it] y = MatMul(x, w) }"
    program = from_text(text.replace("K", str(inputs)), {"w": _drawn(inputs, 40)})
    model, target = program.model, OpenVino(threads=1, base="bf16")
    scheme = "float32" if inputs % 2 else "int8-weights"
    found = qc.compile(model, target, scheme=scheme)
    for rows in (1, 4, 5, 16):
        feed = {"x": _drawn(rows, inputs, seed=rows)}
        wanted = OrtSession(found.program.model, optimize=False).run(feed)[0]
        assert _kept(wanted, found.run(feed)[0]) > _ROUNDED, rows
